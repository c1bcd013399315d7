"""Young's orthogonal form: the irreps of the symmetric group S_n by partitions of n, in orthogonal matrices (James & Kerber
1981, The Representation Theory of the Symmetric Group)."""

import numpy as np
from jaxtyping import Float, Integer

from toylab.shapes import shaped

Partition = tuple[int, ...]


def partitions(n: int, most: int | None = None) -> list[Partition]:
    """All partitions of n in falling parts, the largest first."""
    if n == 0:
        return [()]
    return [(k, *rest) for k in range(min(n, most or n), 0, -1) for rest in partitions(n - k, k)]


def tableaux(shape: Partition) -> list[tuple[tuple[int, int], ...]]:
    """The standard Young tableaux of a shape, each as the (row, column) of 0, 1, …, n−1."""
    if not shape:
        return [()]
    found = []
    for row, length in enumerate(shape):
        if row == len(shape) - 1 or shape[row + 1] < length:  # a corner, where the largest number may stand
            smaller = tuple(k - (i == row) for i, k in enumerate(shape))
            rest = tuple(k for k in smaller if k)
            found += [(*cells, (row, length - 1)) for cells in tableaux(rest)]
    return found


def adjacent(shape: Partition) -> Float[np.ndarray, "n-1 d d"]:
    """Young's orthogonal form of the adjacent transpositions (i, i+1): [n−1, d, d].

    With r the axial distance from i to i+1 in tableau T (content of i+1 minus that of i): T ↦ T/r + √(1 − 1/r²)·T', where
    T' has i and i+1 exchanged."""
    cells = tableaux(shape)
    number = {tableau: i for i, tableau in enumerate(cells)}
    n, d = sum(shape), len(cells)
    made = np.zeros((n - 1, d, d))
    for t, tableau in enumerate(cells):
        for i in range(n - 1):
            (row, column), (next_row, next_column) = tableau[i], tableau[i + 1]
            r = (next_column - next_row) - (column - row)
            made[i, t, t] = 1 / r
            if abs(r) > 1:
                exchanged = (*tableau[:i], tableau[i + 1], tableau[i], *tableau[i + 2 :])
                made[i, number[exchanged], t] = np.sqrt(1 - 1 / r**2)
    return made


@shaped
def orthogonal_form(shape: Partition, permutations: Integer[np.ndarray, "g n"]) -> Float[np.ndarray, "g d d"]:
    """Young's orthogonal form of permutations [g, n]: [g, d, d]. Each is sorted by adjacent exchanges; their product in
    turn is ρ, for (s·b)[i] = b[s[i]] exchanges the entries i and i+1 of b."""
    swaps = adjacent(shape)
    images = permutations.copy()
    made = np.broadcast_to(np.eye(swaps.shape[1]), (len(images), *swaps.shape[1:])).copy()
    n = images.shape[1]
    for end in range(n - 1, 0, -1):  # bubble sort, all permutations at once
        for i in range(end):
            out = images[:, i] > images[:, i + 1]
            made[out] = made[out] @ swaps[i]
            images[out, i], images[out, i + 1] = images[out, i + 1], images[out, i]
    return made


def transposed(shape: Partition) -> Partition:
    return tuple(sum(k > column for k in shape) for column in range(shape[0]))
