"""The local learning coefficient λ: how fast the volume of parameters with nearly the same loss shrinks around a point.

Volume {w near w*: L(w) < L(w*) + ε} ~ ε^λ (Watanabe 2009). A regular minimum of d parameters has λ = d/2, a degenerate one
less. Lau et al. 2023 (arXiv 2308.12108) estimate it by sampling a tempered posterior that is held near w*:

    λ̂ = nβ (E[L(w)] − L(w*)),   w ~ exp(−nβ L(w) − γ/2 ‖w − w*‖²)

with SGLD, `w ← w − ε/2 (nβ ∇L(w) + γ (w − w*)) + N(0, ε)`. Biases to know of: the localisation γ lowers λ̂ (for a quadratic
by γ/(nβa + γ) of each direction's ½), the step ε raises it, a burn-in that is too short lowers it, and the noise of
minibatch gradients raises it by the factor 1 + ε (nβ)² Var(g)/4 in each direction (minibatch_noise.py), by far the largest
of these where ε is not small: `noise_excess` tells. Below the sampler stand closed forms with all of γ and ε in them, and λ
of families where it is known exactly.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray, Real

from toylab.analysis.minibatch_noise import gradient_variance, warn
from toylab.base import Analyzer, Params, Run, static
from toylab.shapes import shaped
from toylab.shapes.narrow import is_narrow, widened

Loss = Callable[..., Array]
"""(params), of all data, or (params, key), of a batch that the key draws → a scalar; in analyzers (params, run[, key])."""


class SGLD(struct.PyTreeNode):
    """Stochastic gradient Langevin dynamics (Welling & Teh 2011) around a point."""

    nbeta: float  # n β: the number of samples times the inverse temperature; `watanabe_nbeta(n)` is the usual one
    gamma: float  # γ, the strength of the pull to w*
    eps: float  # ε: half of it is the step, and it is the variance of the noise
    chains: int = static(default=8)  # Hoogland et al. 2024, their linear-regression transformers
    burn_in: int = static(default=500)  # the same
    draws: int = static(default=500)  # the same; each step after burn-in is one
    batches: int = static(default=10)  # the draws of a chain are cut into as many batches, for the standard error

    def check(self) -> "SGLD":
        for name in ("nbeta", "gamma", "eps"):
            value, bound = getattr(self, name), "at least 0" if name == "gamma" else "above 0"
            if isinstance(value, jax.core.Tracer):
                continue
            if not (value > 0 or (name == "gamma" and value == 0)) or not value < float("inf"):
                raise ValueError(f"sampler.{name} is {value!s}: it must be a finite number, {bound}.")
        for name, least in (("chains", 1), ("burn_in", 0), ("batches", 2), ("draws", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"sampler.{name} is {getattr(self, name)}: it must be at least {least}.")
        if self.draws % self.batches:
            raise ValueError(f"sampler.draws is {self.draws}: it must be a multiple of batches, {self.batches}.")
        return self


@shaped
def local_learning_coefficient(
    loss: Loss, params: Any, key: PRNGKeyArray, sampler: SGLD, mask: Any = None
) -> dict[str, Float[Array, "..."]]:
    """λ̂ at a point, with its standard error. Pure; jit it with `loss` closed over.

    With minibatches every draw is L_B(w) − L_B(w*) on the batch of the step. In expectation that is E[L] − L(w*), and the
    noise which both share cancels (ours; Lau et al. subtract one L(w*)). Parameters narrower than float32 are moved in
    float32.

    Args:
        loss: `loss(params)` is the full-batch mean loss. `loss(params, key)` is that of a batch which `key` draws,
            independent of the batches before.
        params: The point, a pytree of float arrays.
        key: Of the draws.
        sampler: The sampler's settings.
        mask: A pytree like params: 1 where a parameter moves and 0 where it is held (the weight-refined LLC of Wang et al.
            2024). By default all move.

    Returns:
        A dict.

        - `llc` []: λ̂, the mean over chains; nan if one diverged, since those left would be a biased choice.
        - `standard_error` []: of llc, the larger of that from the spread of the chains and that from batch means within
          chains. The first sees correlations of any length, but is itself rough for few chains. The second is low where the
          autocorrelation time exceeds draws / batches. Neither sees bias: see the module's top.
        - `chains` [chains]: λ̂ of each.
        - `trace` [chains, batches]: batch means along each chain. A drift says that the burn-in is too short.
        - `divergent` []: share of the chains that left the finite numbers. Halve eps until it is 0.
        - `noise_excess` []: ε (nβ)² tr Var(g)/8, of the gradients g of 256 batches at w*. It is what the noise of
          minibatches adds to llc where γ ≪ nβ·curvature, and the most it adds else; 0 for full batches. Above a tenth
          of llc a RuntimeWarning says so.
        - `noise_factor` []: 1 + ε (nβ)² Var(g)/4, averaged over the parameters that move: by how much each direction's
          share grows.

    Raises:
        ValueError: For a sampler out of range, params without arrays or with others than floats, and a loss that takes
            neither (params) nor (params, key).
    """
    sampler.check()
    params = jax.tree.map(lambda x: widened(x) if is_narrow(jnp.result_type(x)) else x, params)
    centre, unflatten = _flat(params)
    moves = 1 if mask is None else _flat_mask(mask, params)
    has_key = _takes_key(loss, ("params",))
    at_centre = None if has_key else loss(params)

    def loss_at(w: Array, key: Array) -> Array:
        return loss(unflatten(w), key) if has_key else loss(unflatten(w))

    def draw(w: Array, key: Array) -> tuple[Array, Array]:
        """One step, and what the loss at its start was above that of the centre."""
        batch_key, noise_key = jax.random.split(key)
        value, gradient = jax.value_and_grad(loss_at)(w, batch_key)
        below = loss_at(centre, batch_key) if at_centre is None else at_centre
        drift = sampler.nbeta * gradient + sampler.gamma * (w - centre)
        noise = jax.random.normal(noise_key, w.shape, w.dtype)
        step = jnp.sqrt(sampler.eps).astype(w.dtype) * noise - sampler.eps / 2 * drift
        return (w + moves * step).astype(w.dtype), value - below

    def chain(key: Array) -> Array:
        keys_at = partial(jax.random.fold_in, key)
        w = jax.lax.fori_loop(0, sampler.burn_in, lambda i, w: draw(w, keys_at(i))[0], centre)
        length = sampler.draws // sampler.batches

        def batch(w: Array, index: Array) -> tuple[Array, Array]:
            start = sampler.burn_in + index * length

            def add(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
                w, value = draw(carry[0], keys_at(start + i))
                return w, carry[1] + value

            w, total = jax.lax.fori_loop(0, length, add, (w, jnp.zeros((), centre.dtype)))
            # a bounded loss can stay finite where w does not
            return w, jnp.where(jnp.isfinite(w).all(), sampler.nbeta * total / length, jnp.nan)

        return jax.lax.scan(batch, w, jnp.arange(sampler.batches))[1]

    found = _summary(jax.vmap(chain)(jax.random.split(key, sampler.chains)))
    if not has_key:
        return found | {"noise_excess": jnp.zeros_like(found["llc"]), "noise_factor": jnp.ones_like(found["llc"])}
    apart = jax.random.fold_in(key, sampler.chains)  # not one of the chains' keys
    variance = moves**2 * gradient_variance(lambda one: jax.grad(loss_at)(centre, one), apart)
    growth = sampler.eps * sampler.nbeta**2 * variance / 4
    excess = growth.sum() / 2
    n_moving = jnp.sum(jnp.broadcast_to(moves, growth.shape) != 0)
    warn(excess, found["llc"])
    return found | {"noise_excess": excess, "noise_factor": 1 + growth.sum() / jnp.maximum(n_moving, 1)}


def _summary(trace: Array) -> dict[str, Array]:
    """The estimate from batch means [chains, batches]."""
    n_chains, n_batches = trace.shape
    chains = trace.mean(1)
    within = trace.var(1, ddof=1).mean() / (n_batches * n_chains)
    between = chains.var(ddof=1) / n_chains if n_chains > 1 else jnp.zeros_like(within)
    return {
        "llc": chains.mean(),
        "standard_error": jnp.sqrt(jnp.maximum(within, between)),
        "chains": chains,
        "trace": trace,
        "divergent": 1 - jnp.isfinite(chains).mean(dtype=trace.dtype),
    }


def _flat(params: Any) -> tuple[Array, Callable[[Array], Any]]:
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise ValueError("params has no arrays: it must have the weights that the sampler moves.")
    for path, leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(f"params{jax.tree_util.keystr(path)} is {jnp.result_type(leaf)}: it must be of floats.")
    return ravel_pytree(params)


def _flat_mask(mask: Any, params: Any) -> Array:
    return ravel_pytree(jax.tree.map(lambda m, x: jnp.broadcast_to(m, jnp.shape(x)), mask, params))[0]


def _takes_key(loss: Loss, given: tuple[str, ...]) -> bool:
    """Whether the loss takes a key after the arguments `given`: whether it is of a batch."""
    parameters = inspect.signature(loss).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    if len(required) - len(given) not in (0, 1):
        names = ", ".join(given)
        raise ValueError(f"loss takes {len(required)} arguments: it must take ({names}) or ({names}, key).")
    return len(required) > len(given)


@shaped
def task_loss(params: Params, run: Run, key: PRNGKeyArray) -> Float[Array, ""]:
    """The loss that the run was trained on, on a batch that `key` draws."""
    return run.config.task.loss(partial(run.config.net.apply, full=False), params, run.data, key)


def analyzer(sampler: SGLD, loss: Loss = task_loss, seed: int = 0) -> Analyzer:
    """`local_learning_coefficient` as an analyzer. Make it once, at module level.

    The same noise serves every saved point, so that differences along a path are less noisy than the values.

    Args:
        sampler: The sampler's settings.
        loss: `loss(params, run)` or `loss(params, run, key)`; by default the loss that the run was trained on.
        seed: Of the draws.
    """
    sampler.check()
    of_run = _of_run(loss)

    def llc(params: Params, run: Run) -> dict[str, Array]:
        return local_learning_coefficient(of_run(run), params, jax.random.key(seed), sampler)

    return llc


def of_heads(sampler: SGLD, loss: Loss = task_loss, seed: int = 0) -> Analyzer:
    """An analyzer of the coefficient refined to the weights of each attention head (Wang et al. 2024).

    A head's weights are its slices of W_Q, W_K, W_V [L, H, d_model, d_head] and W_O; all else is held. It gives every
    output of `local_learning_coefficient` as [L, H, …].

    Args:
        sampler: The sampler's settings.
        loss: As of `analyzer`.
        seed: Of the draws.
    """
    sampler.check()
    of_run = _of_run(loss)

    def llc(params: Params, run: Run) -> dict[str, Array]:
        key, own = jax.random.key(seed), ("W_Q", "W_K", "W_V", "W_O")

        def refined(moves: Array) -> dict[str, Array]:
            """moves [L, H]: 1 for the head that moves."""
            mask = {name: moves[..., None, None] if name in own else jnp.zeros(()) for name in params}
            return local_learning_coefficient(of_run(run), params, key, sampler, mask)

        n_layers, n_heads = params["W_Q"].shape[:2]
        each = jnp.eye(n_layers * n_heads).reshape(-1, n_layers, n_heads)
        found = jax.lax.map(refined, each)  # one after the other, and one program for all
        return {name: value.reshape(n_layers, n_heads, *value.shape[1:]) for name, value in found.items()}

    return llc


def _of_run(loss: Loss) -> Callable[[Run], Loss]:
    """The loss as a function of the params (and key), for a given run."""
    if _takes_key(loss, ("params", "run")):
        return lambda run: lambda w, key: loss(w, run, key)
    return lambda run: lambda w: loss(w, run)


def watanabe_nbeta(n: int) -> float:
    """nβ = n / ln n: the inverse temperature at which λ̂ is right to leading order (Watanabe 2013, WBIC).

    Args:
        n: The number of samples.
    """
    if n < 2:
        raise ValueError(f"n is {n}: it must be a number of samples, at least 2.")
    return float(n / np.log(n))


@shaped
def quadratic(
    eigs: Real[ArrayLike, "*batch d"], nbeta: float, gamma: float, eps: float | None = None
) -> Float[np.ndarray, "*batch"]:
    """What `local_learning_coefficient` gives in expectation for L = ½ Σ a_i w_i² at 0.

    It is ½ Σ nβa_i / h_i with h_i = nβa_i + γ in the continuum, and ½ Σ nβa_i / (h_i (1 − ε h_i/4)) for steps of ε, whose
    stationary variance is 1/(h (1 − εh/4)). A direction with a = γ = 0 counts 0.

    Args:
        eigs: a, [..., d]. For the refined LLC give the eigenvalues of the block that moves.
        nbeta: nβ.
        gamma: γ.
        eps: ε; None: the continuum.

    Returns:
        float64 [...].

    Raises:
        ValueError: For negative a_i, and where a step of ε diverges.
    """
    a = np.asarray(eigs, float)
    sampler = SGLD(nbeta=nbeta, gamma=gamma, eps=1.0 if eps is None else eps).check()
    if not (a >= 0).all():
        raise ValueError(f"eigs is {eigs!s}: it must be an array of curvatures, each at least 0.")
    h = sampler.nbeta * a + sampler.gamma
    slack = 1 - (0 if eps is None else eps) * h / 4
    if (slack <= 0).any():
        raise ValueError(f"eps is {eps}: it must be below 4 / (nbeta·a + gamma) = {4 / h.max():g}, or SGLD diverges.")
    return np.sum(sampler.nbeta * a / np.where(h > 0, h * slack, 1), axis=-1) / 2


def normal_crossing(k: Sequence[int]) -> float:
    """λ = 1 / (2 max k) of L = Π_i w_i^{2 k_i} at 0 (Watanabe 2009).

    Its multiplicity is the number of i at the maximum.

    Args:
        k: The exponents.

    Raises:
        ValueError: Unless k has integers of at least 0, not all 0.
    """
    powers = np.asarray(k)
    if powers.ndim != 1 or powers.dtype.kind not in "iu" or not powers.size or powers.min() < 0 or not powers.max():
        raise ValueError(f"k is {k!s}: it must be a list of whole numbers at least 0, not all 0.")
    return 1 / (2 * int(powers.max()))


def reduced_rank_regression(m: int, n: int, h: int, r: int) -> float:
    """λ of a linear network whose true map has rank r (Aoyagi & Watanabe 2005, Neural Networks 18, the four cases of
    their main theorem).

    Args:
        m: Inputs.
        n: Outputs.
        h: Hidden units.
        r: The rank.

    Raises:
        ValueError: Unless m, n ≥ 1, h ≥ 0 and 0 ≤ r ≤ min(m, n, h).
    """
    if m < 1 or n < 1 or not 0 <= r <= min(m, n, h):
        raise ValueError(f"r is {r} with m, n, h = {m}, {n}, {h}: it must lie between 0 and the smallest of them.")
    if m + h < n + r:
        return (h * m - h * r + n * r) / 2
    if n + h < m + r:
        return (h * n - h * r + m * r) / 2
    if m + n < h + r:
        return m * n / 2
    odd = (m + h + n + r) % 2
    return (odd - (h + r) ** 2 - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n) / 8
