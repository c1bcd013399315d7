"""Which polytopes the features form: orthogonal blocks, each named by its cosines (Elhage et al. 2022, arXiv 2209.10652).

The paper reads the shapes off a graph of W Wᵀ by eye; the rules here (blocks, tolerances, what counts as learned)
are ours. D alone cannot name a shape, since different polytopes share a D: the cosines do.

A tegum product (square, octahedron, triangular bipyramid) is by definition a sum of orthogonal polytopes, so its
blocks are its factors: `polytope` finds two digons in a square. `describe` puts the factors together again.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Integer, Real

from toylab.analysis.numbers import floating
from toylab.shapes import shaped

LEARNED = 0.25  # of the largest norm; ours: where superposition is uniform, the trained norms leave 0.2 to 0.9 empty
REPRESENTED = 0.5  # of the largest norm; stricter, for models whose features differ in importance or are still learned

TEGUMS = {  # the factors, as (shape, size), and what their orthogonal sum is called
    (("digon", 2),) * 2: "square",
    (("digon", 2),) * 3: "octahedron",
    (("digon", 2), ("triangle", 3)): "triangular bipyramid",
    (("digon", 2), ("pentagon", 5)): "pentagonal bipyramid",
    (("digon", 2), ("hexagon", 6)): "hexagonal bipyramid",
}
_SIMPLICES = ("absent", "dedicated", "digon", "triangle", "tetrahedron", "simplex")  # by size, the last from 5 on
_POLYGONS = ("pentagon", "hexagon", "heptagon", "octagon", "polygon")  # from size 5, the last from 9 on
_SOLIDS = {  # the cosines of one vertex with all, and how many there are of each; every vertex has the same
    "square antiprism": {1: 1, 1 / 3: 2, 0.138071187457698: 2, -1 / 3: 1, -0.804737854124365: 2},  # tight: z² = 1/3
    "cube": {1: 1, 1 / 3: 3, -1 / 3: 3, -1: 1},
    "icosahedron": {1: 1, 5**-0.5: 5, -(5**-0.5): 5, -1: 1},
    "dodecahedron": {1: 1, 5**0.5 / 3: 3, 1 / 3: 6, -1 / 3: 6, -(5**0.5) / 3: 3, -1: 1},
}
SHAPES = (*_SIMPLICES, *_POLYGONS, *_SOLIDS, "copies", "unknown", *TEGUMS.values())
"""Names by index. Of a "simplex" or "polygon" the size tells which; the tegum products come from `describe` alone."""


@shaped
def polytope(
    W: Real[ArrayLike, "*batch n_features n_hidden"], atol: float = 0.1, *, min_norm: float = LEARNED
) -> dict[str, Int[Array, "*batch n_features"]]:
    """Clusters features into orthogonal blocks and names the shape of each block.

    Two features are in one block where a chain of |cos| > `atol` joins them, so a simplex of 1/atol or more dimensions
    falls apart. A block has a shape where every member's sorted cosines with the block are within `atol` of the
    shape's; the nearest shape wins. A feature is absent where its norm is at most `min_norm` times the largest: what is
    not learned keeps a small norm in any direction and would tie the blocks together. Rotation and a common scale
    change nothing. Norms may
    differ: only cosines are compared.

    Args:
        W: Features, [..., n, m].
        atol: Tolerance in the cosines. 0.1 suits trained weights (no two shapes of one size are within 0.2); give 1e-6 for
            exact ones.
        min_norm: The share of the largest norm up to which a feature is absent.

    Returns:
        A dict of int arrays [..., n]. Under jit all features of a W with nan are absent.

        - `block`: the smallest index among the features of the block, −1 for an absent feature.
        - `shape`: an index into `SHAPES`, that of "unknown" where no shape fits.
        - `size`: the number of features in the block, 0 where absent.

    Raises:
        ValueError: For W as in `rows`, and for atol or min_norm outside (0, 1).
    """
    for name, value in (("atol", atol), ("min_norm", min_norm)):
        if not isinstance(value, jax.core.Tracer) and not 0 < value < 1:
            raise ValueError(f"{name} is {value}, it must lie between 0 and 1")
    block, shape, size = _blocks(rows(W), atol, min_norm)
    return {"block": block, "shape": shape, "size": size}


@shaped
def consists_of(
    shape: Integer[ArrayLike, "*batch n_features"], counts: Mapping[str, int]
) -> Bool[np.ndarray, "*batch"]:
    """Whether an arrangement has so many features of each shape, and the others are absent.

    Args:
        shape: Indices into `SHAPES`, as of `polytope`.
        counts: Features by the shape's name, as four in digons.
    """
    shape = np.asarray(shape)
    found = {name: (shape == SHAPES.index(name)).sum(axis=-1) for name in ("absent", *counts)}
    right = [found[name] == count for name, count in counts.items()]
    return np.all(right, axis=0) & (found["absent"] == shape.shape[-1] - sum(counts.values()))


@shaped
def neighbours(W: Real[ArrayLike, "*batch n_features 2"]) -> Float[Array, "*batch n_features"]:
    """The cosine of every feature in the plane with the next one round the circle: cos(2π/k) in a regular k-gon.

    Args:
        W: Features, [..., n, 2].

    Returns:
        [..., n], in the order of their angles.
    """
    W = floating(W)
    angle = jnp.sort(jnp.arctan2(W[..., 1], W[..., 0]), axis=-1)
    gap = jnp.diff(angle, axis=-1, append=angle[..., :1] + 2 * np.pi)
    return jnp.where(jnp.isnan(W).any((-2, -1))[..., None], jnp.nan, jnp.cos(gap))


@shaped
def describe(W: Real[ArrayLike, "n_features n_hidden"], atol: float = 0.1, *, min_norm: float = LEARNED) -> str:
    """The whole arrangement in words: "pentagon", "square" (two digons), "3 digons + triangle, 1 absent".

    It is made on the host from the blocks of `polytope`. Sums that have a name of their own get it: square, octahedron,
    triangular, pentagonal and hexagonal bipyramid.

    Args:
        W: Features, [n, m].
        atol: As of `polytope`.
        min_norm: As of `polytope`.

    Raises:
        ValueError: As of `polytope`.
    """
    found = {name: np.asarray(value) for name, value in polytope(W, atol, min_norm=min_norm).items()}
    first = found["block"] == np.arange(len(found["block"]))  # one feature for each block
    kinds = sorted(zip(found["shape"][first].tolist(), found["size"][first].tolist(), strict=True))
    factors = tuple((SHAPES[shape], size) for shape, size in kinds)
    words = TEGUMS.get(factors) or " + ".join(_phrase(*kind, count) for kind, count in Counter(factors).items())
    absent = int((found["block"] < 0).sum())
    return ", ".join(([words] if words else []) + ([f"{absent} absent"] if absent else []))


@shaped
def rows(W: Real[ArrayLike, "*batch n_features n_hidden"]) -> Float[Array, "*batch n_features n_hidden"]:
    """W [..., n_features, n_hidden] as a floating jax array, numbers checked where they are known (not under jit).

    Raises:
        ValueError: For none of features or hidden dimensions, and for nan or inf.
    """
    W = floating(W)
    if 0 in W.shape[-2:]:
        raise ValueError(f"W has shape {W.shape}, it must be [..., n_features, n_hidden], both at least 1")
    if not isinstance(W, jax.core.Tracer) and not bool(jnp.isfinite(W).all()):
        raise ValueError("W holds nan or inf, all of its entries must be finite")
    return W


@jax.jit
@partial(jnp.vectorize, signature="(n,m),(),()->(n),(n),(n)")
def _blocks(W: Array, atol: Array, min_norm: Array) -> tuple[Array, Array, Array]:
    """block, shape and size of one W [n, m]."""
    n = len(W)
    W = W / jnp.maximum(jnp.abs(W).max(), jnp.finfo(W.dtype).tiny)  # so that squares stay in the range of float32
    norm = jnp.linalg.norm(W, axis=1)
    present = norm > min_norm * norm.max()
    unit = W / jnp.where(present, norm, 1)[:, None]
    cosines = jnp.matmul(unit, unit.T, precision="highest")  # [n, n]
    joined = (jnp.abs(cosines) > atol) & present & present[:, None] | jnp.eye(n, dtype=bool)
    block = _components(joined)
    members = (block == block[:, None]) & present & present[:, None]  # [n, n]
    size = members.sum(1)
    name, deviation = _nearest(jnp.where(members, cosines, -2), size, block)
    shape = jnp.where(deviation <= atol, name, SHAPES.index("unknown"))
    return jnp.where(present, block, -1), jnp.where(present, shape, SHAPES.index("absent")), size


def _components(joined: Array) -> Array:
    """The smallest index in the connected component of each node, of a symmetric bool [n, n] with a true diagonal.

    Labels only fall, and stay indices of their own component; a label's own label is one too, and taking it doubles
    the distance that labels travel in a turn.
    """

    def spread(labels: Array) -> Array:
        nearest = jnp.where(joined, labels, len(joined)).min(1)
        return nearest[nearest]

    def turn(state: tuple[Array, Array]) -> tuple[Array, Array]:
        return state[1], spread(state[1])

    first = jnp.arange(len(joined))
    return jax.lax.while_loop(lambda state: (state[0] != state[1]).any(), turn, (first, spread(first)))[1]


def _nearest(cosines: Array, size: Array, block: Array) -> tuple[Array, Array]:
    """The nearest shape of each feature's block and the block's largest deviation from it, of [n, n] (others −2)."""
    n, dtype = len(cosines), cosines.dtype
    rank, s = jnp.arange(n), size[:, None].astype(dtype)
    descending = jnp.sort(cosines, axis=1)[:, ::-1]
    simplex = jnp.where(rank == 0, 1, -1 / jnp.maximum(s - 1, 1))
    polygon = jnp.cos(2 * np.pi * ((rank + 1) // 2) / jnp.maximum(s, 1))
    families = [
        (simplex, size >= 1, jnp.minimum(size, len(_SIMPLICES) - 1)),
        (polygon, size >= 5, SHAPES.index("pentagon") + jnp.minimum(size - 5, len(_POLYGONS) - 1)),
        (jnp.ones((), dtype), size >= 2, jnp.full(n, SHAPES.index("copies"))),
    ]
    for name, counts in _SOLIDS.items():
        row = np.repeat(sorted(counts, reverse=True), [counts[c] for c in sorted(counts, reverse=True)])
        width = jnp.asarray(np.pad(row, (0, max(n - len(row), 0)))[:n], dtype)
        families.append((width, size == len(row), jnp.full(n, SHAPES.index(name))))
    deviations = []
    for expected, applies, _ in families:
        off = jnp.where(rank < size[:, None], jnp.abs(descending - expected), 0).max(1)
        worst = jnp.zeros(n, dtype).at[block].max(off)[block]  # of the members of the block
        deviations.append(jnp.where(applies, worst, jnp.inf))
    best = jnp.argmin(jnp.stack(deviations), axis=0)
    names = jnp.stack([name for *_, name in families])
    return names[best, jnp.arange(n)], jnp.stack(deviations).min(0)


def _phrase(shape: str, size: int, count: int) -> str:
    """ "digon", "3 digons", "2 dedicated", "4-simplex", "3 copies", "unknown of 7"."""
    named = {"simplex": f"{size - 1}-simplex", "polygon": f"{size}-gon", "copies": f"{size} copies"}
    one = named.get(shape, f"unknown of {size}" if shape == "unknown" else shape)
    if count == 1 and shape != "dedicated":
        return one
    if shape in ("dedicated", "unknown"):
        return f"{count} {one}"
    if shape == "copies":
        return f"{count} × {one}"
    plural = one.removesuffix("ron") + "ra" if one.endswith("hedron") else one.replace("simplex", "simplice") + "s"
    return f"{count} {plural}"
