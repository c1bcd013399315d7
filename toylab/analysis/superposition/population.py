"""The expected loss of a toy model on sparse features, without sampling noise, and its minima.

Elhage et al. 2022 (arXiv 2209.10652) compare candidate weights by their expected losses; theory.py has those of the phase
diagram in closed form. Here are those of any weights of few features, by summing over all 2ⁿ on/off patterns.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.analysis import over_cells
from toylab.analysis.numbers import floating
from toylab.base import Params, Run
from toylab.shapes import shaped

MOST_FEATURES = 8  # 256 patterns
MOST_STRATA = 12  # features whose patterns `strata` lists
REPLICATES = 4  # of `strata`, whose spread is the error
PAIR_STARTS = (  # W and b of each minimum of `pair_minima`, nearby
    ((1.0, -1.0), (0.1, 0.1)),
    ((0.93, -0.48), (0.18, 0.45)),
    ((0.95, 0.4), (-0.1, 0.2)),
)
POINTS = 1021  # values of the features that are on, in each pattern
SAMPLED = 104_729  # the key of the points of `sampled`
SAMPLE = 256, 4096  # batches and points in each, of `sampled`: a million points


def lattice(n: int) -> Float[np.ndarray, "n_points n"]:
    """[POINTS, n]: evenly spread points of the unit cube, the same at every call.

    The rank-1 lattice `x_k = k (1, a, a², …)/N mod 1` with N = 1021, a = 76, folded by 1 − |2x − 1|, so that the error
    for smooth integrands falls as 1/N² (Hickernell 2002, on the baker's transformation of lattices).
    """
    z = np.array([pow(76, j, POINTS) for j in range(n)])
    return 1 - np.abs(2 * ((np.arange(POINTS)[:, None] * z + 0.5) / POINTS % 1) - 1)


@shaped
def population_loss(
    W: Real[ArrayLike, "n m"],
    b: Real[ArrayLike, " n"],
    density: Real[ArrayLike, ""] | Real[ArrayLike, " n"],
    importance: Real[ArrayLike, ""] | Real[ArrayLike, " n"] = 1.0,
) -> Float[Array, ""]:
    """E Σ_i I_i (x_i − ReLU(x W Wᵀ + b)_i)², where x_i is 0 with probability 1 − p_i and else U[0, 1].

    The sum over the 2ⁿ patterns of what is on is exact. The mean over values is that over `lattice`; against the closed
    forms of `theory.phase_losses` the error is below 1e-4. Losses are summed over features as in the paper; the task's
    loss is a mean. Differentiable.

    Args:
        W: Features, [n, m].
        b: Biases, [n].
        density: p, one number or [n].
        importance: I, one number or [n].

    Returns:
        A scalar.

    Raises:
        ValueError: For more than 8 features.
    """
    W, b = floating(W), floating(b)
    n = _checked(W)
    on = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # [patterns, n]
    p = jnp.broadcast_to(jnp.asarray(density, W.dtype), (n,))
    weight = jnp.prod(jnp.where(on, p, 1 - p), axis=1)  # [patterns]
    return _over_patterns(W, b, on, weight, importance)


@shaped
def set_loss(
    W: Real[ArrayLike, "n m"],
    b: Real[ArrayLike, " n"],
    density: Real[ArrayLike, ""],
    sets: str,
    size: int,
    importance: Real[ArrayLike, ""] | Real[ArrayLike, " n"] = 1.0,
) -> Float[Array, ""]:
    """`population_loss` of features in sets, each on with probability p: all its features, or one of them.

    Args:
        W: Features, [n, m].
        b: Biases, [n].
        density: p of every set.
        sets: "correlated" or "anticorrelated", as of `tasks.SparseFeatures`.
        size: Features in a set.
        importance: I, one number or [n].

    Returns:
        A scalar.

    Raises:
        ValueError: For more than 8 features, other sets, and a size that does not divide them.
    """
    W, b = floating(W), floating(b)
    n = _checked(W)
    if sets not in ("correlated", "anticorrelated") or n % size:
        raise ValueError(
            f"sets is {sets!r} of size {size}; there are correlated and anticorrelated ones that divide {n}"
        )
    choices = 2 if sets == "correlated" else size + 1  # of each set: none, then all or one of its features
    chosen = np.stack(np.meshgrid(*[np.arange(choices)] * (n // size), indexing="ij"), -1).reshape(-1, n // size)
    of_feature = np.repeat(chosen, size, axis=1)  # [patterns, n]
    on = of_feature == (1 if sets == "correlated" else 1 + np.arange(n) % size)
    p = jnp.asarray(density, W.dtype)
    weight = jnp.prod(jnp.where(chosen > 0, p / (choices - 1), 1 - p), axis=1)
    return _over_patterns(W, b, on, weight, importance)


def _checked(W: Array) -> int:
    n = W.shape[0]
    if n > MOST_FEATURES:
        raise ValueError(f"W has {n} features, all on/off patterns are summed for at most {MOST_FEATURES}")
    return n


def _over_patterns(W: Array, b: Array, on: np.ndarray, weight: Array, importance: ArrayLike) -> Array:
    """The loss over patterns of what is on [patterns, n] and their probabilities [patterns]."""
    x = on[:, None] * lattice(len(W)).astype(W.dtype)  # [patterns, POINTS, n]
    hidden = jnp.matmul(x, W, precision="highest")
    output = jax.nn.relu(jnp.matmul(hidden, W.T, precision="highest") + b)
    return weight @ (jnp.asarray(importance) * (x - output) ** 2).sum(-1).mean(-1)


@partial(jax.jit, static_argnames="steps")
@shaped
def descended(
    W: Float[ArrayLike, "K n m"],
    b: Float[ArrayLike, "K n"],
    density: Real[ArrayLike, " K"],
    importance: Real[ArrayLike, "K n"],
    steps: int = 1500,
) -> tuple[Float[Array, " K"], Float[Array, "K n m"], Float[Array, "K n"]]:
    """The local minimum of `population_loss` that lies below a start, for each of K problems.

    The descent is Adam on loss/p, with a step that falls from 0.01 to 0 as a cosine.

    Args:
        W: Starts, [K, n, m].
        b: Starts, [K, n].
        density: p of each problem.
        importance: I of each problem and feature.
        steps: Of Adam.

    Returns:
        Losses [K], W [K, n, m] and b [K, n] of the minima.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, steps))

    def one(W: Array, b: Array, density: Array, importance: Array) -> tuple[Array, Array, Array]:
        def loss(weights: tuple[Array, Array]) -> Array:
            return population_loss(*weights, density, importance) / density

        def step(_: Array, state: tuple) -> tuple:
            weights, opt_state = state
            updates, opt_state = optimizer.update(jax.grad(loss)(weights), opt_state)
            return optax.apply_updates(weights, updates), opt_state

        weights, _ = jax.lax.fori_loop(0, steps, step, ((W, b), optimizer.init((W, b))))
        return loss(weights) * density, *weights

    return jax.vmap(one)(*map(jnp.asarray, (W, b, density, importance)))


