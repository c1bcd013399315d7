"""The real irreps of each kind of group, one after the other, in orthogonal matrices: rotations for cyclic and dihedral
groups, Young's orthogonal form for S_n (James & Kerber 1981, The Representation Theory of the Symmetric Group), its
restrictions for A_n, which split in two where the partition is its own transpose (ibid.). Names are those of Chughtai et
al. 2023's code where it has the irrep. A group is put together, and all of it verified, in irreps.py.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from toylab.analysis.groups.young import Partition, orthogonal_form, partitions, transposed
from toylab.shapes import shaped
from toylab.tasks import cayley

NAMES: dict[Partition, str] = {  # letters of equal dimensions as published; those of 9d and 10d are ours
    (2, 2): "s4_2d",
    (2, 2, 1): "s5_5d_a",
    (3, 2): "s5_5d_b",
    (3, 1, 1): "s5_6d",
    (3, 3): "s6_5d_a",
    (2, 2, 2): "s6_5d_b",
    (4, 2): "s6_9d_a",
    (2, 2, 1, 1): "s6_9d_b",
    (4, 1, 1): "s6_10d_a",
    (3, 1, 1, 1): "s6_10d_b",
    (3, 2, 1): "s6_16d",
}
ZERO = 1e-6  # characters that differ by less are equal


class Irrep(NamedTuple):
    name: str
    matrices: Float[np.ndarray, "g d d"]  # orthogonal
    kind: Literal["real", "complex"]

    @property
    def dimension(self) -> int:
        return self.matrices.shape[1]

    @property
    def rank(self) -> int:
        """How many functions on the group its matrix elements span."""
        return self.dimension**2 // (2 if self.kind == "complex" else 1)

    @property
    def character(self) -> Float[np.ndarray, " g"]:
        """tr ρ(a), [g]."""
        return np.trace(self.matrices, axis1=1, axis2=2)


def _scalar(name: str, values: np.ndarray) -> Irrep:
    return Irrep(name, values.astype(float).reshape(-1, 1, 1), "real")


def _rotations(k: int, n: int) -> np.ndarray:
    """[n, 2, 2]: by the angles 2πkr/n."""
    angle = 2 * np.pi * (k * np.arange(n) % n) / n
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)


def cyclic(n: int) -> list[Irrep]:
    """trivial; for even n sign, (−1)^r; freq_k, the rotation by 2πkr/n, of complex type."""
    r = np.arange(n)
    scalars = [_scalar("trivial", r**0), *([_scalar("sign", (-1) ** r)] if n % 2 == 0 else [])]
    return scalars + [Irrep(f"freq_{k}", _rotations(k, n), "complex") for k in range(1, (n + 1) // 2)]


def dihedral(n: int) -> list[Irrep]:
    """trivial; sign, −1 for reflections; for even n alternating, (−1)^r, and its product with sign; freq_k, real type."""
    r, s = np.arange(2 * n) % n, np.arange(2 * n) // n
    scalars = [_scalar("trivial", r**0), _scalar("sign", (-1) ** s)]
    if n % 2 == 0:
        scalars += [_scalar("alternating", (-1) ** r), _scalar("alternating_sign", (-1) ** (r + s))]
    flip = np.diag([1.0, -1.0])
    turns = [_rotations(k, n) for k in range(1, (n + 1) // 2)]
    return scalars + [Irrep(f"freq_{k}", np.concatenate([t, t @ flip]), "real") for k, t in enumerate(turns, 1)]


def _name(shape: Partition) -> str:
    n = sum(shape)
    if shape == (n,):
        return "trivial"
    if shape == (1,) * n:
        return "sign"
    if shape == (n - 1, 1):
        return "standard"
    return "standard_sign" if shape == transposed((n - 1, 1)) else NAMES[shape]


@shaped
def symmetric(n: int, permutations: Integer[np.ndarray, "g n"]) -> list[Irrep]:
    """trivial, sign, standard, standard_sign, then the others, one for each partition."""
    found = [Irrep(_name(shape), orthogonal_form(shape, permutations), "real") for shape in partitions(n)]
    first = ("trivial", "sign", "standard", "standard_sign")
    return sorted(found, key=lambda irrep: first.index(irrep.name) if irrep.name in first else len(first))


@shaped
def alternating(n: int, permutations: Integer[np.ndarray, "g n"]) -> list[Irrep]:
    """Restrictions of S_n's, one of each pair of transposed partitions. Where a partition is its own transpose, S with
    Sρ(g) = sgn(g)ρ(g)S commutes with A_n: S² = 1 splits the restriction into two irreps of real type, "_a" the one whose
    character is larger at the first element where they differ in lexicographic order; S² = −1 makes it one of complex type.
    """
    whole = np.array(cayley.permutations("symmetric", n))
    found = []
    for shape in partitions(n):
        if shape < transposed(shape):
            continue
        rho = orthogonal_form(shape, permutations)
        if shape > transposed(shape):
            found.append(Irrep(_alternating_name(n, shape, rho.shape[1]), rho, "real"))
        else:
            found += _split(n, rho, orthogonal_form(shape, whole), whole, permutations)
    return found


def _alternating_name(n: int, shape: Partition, d: int) -> str:
    if shape in ((n,), (n - 1, 1)):
        return _name(shape)
    return "a5_5d_a" if n == 5 else f"a{n}_{d}d"


def _split(n: int, rho: np.ndarray, full: np.ndarray, whole: np.ndarray, permutations: np.ndarray) -> list[Irrep]:
    d = rho.shape[1]
    seed = np.random.default_rng(0).standard_normal((d, d))
    S = np.einsum("g,gij,jk,glk->il", cayley.signs(whole), full, seed, full, optimize=True)
    S /= np.sqrt(np.abs(np.trace(S @ S)) / d)
    if np.trace(S @ S) < 0:
        return [Irrep(f"a{n}_{d}d", rho, "complex")]
    values, vectors = np.linalg.eigh((S + S.T) / 2)
    halves = [vectors[:, sign * values > 0] for sign in (1, -1)]
    pair = [half.T @ rho @ half for half in halves]
    in_order = np.lexsort(permutations.T[::-1])
    gap = np.trace(pair[0] - pair[1], axis1=1, axis2=2)[in_order]
    if gap[np.argmax(np.abs(gap) > ZERO)] < 0:
        pair.reverse()
    return [Irrep(f"a{n}_{d // 2}d_{letter}", half, "real") for letter, half in zip("ab", pair, strict=True)]
