"""Finite groups as tables: cyclic C_n, dihedral D_n, symmetric S_n, alternating A_n. What a task trains on and an
analysis leans on; numpy alone.

Elements are numbers 0..g−1, and 0 is the neutral one. C_n: the residues. D_n: number r + n·s is the rotation by r after s
reflections. S_n and A_n: permutations in lexicographic order, or in one that is given; a·b is a first, then b, so that
(a·b)[i] = b[a[i]], as in sympy, where published weights have it from.
"""

import itertools
import math
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

Group = Literal["cyclic", "dihedral", "symmetric", "alternating"]
SIZES: dict[str, tuple[int, int]] = {  # the smallest and the largest n
    "cyclic": (2, 1024),
    "dihedral": (3, 512),
    "symmetric": (2, 6),
    "alternating": (3, 6),
}
Elements = tuple[tuple[int, ...], ...]
"""Permutations in the order of their numbers; tuples (`as_elements`): static in a config, a key of caches."""


def check(group: str, n: int, field: str = "") -> None:
    """Checks that there is such a group.

    Args:
        group: The kind of group.
        n: Its parameter.
        field: What stands before "group" and "n" in the message.

    Raises:
        ValueError: Unless there is.
    """
    if group not in get_args(Group):
        raise ValueError(f"{field}group is {group!r}: it must be one of {', '.join(get_args(Group))}.")
    low, high = SIZES[group]
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not low <= n <= high:
        raise ValueError(f"{field}n is {n!r}: a {group} group's must be a whole number from {low} to {high}.")


def order(group: str, n: int) -> int:
    """The number of elements: n, 2n, n!, n!/2.

    Args:
        group: The kind of group.
        n: Its parameter.
    """
    check(group, n)
    orders = {"cyclic": n, "dihedral": 2 * n, "symmetric": math.factorial(n), "alternating": math.factorial(n) // 2}
    return int(orders[group])


def signs(permutations: np.ndarray) -> np.ndarray:
    """±1 [g] of permutations [g, n]: the parity of their inversions."""
    first, second = np.triu_indices(permutations.shape[1], 1)
    return 1 - 2 * ((permutations[:, first] > permutations[:, second]).sum(axis=1) % 2)


def permutations(group: str, n: int, elements: Elements | None = None) -> np.ndarray:
    """The elements of S_n or A_n, entry i the image of i.

    Args:
        group: "symmetric" or "alternating".
        n: The number of points.
        elements: Their order; by default lexicographic.

    Returns:
        int [g, n].
    """
    check(group, n)
    if group not in ("symmetric", "alternating"):
        raise ValueError(f"group is {group!r}: only symmetric and alternating groups have permutations as elements.")
    natural = np.array(list(itertools.permutations(range(n))))
    natural = natural if group == "symmetric" else natural[signs(natural) == 1]
    if elements is None:
        return natural
    lengths = {len(images) for images in as_elements(elements) or ()}
    given = np.array(as_elements(elements)) if len(lengths) == 1 else np.zeros(0)
    if given.shape != natural.shape or not np.array_equal(given[np.lexsort(given.T[::-1])], natural):
        raise ValueError(
            f"elements has shape {given.shape}: it must list each of the {len(natural)} permutations once."
        )
    return given


def as_elements(given: Any) -> Elements | None:
    """Permutations in lists or an array as tuples of tuples; None stays."""
    if given is None:
        return None
    try:
        return tuple(tuple(int(image) for image in images) for images in given)
    except (TypeError, ValueError):
        raise ValueError(f"elements is {given!r:.60}: it must list permutations, each a list of numbers.") from None


def table(group: str, n: int, elements: Elements | None = None) -> np.ndarray:
    """The Cayley table: entry (a, b) is a·b. Read-only, since it is made once.

    Args:
        group: The kind of group.
        n: Its parameter.
        elements: The order of permutations, as of `permutations`.

    Returns:
        int32 [g, g].
    """
    return _table(group, n, as_elements(elements))


@lru_cache(maxsize=32)
def _table(group: str, n: int, elements: Elements | None) -> np.ndarray:
    g = order(group, n)
    a, b = np.divmod(np.arange(g * g).reshape(g, g), g)
    if elements is not None and group in ("cyclic", "dihedral"):
        raise ValueError(f"elements are given: a {group} group has its own order of elements.")
    if group == "cyclic":
        made = (a + b) % n
    elif group == "dihedral":  # r first, s after: a reflection turns what follows round
        turned = np.where(a < n, b % n, -(b % n))
        made = (a % n + turned) % n + n * ((a >= n) ^ (b >= n))
    else:
        images = permutations(group, n, elements)
        digits = n ** np.arange(n)
        number = np.zeros(n**n, int)
        number[images @ digits] = np.arange(g)
        made = number[images[np.arange(g)[None, :, None], images[:, None, :]] @ digits]
    made = made.astype(np.int32)
    made.setflags(write=False)
    return made


def neutral(cayley: np.ndarray) -> int:
    """The number e of the neutral element: e·a = a."""
    return int(np.flatnonzero((cayley == np.arange(len(cayley))).all(axis=1))[0])


def inverses(cayley: np.ndarray) -> np.ndarray:
    """int [g]: the number of each element's inverse."""
    return np.asarray(np.argmax(cayley == neutral(cayley), axis=1))