@shaped
def pair_minima(density: Real[ArrayLike, " P"]) -> tuple[Float[Array, "3 P"], Float[Array, "3 P 2"]]:
    """Minima of `population_loss` of two equally important features in one dimension, with norms and biases free.

    They are those that lie below `PAIR_STARTS`: the even antipodal pair, the uneven one, and both features on one side.
    The closed forms of `theory.phase_losses` have fixed norms and biases instead.

    Args:
        density: p of both features, for each of P problems.

    Returns:
        Losses, and norms of the two features, of the three minima.
    """
    p = np.asarray(density)
    found = []
    for W, b in PAIR_STARTS:
        start = np.tile(np.array(W)[:, None], (len(p), 1, 1)), np.tile(np.array(b), (len(p), 1))
        found.append(descended(*start, p, np.ones((len(p), 2)))[:2])
    return jnp.stack([loss for loss, _ in found]), jnp.abs(jnp.stack([W for _, W in found]))[..., 0]


@shaped
def pair_boundary(
    density: Real[ArrayLike, " P"], losses: Real[ArrayLike, "K P"], norms: Real[ArrayLike, "K P 2"], least: float = 0.5
) -> Float[np.ndarray, " 1"]:
    """The density up to which the lowest of several minima has both features represented.

    Args:
        density: p, rising.
        losses: Of the minima, as `pair_minima` gives them.
        norms: Of the two features in each.
        least: The norm above which a feature counts as represented.

    Returns:
        One density, half-way on a log axis between two (see `over_cells.end_of_stretch`); nan where there is none.
    """
    losses, norms = np.asarray(losses), np.asarray(norms)
    lowest = np.take_along_axis(norms, losses.argmin(axis=0)[None, :, None], axis=0)[0]  # [P, 2]
    return over_cells.end_of_stretch(density, (lowest > least).all(axis=1)[:, None])


