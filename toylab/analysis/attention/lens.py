"""Logit lens and tuned lens: what the residual stream after each layer would say if it were read out.

The logit lens reads the residual h of any depth as the last one is read, LayerNorm and W_U (nostalgebraist 2020,
"interpreting GPT: the logit lens"). The tuned lens first maps it by an affine translator of each depth, h A + b, which
is fitted so that its logits come near those of the network (Belrose et al. 2023, Eliciting Latent Predictions from
Transformers with the Tuned Lens, arXiv 2303.08112). Depth d = 0 … L is the residual before layer d; depth L is the
last, whose lens is the network.

Two fits: `least_squares_lens` in closed form, onto the last residual, and `tuned_lens` by gradient, of the paper's loss
KL(network ‖ lens). The first is the best linear guess of the residual, and a start for the second. Losses on the samples
that a lens was fitted on flatter it: fit on one set, and judge on another.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.analysis.attention.read_out import ReadOut, check_read_out, logit_lens
from toylab.analysis.numbers import centred, floating, nan_where, scaled
from toylab.base import Params, Run
from toylab.losses import cross_entropy
from toylab.shapes import shaped

SHOWN = 16  # sequences of an evaluation set that an analyzer looks at
MEMORY = 10  # earlier steps that the gradient fit keeps (L-BFGS)


@shaped
def residual_stream(cache: Mapping[str, Real[ArrayLike, "n_layers ..."]]) -> Float[Array, "n_depths B P d_model"]:
    """The residual before each layer, and after the last: TransformerLens' `accumulated_resid`.

    Args:
        cache: Of a forward pass; `resid_pre` and `resid_post` [L, B, P, d_model].

    Returns:
        [L + 1, B, P, d_model].

    Raises:
        ValueError: Where the cache has neither.
    """
    if lacking := [name for name in ("resid_pre", "resid_post") if name not in cache]:
        raise ValueError(f"the cache has {', '.join(cache)}: the lens needs {', '.join(lacking)} too.")
    return jnp.concatenate([floating(cache["resid_pre"]), floating(cache["resid_post"])[-1:]])


@shaped
def translated(
    resid: Real[ArrayLike, "n_depths *batch d_model"],
    A: Real[ArrayLike, "n_depths d_model d_model"],
    b: Real[ArrayLike, "n_depths d_model"],
) -> Float[Array, "n_depths *batch d_model"]:
    """h A + b with the translator of each depth.

    Args:
        resid: h, [depths, ..., d_model].
        A: As of `tuned_lens`.
        b: Likewise.
    """
    resid, A, b = floating(resid), floating(A), floating(b)
    moved = jnp.einsum("n...d,nde->n...e", resid, A, precision="highest")
    return moved + b.reshape(len(b), *[1] * (moved.ndim - 2), -1)


@shaped
def lens_kl(
    lens: Real[ArrayLike, "n_depths *batch d_vocab_out"], logits: Real[ArrayLike, "*batch d_vocab_out"]
) -> Float[Array, " n_depths"]:
    """KL(network ‖ lens) = Σ_c p_c (ln p_c − ln q_c) in nats, mean over samples and positions (Belrose et al. 2023, eq. 5).

    Args:
        lens: Logits of the lens at each depth.
        logits: Of the network.

    Returns:
        [depths], at least 0 but for rounding.
    """
    p, q = jax.nn.log_softmax(floating(logits)), jax.nn.log_softmax(floating(lens))
    return jnp.mean(jnp.sum(jnp.exp(p) * (p - q), axis=-1).reshape(len(q), -1), axis=1)


@shaped
def least_squares_lens(
    resid: Real[ArrayLike, "n_depths *batch d_model"], ridge: float = 1e-6
) -> tuple[Float[Array, "n_depths d_model d_model"], Float[Array, "n_depths d_model"]]:
    """Translators onto the last residual in closed form: (A, b) with the least Σ‖h A + b − h_last‖² + ridge · n s ‖A − 1‖².

    s is the mean variance of h along a direction, so that the ridge has no unit. Directions in which h does not vary
    keep A = 1.

    Args:
        resid: h at each depth, the last at the end: [depths, ..., d_model]. More samples than directions are wanted.
        ridge: How strongly A is held at 1.

    Returns:
        A [depths, d_model, d_model] and b [depths, d_model].

    Raises:
        ValueError: For a ridge that is not positive, and for no samples.
    """
    if not ridge > 0:
        raise ValueError(f"ridge is {ridge}: it must be above 0.")
    h = _samples(resid)
    mean = h.mean(axis=1)

    def fit(own: Array, own_mean: Array) -> tuple[Array, Array]:
        x, power = scaled(centred(own, 0))
        change = (centred(h[-1], 0) - power * x) / power  # what A − 1 has to give
        gram = jnp.matmul(x.T, x, precision="highest")
        weight = ridge * jnp.trace(gram) / len(gram)
        weight = jnp.where(weight == 0, 1, weight)
        more = jnp.linalg.solve(gram + weight * jnp.eye(len(gram)), jnp.matmul(x.T, change, precision="highest"))
        A = jnp.eye(len(gram), dtype=h.dtype) + more
        return A, mean[-1] - jnp.matmul(own_mean, A, precision="highest")

    return jax.lax.map(lambda one: fit(*one), (h, mean))


@shaped
def tuned_lens(
    params: ReadOut,
    resid: Real[ArrayLike, "n_depths *batch d_model"],
    steps: int = 100,
    start: tuple[Array, Array] | None = None,
) -> tuple[Float[Array, "n_depths d_model d_model"], Float[Array, "n_depths d_model"], Float[Array, "n_depths steps"]]:
    """Translators with the least KL(network ‖ lens), by L-BFGS on all samples, depth by depth (Belrose et al. 2023).

    The last depth keeps A = 1 and b = 0: its lens is the network. Without a final LayerNorm the loss is convex in A and
    b, so the fit has one end. Deviation: the paper takes 250 steps of SGD with momentum on fresh batches, and weight
    decay; here it is one set of samples, a line search and no decay.

    Args:
        params: The weights from the residual to the logits.
        resid: h at each depth, the last at the end: [depths, ..., d_model].
        steps: Of the descent, each with a line search.
        start: (A, b) to start from, as of `least_squares_lens`; None: A = 1, b = 0, the logit lens.

    Returns:
        A [depths, d_model, d_model], b [depths, d_model], and the loss in nats before each step [depths, steps].

    Raises:
        ValueError: As of `logit_lens`, for fewer than one step and for no samples.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}: it must be at least 1.")
    check_read_out(params)
    h = _samples(resid)
    n_depths, _, d_model = h.shape
    if start is None:
        start = jnp.broadcast_to(jnp.eye(d_model, dtype=h.dtype), (n_depths, d_model, d_model)), jnp.zeros_like(h[:, 0])
    shapes = [jnp.shape(value) for value in start]
    if shapes != [(n_depths, d_model, d_model), (n_depths, d_model)]:
        raise ValueError(
            f"start has the shapes {shapes}: (A, b) must be [{n_depths}, {d_model}, {d_model}] and [{n_depths}, {d_model}]."
        )
    target = jax.nn.log_softmax(logit_lens(params, h[-1]))
    optimizer = optax.lbfgs(memory_size=MEMORY)

    def descend(one: tuple[Array, tuple[Array, Array]]) -> tuple[Array, Array, Array]:
        x, at = one

        def loss(weights: tuple[Array, Array]) -> Array:
            A, b = weights
            return lens_kl(logit_lens(params, jnp.matmul(x, A, precision="highest") + b)[None], target)[0]

        def step(state: tuple[tuple[Array, Array], optax.OptState], _: None) -> tuple[Any, Array]:
            weights, opt_state = state
            value, slope = optax.value_and_grad_from_state(loss)(weights, state=opt_state)
            updates, opt_state = optimizer.update(slope, opt_state, weights, value=value, grad=slope, value_fn=loss)
            return (optax.apply_updates(weights, updates), opt_state), value

        ((A, b), _), losses = jax.lax.scan(step, (at, optimizer.init(at)), None, steps)
        lost = jnp.isnan(losses).any()
        return nan_where(lost, A), nan_where(lost, b), losses

    fitted = jax.lax.map(descend, (h[:-1], (start[0][:-1], start[1][:-1])))
    nothing = lens_kl(target[None], target)  # 0, or nan
    A, b = (
        nan_where(jnp.isnan(nothing).any(), value[None]) for value in (jnp.eye(d_model, dtype=h.dtype), 0 * h[-1, 0])
    )
    last = A, b, jnp.broadcast_to(nothing[:, None], (1, steps))
    A, b, losses = (jnp.concatenate(both) for both in zip(fitted, last, strict=True))
    return A, b, losses


