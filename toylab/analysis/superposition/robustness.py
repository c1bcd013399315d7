"""How fragile a network in superposition is: the worst small attack (Elhage et al. 2022, arXiv 2209.10652).

W is [..., n_features, n_hidden], rows are features.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Real, Shaped

from toylab.analysis.numbers import floating, scaled, unit
from toylab.analysis.superposition.polytopes import rows
from toylab.base import Params, Run
from toylab.shapes import shaped
from toylab.tasks.sparse import EVALUATION


@shaped
def adversarial_vulnerability(
    W: Real[ArrayLike, "*#batch n_features n_hidden"],
    b: Real[ArrayLike, "*#batch n_features"],
    x: Real[ArrayLike, "*#batch n_samples n_features"],
    importance: Real[ArrayLike, "*#batch n_features"] | None = None,
) -> dict[str, Shaped[Array, "*batch"]]:
    """The worst analytic attack on x' = ReLU(x W Wᵀ + b) (Elhage et al. 2022).

    The attack is x + ε·s·v_i, with v_i the unit vector along (W Wᵀ)_i, s = ±1, and ε a tenth of the mean ‖x‖ over the
    batch. i and s are those of the largest batch-mean loss Σ_j I_j (x_j − x'_j)², with x clean in the target.
    Deviation: the paper divides by its trained S = 0 model, whose ε is another; that ratio falls with sparsity. It
        holds one [B, n] at a time.

    Args:
        W: Features, [..., n, m]. Leading axes of all arguments broadcast.
        b: Biases, [..., n].
        x: Inputs, [..., B, n].
        importance: I, [..., n]; 1 where None.

    Returns:
        A dict of arrays [...], nan where ε is 0 (all of x is 0).

        - `loss` and `attacked_loss`: summed over features.
        - `eps`: ε.
        - `feature` int: i, the first of a tie, −1 for nan; `sign`: s.
        - `vulnerability`: the rise in loss over that of the solution without superposition, W = [I_m; 0], at the same ε,
          which is exactly ε²·max I.

    Raises:
        ValueError: For shapes that do not fit, and an empty batch.
    """
    W, b, x = rows(W), floating(b), floating(x)
    n = W.shape[-2]
    importance = jnp.ones(n, W.dtype) if importance is None else floating(importance)
    if not x.shape[-2]:
        raise ValueError(f"x has shape {x.shape}, it must be [..., n_samples, n_features], with at least one sample")
    found = _worst_attack(*(value.astype(W.dtype) for value in (W, b, x, importance)))
    return dict(zip(("loss", "attacked_loss", "eps", "feature", "sign", "vulnerability"), found, strict=True))


@jax.jit
@partial(jnp.vectorize, signature="(n,m),(n),(b,n),(n)->(),(),(),(),(),()")
def _worst_attack(W: Array, b: Array, x: Array, importance: Array) -> tuple[Array, ...]:
    """One model's: a shift of x moves every output before the ReLU by one vector, whatever x, so 2n vectors do."""
    G = jnp.matmul(W, W.mT, precision="highest")
    x, powers = scaled(x)
    power = powers[0, 0]
    b = b / power  # the network is homogeneous in x and b
    eps = 0.1 * jnp.linalg.norm(x, axis=1).mean()
    before = jnp.matmul(x, G, precision="highest") + b  # [B, n], before the ReLU
    shifts = eps * jnp.matmul(unit(G), G, precision="highest")  # [n, n]

    def loss(shift: Array) -> Array:
        return (importance * (x - jax.nn.relu(before + shift)) ** 2).sum(1).mean()

    clean = loss(jnp.zeros_like(b))
    attacked = jax.lax.map(lambda shift: jnp.stack([loss(shift), loss(-shift)]), shifts)  # [n, 2]
    worst = jnp.argmax(attacked)
    rise = attacked.max() - clean
    sign = jnp.where(worst % 2 == 0, 1, -1)
    unknown = jnp.isnan(rise)
    feature, sign = (jnp.where(unknown, nothing, found) for nothing, found in ((-1, worst // 2), (0, sign)))
    return clean * power**2, attacked.max() * power**2, eps * power, feature, sign, rise / (eps**2 * importance.max())


def attacked(params: Params, run: Run, n_points: int = 4096) -> dict[str, Array]:
    """Analyzer of `ToyModel`: the worst attack on points of the task, the same for every run of that density.

    The attack is judged on the points on which it was found. On few, the rise of the largest of 2n is partly chance, the
    more so the sparser the features.

    Args:
        params: Weights: `W` [n, m] and `b` [n].
        run: Its task has `sample` and `importance`, as `SparseFeatures`.
        n_points: How many points.

    Returns:
        A dict of scalars, as of `adversarial_vulnerability`.

    Raises:
        ValueError: For no points.
    """
    return _attack(params, run, (n_points,))


def attacked_on_few(params: Params, run: Run, n_samples: int = 16, n_points: int = 128) -> dict[str, Array]:
    """Analyzer of `ToyModel`: as `attacked`, the mean over small samples, each under its own worst attack.

    Args:
        params: Weights: `W` [n, m] and `b` [n].
        run: As of `attacked`.
        n_samples: How many samples.
        n_points: Points of each.

    Returns:
        A dict: `vulnerability` [].

    Raises:
        ValueError: For no points.
    """
    return {"vulnerability": _attack(params, run, (n_samples, n_points))["vulnerability"].mean()}


def _attack(params: Params, run: Run, shape: tuple[int, ...]) -> dict[str, Array]:
    task: Any = run.config.task
    x = task.sample(jax.random.key(EVALUATION), math.prod(shape)).reshape(*shape, task.n_features)
    importance = jnp.broadcast_to(task.importance, task.n_features)
    return adversarial_vulnerability(params["W"], params["b"], x, importance)
