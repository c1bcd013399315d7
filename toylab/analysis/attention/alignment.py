"""Distributed alignment search (DAS): the subspace of a site that holds a variable of a causal model.

The basis Q of interchange.py is fitted by gradient so that labels come out as the causal model says when the subspace is
swapped (Geiger et al. 2023, arXiv 2303.02536). A wide basis may fit what no variable is: fit on some pairs of inputs, judge
on others, and look whether a wrong causal model scores as high.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, PRNGKeyArray, Real, Shaped

from toylab.analysis.attention.interchange import Site, interchange_accuracy, interchanged, site_values, swapped
from toylab.analysis.numbers import floating, nan_where
from toylab.base import Analyzer, Apply, Params, Run
from toylab.losses import cross_entropy
from toylab.shapes import shaped

RATE = 0.05  # of Adam at the start, on entries of Q before it is made orthonormal; it falls to 0 along a cosine


@shaped
def fit_alignment(
    key: PRNGKeyArray,
    apply: Apply,
    params: Params,
    base: Shaped[Array, "B ..."],
    source: Shaped[Array, "B ..."],
    labels: Integer[Array, "B ..."],
    site: Site,
    k: int,
    steps: int = 200,
    where: Bool[Array, "B ..."] | None = None,
) -> tuple[Float[Array, "d k"], Float[Array, " steps"]]:
    """Distributed alignment search: the basis with the least cross-entropy of the causal model's labels after a swap.

    Adam on a matrix [d, k] whose QR factor is Q, all pairs at each step. Deviation: the paper turns the whole site, in
    minibatches.

    Args:
        key: Of the start, a random basis.
        apply: The network.
        params: Its weights.
        base: A batch of inputs.
        source: Another.
        labels: What the causal model says of the base with the variable of the source, for each of the network's answers.
        site: Where.
        k: The dimensions of the variable, up to the site's.
        steps: Of the descent.
        where: The answers that count; None: all.

    Returns:
        Q [d, k], and the loss in nats before each step [steps]. nan where a loss is.

    Raises:
        ValueError: As of `interchanged`, for a k or steps below 1 or a k above the site's width, and labels that do not
            fit.
    """
    given = site_values(apply, params, source, site)
    width = given.shape[1]
    if not 1 <= k <= width or steps < 1:
        raise ValueError(
            f"k is {k} and steps {steps}: k must lie in 1 to {width}, the site's width, and steps be above 0."
        )

    def loss(raw: Array) -> Array:
        logits = swapped(apply, params, base, given, site, orthonormal(raw))
        if logits.shape[:-1] != labels.shape:
            raise ValueError(f"labels has shape {labels.shape}: it must be {list(logits.shape[:-1])}, as the answers.")
        return jnp.mean(cross_entropy(logits, labels), where=where)

    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, steps))

    def step(state: tuple[Array, optax.OptState], _: None) -> tuple[tuple[Array, optax.OptState], Array]:
        raw, opt_state = state
        value, slope = jax.value_and_grad(loss)(raw)
        updates, opt_state = optimizer.update(slope, opt_state)
        return (orthonormal(raw + updates), opt_state), value

    start = orthonormal(jax.random.normal(key, (width, k), given.dtype))
    (basis, _), losses = jax.lax.scan(step, (start, optimizer.init(start)), None, steps)
    return nan_where(jnp.isnan(losses).any(), basis), losses


@shaped
def orthonormal(x: Real[ArrayLike, "d k"]) -> Float[Array, "d k"]:
    """The orthonormal basis Q of the columns of x, of QR with a positive diagonal: a continuous function of x.

    Args:
        x: Columns that are independent, d ≥ k.

    Raises:
        ValueError: For more columns than rows.
    """
    x = floating(x)
    if x.shape[1] > x.shape[0]:
        raise ValueError(f"x has shape {x.shape}: it must have at most as many columns as rows.")
    q, r = jnp.linalg.qr(x)
    return q * jnp.where(jnp.diagonal(r) < 0, -1, 1)


def alignment(site: Site, k: int, steps: int = 200) -> Analyzer:
    """An analyzer: DAS on pairs of inputs, `run.data["base"]`, `["source"]` [N, …] and `["label"]`, where `["counts"]`
    is true if there is such. It is fitted on the first half and judged on the second.

        sweep.analyze(alignment(Site("resid_post", 0, -1), k=1), data={"base": …, "source": …, "label": …})

    Args:
        site: Where; of a net on tokens.
        k: The dimensions of the variable.
        steps: Of the descent. Make the result once, at module level, as that of `together`.

    Returns:
        An analyzer: a dict of `basis` [d, k] and the accuracies `aligned`, `whole` (the whole site swapped), `none` (no
            swap).
    """

    def fitted(params: Params, run: Run) -> dict[str, Array]:
        base, source, labels, counts = *(run.data[name] for name in ("base", "source", "label")), run.data.get("counts")
        half, apply = len(base) // 2, run.config.net.apply
        if not half:
            raise ValueError(
                f"data has {len(base)} pairs of base and source: there must be 2 or more, half of them to judge on."
            )
        where, rest = (None, None) if counts is None else (counts[:half], counts[half:])
        pairs = base[:half], source[:half], labels[:half]
        basis, _ = fit_alignment(jax.random.key(0), apply, params, *pairs, site, k, steps, where)
        logits = {
            "aligned": interchanged(apply, params, base[half:], source[half:], site, basis),
            "whole": interchanged(apply, params, base[half:], source[half:], site),
            "none": apply(params, base[half:], full=True)[0],
        }
        return {"basis": basis} | {name: interchange_accuracy(z, labels[half:], rest) for name, z in logits.items()}

    return fitted
