"""The real irreducible representations of cyclic, dihedral, symmetric and alternating groups, in orthogonal matrices.

An irrep is of real type where it stays irreducible over ℂ, and of complex type where it falls there into σ and σ̄ (the
rotations of C_n, the 2-dimensional one of A_4). The matrix elements of all irreps of a group of g elements span its g-
dimensional space of functions: d² dimensions each for real type, d²/2 for complex. No group here has one of quaternionic
type. Sources: Young's orthogonal form for S_n (James & Kerber 1981, The Representation Theory of the Symmetric Group);
restriction to A_n splits in two where the partition is its own transpose (ibid.). Names are those of Chughtai et al. 2023's
code where it has the irrep.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from toylab import cayley
from toylab.analysis.young import Partition, orthogonal_form, partitions, transposed

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
TOLERANCE = 1e-6


class Irrep(NamedTuple):
    name: str
    matrices: np.ndarray  # [g, d, d], orthogonal
    kind: Literal["real", "complex"]

    @property
    def dimension(self) -> int:
        return self.matrices.shape[1]

    @property
    def rank(self) -> int:
        """How many functions on the group its matrix elements span."""
        return self.dimension**2 // (2 if self.kind == "complex" else 1)

    @property
    def character(self) -> np.ndarray:
        """tr ρ(a), [g]."""
        return np.trace(self.matrices, axis1=1, axis2=2)


class Representations(NamedTuple):
    """A group and its K irreps, the trivial one first. numpy, float64."""

    table: np.ndarray  # int [g, g]
    inverse: np.ndarray  # int [g]
    irreps: tuple[Irrep, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(irrep.name for irrep in self.irreps)

    @property
    def characters(self) -> np.ndarray:
        """[K, g]."""
        return np.stack([irrep.character for irrep in self.irreps])

    @property
    def owner(self) -> np.ndarray:
        """int [g]: the irrep of each column of `basis`."""
        return np.repeat(np.arange(len(self.irreps)), [irrep.rank for irrep in self.irreps])

    @property
    def basis(self) -> np.ndarray:
        """[g, g] orthogonal: columns span the matrix elements of one irrep after the other. √(d/g)·ρ_ij(a) for real type;
        for complex type as many of the left singular vectors of these as are independent."""
        return np.concatenate([_span(irrep) for irrep in self.irreps], axis=1)


class Errors(NamedTuple):
    """What `verify` found; 0 for exact irreps."""

    homomorphism: float  # max |ρ(a)ρ(b) − ρ(ab)|
    orthogonality: (
        float  # max deviation of the Gram matrix of √(d/g)·ρ_ij, over all irreps together, from what it must be
    )
    dimensions: int  # Σ rank − g


@lru_cache(maxsize=32)
def representations(group: str, n: int, elements: cayley.Elements | None = None) -> Representations:
    """The group and all its real irreps; `elements` numbers the permutations otherwise than lexicographically.

    Each comes verified as a homomorphism on generators, and all together for orthogonality and completeness; `verify` does
    it for all products."""
    table = cayley.table(group, n, elements)
    if group == "cyclic":
        found = _cyclic(n)
    elif group == "dihedral":
        found = _dihedral(n)
    else:
        found = (_symmetric if group == "symmetric" else _alternating)(
            n, cayley.permutations(group, n, elements), table
        )
    made = Representations(table, cayley.inverses(table), tuple(found))
    errors = Errors(_homomorphism(made, generators(table)), _orthogonality(made), _dimensions(made))
    if max(errors.homomorphism, errors.orthogonality) > TOLERANCE or errors.dimensions:
        raise ArithmeticError(f"the irreps of the {group} group with n = {n} are wrong: {errors}")
    return made


def verify(reps: Representations) -> Errors:
    """How far the irreps are from homomorphisms (all products), orthogonal matrix elements, and completeness."""
    return Errors(_homomorphism(reps, list(range(len(reps.table)))), _orthogonality(reps), _dimensions(reps))


def generators(table: np.ndarray) -> list[int]:
    """A few elements that generate the group: each the first that the ones before do not reach."""
    reached, chosen = np.zeros(len(table), bool), []
    reached[cayley.neutral(table)] = True
    while not reached.all():
        chosen.append(int(np.argmin(reached)))
        while True:  # products with generators, until nothing is new
            products = np.unique(table[np.ix_(np.flatnonzero(reached), np.array(chosen))])
            if reached[products].all():
                break
            reached[products] = True
    return chosen


def _homomorphism(reps: Representations, some: list[int]) -> float:
    worst = 0.0
    for irrep in reps.irreps:
        rho = irrep.matrices
        for b in some:
            worst = max(worst, float(np.abs(rho @ rho[b] - rho[reps.table[:, b]]).max()))
    return worst


def _elements(irrep: Irrep) -> np.ndarray:
    """√(d/g)·ρ_ij(a) as [g, d²]."""
    g, d = irrep.matrices.shape[:2]
    return np.sqrt(d / g) * irrep.matrices.reshape(g, d * d)


def _orthogonality(reps: Representations) -> float:
    """Within an irrep the Gram matrix is 1 (real type), or twice a projector (complex type); between irreps it is 0."""
    elements = [_elements(irrep) for irrep in reps.irreps]
    worst = 0.0
    for i, (irrep, own) in enumerate(zip(reps.irreps, elements, strict=True)):
        gram = own.T @ own
        wanted = np.eye(len(gram)) if irrep.kind == "real" else gram @ gram / 2
        worst = max(worst, float(np.abs(gram - wanted).max()))
        if others := elements[i + 1 :]:
            worst = max(worst, float(np.abs(own.T @ np.concatenate(others, axis=1)).max()))
    return worst


def _dimensions(reps: Representations) -> int:
    return sum(irrep.rank for irrep in reps.irreps) - len(reps.table)


def _span(irrep: Irrep) -> np.ndarray:
    elements = _elements(irrep)
    return elements if irrep.kind == "real" else np.linalg.svd(elements, full_matrices=False)[0][:, : irrep.rank]


def _scalar(name: str, values: np.ndarray) -> Irrep:
    return Irrep(name, values.astype(float).reshape(-1, 1, 1), "real")


def _rotations(k: int, n: int) -> np.ndarray:
    """[n, 2, 2]: by the angles 2πkr/n."""
    angle = 2 * np.pi * (k * np.arange(n) % n) / n
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)


def _cyclic(n: int) -> list[Irrep]:
    """trivial; for even n sign, (−1)^r; freq_k, the rotation by 2πkr/n, of complex type."""
    r = np.arange(n)
    scalars = [_scalar("trivial", r**0), *([_scalar("sign", (-1) ** r)] if n % 2 == 0 else [])]
    return scalars + [Irrep(f"freq_{k}", _rotations(k, n), "complex") for k in range(1, (n + 1) // 2)]


def _dihedral(n: int) -> list[Irrep]:
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


def _symmetric(n: int, permutations: np.ndarray, table: np.ndarray) -> list[Irrep]:
    """trivial, sign, standard, standard_sign, then the others, one for each partition."""
    found = [Irrep(_name(shape), orthogonal_form(shape, permutations), "real") for shape in partitions(n)]
    first = ("trivial", "sign", "standard", "standard_sign")
    return sorted(found, key=lambda irrep: first.index(irrep.name) if irrep.name in first else len(first))


def _alternating(n: int, permutations: np.ndarray, table: np.ndarray) -> list[Irrep]:
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
    if gap[np.argmax(np.abs(gap) > TOLERANCE)] < 0:
        pair.reverse()
    return [Irrep(f"a{n}_{d // 2}d_{letter}", half, "real") for letter, half in zip("ab", pair, strict=True)]
