"""How far the roundings of another processor may carry a number that is computed from stored ones."""

from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]
ROUNDINGS = 8  # a stable formula errs no more than if its inputs were moved by a few of their own roundings
DRAWS = 4


def slack(values: Callable[[Arrays], np.ndarray], stored: Arrays, exact: Callable[[str], bool]) -> np.ndarray:
    """The largest move of each of `values(stored)` when every stored float goes `ROUNDINGS` roundings up or down at random:
    eps times the condition of the formula, measured. Whole numbers are exact, and so is what `exact(name)` says."""
    at, rng = values(stored), np.random.default_rng(0)
    moves = np.zeros(at.shape)
    for _ in range(DRAWS):
        moved = values({name: x if exact(name) else _moved(x, rng) for name, x in stored.items()})
        moves = np.fmax(moves, np.abs(moved - at))
    return moves


def _moved(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if x.dtype.kind != "f":
        return x
    signs = rng.choice([-1, 1], x.shape)
    with np.errstate(invalid="ignore"):  # inf
        return np.where(x == np.round(x), x, x * (1 + ROUNDINGS * np.finfo(x.dtype).eps * signs)).astype(x.dtype)