def _samples(resid: ArrayLike) -> Array:
    """[depths, n, d_model]."""
    h = floating(resid)
    if 0 in h.shape:
        raise ValueError(f"resid has shape {h.shape}: it must be [depths, …, d_model] with at least one sample.")
    return h.reshape(len(h), -1, h.shape[-1])


def logit_lens_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of next-token tasks: the logit lens on the first `SHOWN` evaluation sequences, `run.data["tokens"]` [N,
    P + 1].

    Returns:
        A dict of arrays [L + 1] by depth, in nats: `kl`, KL(network ‖ lens), and `loss`, the lens's own of the next token.
    """
    tokens = run.data["tokens"][:SHOWN]
    logits, cache = run.config.net.apply(params, tokens[:, :-1])
    lens = logit_lens(params, residual_stream(cache))
    labels = jnp.broadcast_to(tokens[:, 1:], lens.shape[:-1])
    return {"kl": lens_kl(lens, logits), "loss": cross_entropy(lens, labels).mean((1, 2))}


def tuned_lens_losses(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of next-token tasks: lenses fitted on half of 4 · `SHOWN` evaluation sequences and judged on the others.

    Returns:
        A dict of arrays [L + 1] by depth, KL(network ‖ lens) in nats: `tuned` by gradient, `least_squares`, and `logit`.
    """
    tokens = run.data["tokens"][: 4 * SHOWN, :-1]
    logits, cache = run.config.net.apply(params, tokens)
    h, half = residual_stream(cache), len(tokens) // 2
    closed = least_squares_lens(h[:, :half])
    fits = {"tuned": tuned_lens(params, h[:, :half], start=closed)[:2], "least_squares": closed}
    lenses = {name: translated(h[:, half:], *fit) for name, fit in fits.items()} | {"logit": h[:, half:]}
    return {name: lens_kl(logit_lens(params, resid), logits[half:]) for name, resid in lenses.items()}
