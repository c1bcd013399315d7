"""Cosets in what a network that composes group elements has learned (Stander et al. 2023, Grokking Group Multiplication
with Cosets; code: dashstander/sn-grok, MIT).

A neuron that tests whether ab lies in a coset of a subgroup H reads each operand through its coset alone: what the operand
adds to the neuron is constant on the cosets of H or of a conjugate. How nearly so is the share of variance between cosets.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real

from toylab.analysis.numbers import centred, floating, scaled
from toylab.shapes import shaped
from toylab.tasks import cayley

MOST = 120  # elements of a group whose subgroups are all listed: S_5 has 156
CONCENTRATED = 0.95  # ours


class Cosets(NamedTuple):
    """Of each subgroup: its elements bool [S, g], and the coset [S, g] of each element, numbered from 0."""

    subgroups: Bool[np.ndarray, "S g"]
    left: Integer[np.ndarray, "S g"]  # aH
    right: Integer[np.ndarray, "S g"]  # Ha

    @property
    def sizes(self) -> Integer[np.ndarray, " S"]:
        return np.asarray(self.subgroups.sum(axis=1))


@shaped
def generated(table: Integer[np.ndarray, "g g"], elements: list[int]) -> Bool[np.ndarray, " g"]:
    """bool [g]: the subgroup that some elements generate."""
    inside = np.zeros(len(table), bool)
    inside[cayley.neutral(table)] = True
    edge = np.flatnonzero(inside)
    while edge.size:  # a finite group: products of generators are enough
        reached = np.unique(table[np.ix_(edge, np.array(elements))]) if elements else np.array([], int)
        edge = reached[~inside[reached]]
        inside[edge] = True
    return inside


@shaped
def subgroups(table: Integer[np.ndarray, "g g"]) -> Bool[np.ndarray, "S g"]:
    """All subgroups as bool [S, g], by size, the trivial one and the whole group included: cyclic ones, and what each
    found generates with one more element.

    Raises:
        ValueError: For groups of more than 120 elements: list those you want, `generated`.
    """
    g = len(table)
    if g > MOST:
        raise ValueError(
            f"the group has {g} elements: all subgroups are listed for at most {MOST}; give a list instead."
        )
    cyclic = {generated(table, [a]).tobytes(): a for a in range(g)}
    found: dict[bytes, list[int]] = {generated(table, []).tobytes(): []}
    new = dict(found)
    while new:
        grown: dict[bytes, list[int]] = {}
        for mask, some in new.items():
            inside = np.frombuffer(mask, bool)
            for a in cyclic.values():
                if not inside[a] and (key := generated(table, [*some, a]).tobytes()) not in found:
                    grown.setdefault(key, [*some, a])
        found |= grown
        new = grown
    masks = np.stack([np.frombuffer(mask, bool) for mask in found])
    return masks[np.lexsort((*masks.T, masks.sum(axis=1)))]


@shaped
def cosets(table: Integer[np.ndarray, "g g"], which: Bool[np.ndarray, "S g"] | None = None) -> Cosets:
    """The left and right cosets of subgroups bool [S, g] (None: all but the trivial one and the whole group)."""
    if which is None:
        every = subgroups(table)
        which = every[1:-1]
    g = len(table)
    left, right = np.empty((2, len(which), g), int)
    for i, inside in enumerate(which):
        H = np.flatnonzero(inside)
        if not inside[table[np.ix_(H, H)]].all() or not H.size:
            raise ValueError(
                f"which[{i}] has {H.size} elements: it must be a subgroup, closed under the group's product."
            )
        for side, least in ((left, table[:, H].min(axis=1)), (right, table[H].min(axis=0))):
            side[i] = np.unique(least, return_inverse=True)[1]  # a coset is known by its least element
    return Cosets(np.asarray(which), left, right)


@shaped
def concentration(x: Real[ArrayLike, "g m"], labels: Integer[np.ndarray, "S g"]) -> Float[Array, "S m"]:
    """Share of the variance of functions x [g, m] over the group that lies between cosets, for each of S subgroups with
    coset numbers `labels` [S, g]: [S, m] in [0, 1]; 1 where and only where x is constant on every coset, nan where x is
    constant.

    With k cosets a random function has (k − 1)/(g − 1) in the mean: so ask it of large subgroups. Stander et al. rank
    subgroups by the sum over cosets of the variance within, over the total variance (ddof 1 both): for subgroups of h
    elements that is (1 − concentration)·(g − 1)/(h − 1).
    """
    x, _ = scaled(centred(floating(x), 0), 0)
    inside = labels[:, :, None] == labels[:, None, :]
    means = jnp.asarray(inside / inside.sum(axis=2, keepdims=True), x.dtype)  # [S, g, g]: onto the means of cosets
    between = jnp.einsum("sgh,hm->sgm", means, x, precision="highest")
    return jnp.sum(between**2, axis=1) / jnp.sum(x**2, axis=0)


@shaped
def largest(
    shares: Real[ArrayLike, "S m"], sizes: Integer[ArrayLike, " S"], threshold: float = CONCENTRATED
) -> Integer[Array, " m"]:
    """int [m]: for each neuron the subgroup of most elements on whose cosets it is concentrated (of several the first), −1
    where there is none (shares of nan, of a neuron that is constant, are below every threshold)."""
    score = jnp.where(floating(shares) >= threshold, jnp.asarray(sizes)[:, None], 0)
    return jnp.where(score.max(axis=0) > 0, jnp.argmax(score, axis=0), -1)


@shaped
def neurons(
    tables: Annotated[Mapping[str, ArrayLike], {"a": Real[ArrayLike, "g m"], "b": Real[ArrayLike, "g m"]}],
    found: Cosets,
    side: Literal["left", "right"] | None = None,
) -> dict[str, Float[Array, "S m"]]:
    """Concentration of what operands a and b add to each neuron (`composition.tables`), [S, m] each: of a on right cosets
    Ha and of b on left cosets bH, as in Stander et al., or both on one side."""
    return {
        "a": concentration(tables["a"], found.right if side is None else getattr(found, side)),
        "b": concentration(tables["b"], found.left if side is None else getattr(found, side)),
    }
