"""How far roundings may carry a number: those of another processor, or of another program that says the same."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
ROUNDINGS = 8  # a stable formula errs no more than if its inputs were moved by a few of their own roundings
DRAWS = 4


def slack(
    values: Sequence[Callable[[Arrays], np.ndarray]], stored: Arrays, exact: Callable[[str], bool]
) -> list[np.ndarray]:
    """For each function of `values` the largest move of each number of `function(stored)` when every stored float goes
    `ROUNDINGS` roundings up or down at random: eps times the condition of the formula, measured. All functions see the same
    moves, made once. Whole numbers are exact, and so is what `exact(name)` says."""
    at, rng = [function(stored) for function in values], np.random.default_rng(0)
    moves = [np.zeros(value.shape) for value in at]
    for _ in range(DRAWS):
        moved = {name: x if exact(name) else _moved(x, rng) for name, x in stored.items()}
        moves = [
            np.fmax(move, _apart(function(moved), value))
            for move, function, value in zip(moves, values, at, strict=True)
        ]
    return moves


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The distance; 0 of two that are alike, infinite ones too."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, np.abs(a - b))


def _moved(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if x.dtype.kind != "f":
        return x
    signs = rng.choice([-1, 1], x.shape)
    with np.errstate(invalid="ignore"):  # inf
        return np.where(x == np.round(x), x, x * (1 + ROUNDINGS * np.finfo(x.dtype).eps * signs)).astype(x.dtype)


def same_training(found: Arrays, expected: Arrays) -> bool:
    """Whether two programs trained alike: params [R, T, …] and measures [R, T]. Training multiplies roundings, and Adam
    moves a weight whose gradient is nothing but rounding by lr to either side, so a few weights in a hundred may go astray,
    and a few answers whose logits tie. The rest and the losses stay together; with another seed nearly all differ."""
    for name, value in expected.items():
        apart = np.nanquantile(np.abs(found[name] - value), 0.97 if value.ndim > 2 else 1)
        if apart > (0.05 if name.endswith("accuracy") else 2e-3 * (1 + np.nanmax(np.abs(value)))):
            return False
    return found.keys() == expected.keys()
