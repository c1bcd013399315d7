"""A loaded network against logits of the original: what finds a square matrix that lies the wrong way."""

import re
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np
from jax import Array

from toylab.base import Params
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.rules import Arrays
from toylab.importers.torch_files import plain
from toylab.models import Net

TOLERANCE = 1e-3  # of the largest logit; float32 sums in another order differ by about 1e-6
TOLD, ROUNDING = (
    4,
    1e-6,
)  # how far logits of a transposed array must be off: times those of the array as it lies, and at least


def check_probe(
    net: Net,
    weights: Arrays,
    converted: Callable[[Arrays], Params],
    probe: tuple[Any, Any],
    doubtful: Collection[str] = (),
) -> None:
    """Raise one sentence with the largest difference, and the square array by whose transpose it vanishes, if any; or where
    logits agree with a doubtful array as well when it lies transposed."""
    if not isinstance(probe, tuple | list) or len(probe) != 2:
        raise ValueError(f"probe is a {type(probe).__name__}: it must be a pair, (tokens, logits).")
    inputs, wanted = _numbers(probe)
    if not inputs.size or not wanted.size:
        raise ValueError("probe is empty: it must have the inputs and logits of one example at least.")
    if not np.isfinite(wanted).all():
        raise ValueError("probe has logits that are nan or inf.")
    n_tokens = getattr(net, "d_vocab", np.inf)
    if inputs.dtype.kind in "iu" and not 0 <= inputs.min(initial=0) <= inputs.max(initial=0) < n_tokens:
        raise ValueError(
            f"probe has tokens from {inputs.min()} to {inputs.max()}: they must lie in 0 to {n_tokens - 1}."
        )
    found = _logits(net, converted(weights), inputs)
    if wanted.ndim == found.ndim + 1 and wanted.shape[:1] + wanted.shape[2:] == found.shape:
        wanted = wanted[:, -1]  # all positions of a network that is read at the last
    if wanted.shape != found.shape:
        raise ValueError(f"probe has logits of shape {list(wanted.shape)}: the network gives {list(found.shape)}.")
    if _agree(found, wanted):
        _check_told(lambda turned: _logits(net, converted(turned), inputs), weights, doubtful, found, wanted)
        return
    off = np.abs(found - wanted)
    at = tuple(int(index) for index in np.unravel_index(np.argmax(off), off.shape))
    for name, keys in _square(weights).items():
        if _agree(_logits(net, converted(weights | _turned(weights, keys)), inputs), wanted):
            raise ValueError(f"probe: logits are off by up to {off.max():.3g}, at {list(at)}: {name} lies transposed.")
    raise ValueError(
        f"probe: logits are off by up to {off.max():.3g}, at {list(at)} ({found[at]:.5g} for {wanted[at]:.5g}): layout,"
        " config or the orientation of several square arrays is not that of the source."
    )


def _check_told(
    logits: Callable[[Arrays], np.ndarray],
    weights: Arrays,
    doubtful: Collection[str],
    found: np.ndarray,
    wanted: np.ndarray,
) -> None:
    """Raises Refusal where the probe does not tell how one of the square arrays lies."""
    least = max(TOLD * np.abs(found - wanted).max(), ROUNDING * np.abs(wanted).max())
    for key in filter(lambda key: _is_square(weights[key]), sorted(doubtful)):
        if np.abs(logits(weights | _turned(weights, [key])) - wanted).max() <= least:
            raise Refusal(
                f"probe does not tell how {printable(key)} lies: the logits come out as well with it transposed; give "
                "logits in float32, of inputs and weights on which it counts."
            )


def check_doubtful(doubtful: Collection[str], probe: object) -> None:
    """Raises Refusal where a mapping of one's own leaves arrays of which no shape tells how they lie, without a probe."""
    if doubtful and probe is None:
        raise Refusal(
            f"{listed(doubtful)} may lie otherwise than your mapping says, by the shapes (square, or several axes in one): "
            "give probe=(tokens, logits) of the original network, which tells."
        )


def _numbers(probe: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and logits in float64."""
    try:
        inputs, wanted = (plain("probe", x) if hasattr(x, "detach") else np.asarray(x) for x in probe)
        if not np.can_cast(wanted.dtype, np.float64, "same_kind") and "bfloat16" not in str(wanted.dtype):
            raise TypeError(wanted.dtype)
        return inputs, wanted.astype(np.float64)
    except (TypeError, ValueError) as error:  # ragged lists, texts
        raise Refusal(f"probe must be two arrays of numbers: {printable(error, 120)}.") from error


def _square(weights: Arrays) -> dict[str, list[str]]:
    """The arrays whose transpose has their shape: each alone, and those of all layers together."""
    square = [key for key, array in weights.items() if _is_square(array)]
    groups = {key: [key] for key in square}
    for key in square:
        groups.setdefault(re.sub(r"\.\d+\.", ".*.", key), []).append(key)
    return groups


def _is_square(array: np.ndarray) -> bool:
    return array.ndim >= 2 and array.shape[-1] == array.shape[-2]


def _turned(weights: Arrays, keys: Collection[str]) -> Arrays:
    return {key: np.ascontiguousarray(np.swapaxes(weights[key], -1, -2)) for key in keys}


def _logits(net: Net, params: Params, inputs: np.ndarray) -> np.ndarray:
    with jax.default_matmul_precision("highest"):
        return np.asarray(_applied(net, params, inputs), np.float64)


@jax.jit
def _applied(net: Net, params: Params, inputs: Array) -> Array:
    return net.apply(params, inputs)[0]


def _agree(found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(found - wanted).max(initial=0) <= TOLERANCE * np.abs(wanted).max(initial=0))
