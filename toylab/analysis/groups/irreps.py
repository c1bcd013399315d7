"""The real irreducible representations of cyclic, dihedral, symmetric and alternating groups, in orthogonal matrices.

An irrep is of real type where it stays irreducible over ℂ, and of complex type where it falls there into σ and σ̄ (the
rotations of C_n, the 2-dimensional one of A_4). The matrix elements of all irreps of a group of g elements span its g-
dimensional space of functions: d² dimensions each for real type, d²/2 for complex. No group here has one of quaternionic
type. Where each comes from, and its name, is in constructions.py.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Shaped

from toylab.analysis.groups.constructions import Irrep, alternating, cyclic, dihedral, symmetric
from toylab.shapes import shaped
from toylab.tasks import cayley

__all__ = ["Errors", "Irrep", "Representations", "check_axis", "generators", "representations", "verify"]

TOLERANCE = 1e-6


class Representations(NamedTuple):
    """A group and its K irreps, the trivial one first. numpy, float64."""

    table: Integer[np.ndarray, "g g"]
    inverse: Integer[np.ndarray, " g"]
    irreps: tuple[Irrep, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(irrep.name for irrep in self.irreps)

    @property
    def characters(self) -> Float[np.ndarray, "K g"]:
        """[K, g]."""
        return np.stack([irrep.character for irrep in self.irreps])

    @property
    def owner(self) -> Integer[np.ndarray, " g"]:
        """int [g]: the irrep of each column of `basis`."""
        return np.repeat(np.arange(len(self.irreps)), [irrep.rank for irrep in self.irreps])

    @property
    def basis(self) -> Float[np.ndarray, "g g"]:
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


def representations(group: str, n: int, elements: cayley.Elements | None = None) -> Representations:
    """A group and all its real irreps.

    Each is verified as a homomorphism on generators, and all together for orthogonality and completeness. `verify` does it
    for all products. They are made once for each group.

    Args:
        group: The kind of group.
        n: Its parameter, as of `cayley.table`.
        elements: Numbers the permutations otherwise than lexicographically.
    """
    return _representations(group, n, cayley.as_elements(elements))


@lru_cache(maxsize=32)
def _representations(group: str, n: int, elements: cayley.Elements | None) -> Representations:
    table = cayley.table(group, n, elements)
    if group == "cyclic":
        found = cyclic(n)
    elif group == "dihedral":
        found = dihedral(n)
    else:
        found = (symmetric if group == "symmetric" else alternating)(n, cayley.permutations(group, n, elements))
    made = Representations(table, cayley.inverses(table), tuple(found))
    errors = Errors(_homomorphism(made, generators(table)), _orthogonality(made), _dimensions(made))
    if max(errors.homomorphism, errors.orthogonality) > TOLERANCE or errors.dimensions:
        raise ArithmeticError(f"the irreps of the {group} group with n = {n} are wrong: {errors}")
    return made


def verify(reps: Representations) -> Errors:
    """How far the irreps are from homomorphisms (all products), orthogonal matrix elements, and completeness."""
    return Errors(_homomorphism(reps, list(range(len(reps.table)))), _orthogonality(reps), _dimensions(reps))


@shaped
def check_axis(name: str, x: Shaped[ArrayLike, "n ..."], axes: str, reps: Representations) -> None:
    """Checks the first axis of an array over a group.

    Args:
        name: Of the array, for the message.
        x: The array.
        axes: What the axes must be, beginning with "[g" (elements) or "[K" (irreps).
        reps: The irreps.

    Raises:
        ValueError: Unless the first axis is as long as the group has elements or irreps.
    """
    of_elements = axes.startswith("[g")
    size, what = (len(reps.table), "the group's order") if of_elements else (len(reps.irreps), "the number of irreps")
    if np.shape(x)[0] != size:
        raise ValueError(f"{name} has shape {np.shape(x)}: it must be {axes} with {axes[1]} = {size}, {what}.")


@shaped
def generators(table: Integer[np.ndarray, "g g"]) -> list[int]:
    """A few elements that generate the group: each the first that the ones before do not reach.

    Args:
        table: The Cayley table.
    """
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