def population(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: `population_loss`, or `set_loss`, under the run's own density and importance.

    Values up to `high` have the loss of those up to 1 of a model with b/high, times high².

    Returns:
        A dict: `loss` [].

    Raises:
        ValueError: For nets and features that the formula is not of.
    """
    task, net = run.config.task, run.config.net
    formula = {"hidden": "linear", "output": "relu", "target": "identity"}
    for part, owner in (("net", net), ("task", task)):
        for name, only in formula.items():
            if (found := getattr(owner, name, only)) != only:
                raise ValueError(f"{part}.{name} is {found!r}: the population loss is that of {only!r} only.")
    W, high = params["W"], getattr(task, "high", 1.0)
    b = (params["b"] if "b" in params else jnp.zeros(len(W), W.dtype)) / high
    density, importance = task.density, task.importance  # type: ignore[attr-defined]
    if (sets := getattr(task, "sets", "independent")) == "independent":
        return {"loss": high**2 * population_loss(W, b, density, importance)}
    size = task.set_size  # type: ignore[attr-defined]
    return {"loss": high**2 * set_loss(W, b, density, sets, size, importance)}


def sampled(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the task's loss on a million points, the same for every run but for its density.

    For models with too many features for `population_loss`. The best of several fits is
    chosen by this: on the few thousand points of a saved point fits that differ by some per cent change places.

    Returns:
        A dict: `loss` [] and its standard error, `error` [].
    """
    task, net = run.config.task, run.config.net
    batches, points = SAMPLE

    def of_batch(key: Array) -> Array:
        return task.error(net.apply, params, task.sample(key, points))  # type: ignore[attr-defined]

    losses = jax.lax.map(of_batch, jax.random.split(jax.random.key(SAMPLED), batches))
    return {"loss": losses.mean(), "error": losses.std(ddof=1) / np.sqrt(batches)}


@cache
def strata(n: int, points: int = 2048) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points for expectations over n independent features that are mostly off, by strata: which of them are on.

    Within a stratum the values of the features that are on are scrambled Sobol points. Each number of features on has about
    as many points. For the network of 10 in 5 at p = 0.12 the error is 20 times below that of as many random points.

    Args:
        n: Features, at most 12.
        points: For each number of features on, in each replicate.

    Returns:
        - x [REPLICATES, N, n]: the points, between 0 and 1, of independent scrambles.
        - on int [N]: how many features are on.
        - share [N]: one over the number of points of the stratum.

    Raises:
        ValueError: For more than 12 features.
    """
    from scipy.stats import qmc

    if n > MOST_STRATA:
        raise ValueError(f"there are {n} features, all on/off patterns are listed for at most {MOST_STRATA}")
    patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    rng = np.random.default_rng(0)
    x, on, share = [], [], []
    for k in range(n + 1):
        own = patterns[patterns.sum(axis=1) == k]
        m = int(np.clip(np.round(np.log2(points / len(own))), 2, 10)) if k else 0
        for pattern in own:
            block = np.zeros((REPLICATES, 2**m, n), np.float32)
            for values in block:
                values[:, pattern == 1] = qmc.Sobol(k, rng=rng).random_base2(m) if k else 0
            x.append(block)
        on.append(np.full(len(own) << m, k))
        share.append(np.full(len(own) << m, 2.0**-m, np.float32))
    return np.concatenate(x, axis=1), np.concatenate(on), np.concatenate(share)


def expected(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of any net on independent features: the expected loss, with its standard error.

    The probabilities of the on/off patterns are exact. Means over values are those over `strata`.

    Args:
        params: Weights.
        run: Its task is `SparseFeatures` with one density for all features, of which there are at most 12.

    Returns:
        A dict: `loss` and `error` [], summed over features as in the paper; the task's loss is a mean.

    Raises:
        ValueError: For other features.
    """
    task, net = run.config.task, run.config.net
    for name, only in (("sets", "independent"), ("target", "identity")):
        if (found := getattr(task, name, only)) != only:
            raise ValueError(f"task.{name} is {found!r}: the strata are those of {only!r} only.")
    n, p = task.n_features, task.density  # type: ignore[attr-defined]
    if jnp.ndim(p):
        raise ValueError(f"task.density has shape {jnp.shape(p)}: the strata are those of one number.")
    x, on, share = strata(n)
    weight = jnp.asarray(p) ** on * (1 - jnp.asarray(p)) ** (n - on) * share

    def one(points: Array) -> Array:
        output, _ = net.apply(params, points)
        return weight @ (jnp.asarray(task.importance) * (points - output) ** 2).sum(-1)  # type: ignore[attr-defined]

    losses = jax.lax.map(one, jnp.asarray(x) * getattr(task, "high", 1.0))
    return {"loss": losses.mean(), "error": losses.std(ddof=1) / REPLICATES**0.5}
