"""How an induction head forms, in three numbers: the nested logits of Reddy 2023 (arXiv 2312.03002).

β makes labels attend to their items, α makes the item asked for attend to the labels whose item it matches, ξ reads the
attended label out. Each acts through the others, so that ξ is learned first, until it picks one of the labels of the
context, and α and β, of which neither has a slope without the other, only after a plateau. The paper gives the idea of the
three logits; the closed form below is ours, for a context whose classes all have labels of their own.
"""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.base import Params, Run
from toylab.shapes import shaped

STEPS, RATE, START = 600, 0.3, 1e-6

Logits = Annotated[
    Mapping[str, Array],
    {"beta": Real[ArrayLike, "*shape"], "alpha": Real[ArrayLike, "*shape"], "xi": Real[ArrayLike, "*shape"]},
]


@shaped
def item_contrast(beta: Real[ArrayLike, "*shape"], n_pairs: int) -> Float[Array, "*shape"]:
    """u = mean_n (e^β − 1)/(e^β + 2n + 1), n = 0 … N − 1: what makes labels differ in their attention to items.

    It is by how much a label attends more to its own item than to any other of the 2n + 2 tokens it sees.

    Args:
        beta: β.
        n_pairs: N.
    """
    strength = jnp.exp(jnp.asarray(beta, float))[..., None]
    return jnp.mean((strength - 1) / (strength + 2 * jnp.arange(n_pairs) + 1), axis=-1)


@shaped
def target_share(
    alpha: Real[ArrayLike, "*#shape"], contrast: Real[ArrayLike, "*#shape"], n_pairs: int, burst: int
) -> Float[Array, "*shape"]:
    """v = B e^{αu} / (B e^{αu} + N − B): of the attention to labels, the share of those of the right class.

    Args:
        alpha: α.
        contrast: u.
        n_pairs: N.
        burst: B.
    """
    strength = burst * jnp.exp(jnp.asarray(alpha) * jnp.asarray(contrast))
    return strength / (strength + n_pairs - burst)


@shaped
def nested_loss(params: Logits, n_pairs: int, burst: int, n_labels: int) -> Float[Array, "*shape"]:
    """Cross-entropy of logits ξ·(attention to a label).

    The attention is v for the right label, (1 − v)/(G − 1) for the other G − 1 of the G = N/B labels present, and 0 for the
    rest. Exact values: ln L at ξ = 0; above ln G for any ξ as long as α = 0 or β = 0, and near it once ξ is large; 0 in the
    limit of all three.

    Args:
        params: beta, alpha, xi, of any one shape.
        n_pairs: N.
        burst: B.
        n_labels: L.

    Returns:
        In nats.
    """
    target = target_share(params["alpha"], item_contrast(params["beta"], n_pairs), n_pairs, burst)
    n_present = n_pairs // burst
    right = params["xi"] * target
    wrong = params["xi"] * (1 - target) / max(n_present - 1, 1)
    terms = [right, wrong + jnp.log(n_present - 1.0), jnp.full_like(right, jnp.log(float(n_labels - n_present)))]
    return jax.nn.logsumexp(jnp.stack(terms), axis=0) - right


@shaped
def descent(
    n_pairs: int, burst: int, n_labels: int, start: Real[ArrayLike, ""] = START
) -> dict[str, Float[Array, " n_steps"]]:
    """Gradient descent of STEPS steps at RATE from β = α = ξ = start.

    β = α = 0 is a saddle, so the plateau lasts as long as −ln start is large.

    Args:
        n_pairs: N.
        burst: B.
        n_labels: L.
        start: Of all three.

    Returns:
        A dict of arrays [STEPS], before each step: `loss`, `beta`, `alpha`, `xi`, `contrast`, `target`.
    """
    gradient = jax.value_and_grad(nested_loss)

    def step(params: Params, _: None) -> tuple[Params, dict[str, Array]]:
        loss, slope = gradient(params, n_pairs, burst, n_labels)
        contrast = item_contrast(params["beta"], n_pairs)
        target = target_share(params["alpha"], contrast, n_pairs, burst)
        seen = {"loss": loss, **params, "contrast": contrast, "target": target}
        return {name: params[name] - RATE * slope[name] for name in params}, seen

    first = dict.fromkeys(("beta", "alpha", "xi"), jnp.asarray(start, jnp.float32))
    return jax.lax.scan(step, first, None, length=STEPS)[1]


def toy(params: Params, run: Run) -> dict[str, Array]:
    """`descent` for the task's sizes: a property of the task, whatever the params."""
    task = run.config.task
    return descent(task.n_pairs, task.burst, task.n_labels)  # type: ignore[attr-defined]
