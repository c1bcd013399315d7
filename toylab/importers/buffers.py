"""Buffers: arrays in a source that are no weights, as masks and rotary tables. They are left out, and refused where they
belong to another network. TransformerLens 3 keeps its masks empty."""

import re
from functools import lru_cache

import numpy as np

from toylab.importers.naming import Refusal, printable
from toylab.importers.rules import Arrays, Form
from toylab.models import Net


def apart(forms: tuple[Form, ...], arrays: Arrays) -> tuple[Arrays, Arrays]:
    """Divides the arrays of a source into weights and buffers."""
    found = {key: array for key, array in arrays.items() if is_buffer(forms, key)}
    return {key: array for key, array in arrays.items() if key not in found}, found


def is_buffer(forms: tuple[Form, ...], key: str) -> bool:
    """Whether a key is that of a buffer."""
    return any(_matches(one, key) for form in forms for one in form.buffers)


@lru_cache(4096)
def _matches(buffer: str, key: str) -> bool:
    return bool(re.fullmatch(re.escape(buffer).replace(r"\{\}", r"\d+"), key))


def check(net: Net, buffers: Arrays) -> None:
    """Raises Refusal where a buffer does not belong to the net."""
    for key, array in buffers.items():
        kind = key.rpartition(".")[2]
        if array.size == 0:
            continue
        if array.dtype.kind not in "fiub":
            raise Refusal(f"{printable(key)} has dtype {array.dtype}: a {kind} holds numbers.")
        if kind in ("rotary_sin", "rotary_cos"):
            _check_rotary(net, key, array, np.sin if kind == "rotary_sin" else np.cos)
        elif kind == "IGNORE" and (array.shape or array > -1e4):  # the value that replaces masked scores
            raise Refusal(
                f"{printable(key)} is no large negative number: attention here gives masked positions no weight."
            )
        elif kind == "mask":
            _check_mask(net, key, array)


def _check_mask(net: Net, key: str, array: np.ndarray) -> None:
    square = array.ndim == 2 and array.shape[0] == array.shape[1] >= net.n_ctx
    if not square:
        raise Refusal(f"{printable(key)} is {list(array.shape)}: a mask of {net.n_ctx} positions is wanted.")
    if getattr(net, "causal", False) and not np.array_equal(np.asarray(array, bool), np.tri(len(array), dtype=bool)):
        raise Refusal(f"{printable(key)} is no causal mask: attention here sees all positions up to its own.")


def _check_rotary(net: Net, key: str, array: np.ndarray, part: np.ufunc) -> None:
    """Compares a table with the angles of `models.positions.rotated`, which float32 has to a relative 1e-6."""
    if getattr(net, "positions", None) != "rotary":
        raise Refusal(f"{printable(key)} is there and config.positional_embedding_type is another than rotary.")
    d_head = net.d_head
    if array.ndim != 2 or array.shape[1] != d_head:
        raise Refusal(
            f"{printable(key)} is {list(array.shape)}: rotary positions here turn all {d_head} entries of a head."
        )
    half = d_head // 2
    angles = np.arange(len(array))[:, None] * 10000.0 ** (-np.arange(half) / half)
    wanted = np.concatenate([part(angles)] * 2, axis=1)
    allowed = 1e-5 * (1 + np.concatenate([angles] * 2, axis=1)) + (2.0**-8 if _rounded(array) else 0)
    if not (np.abs(array - wanted) <= allowed).all():
        raise Refusal(
            f"{printable(key)} has other angles than t·10000^(−2i/d_head) in half-split order, which toylab has."
        )


def _rounded(array: np.ndarray) -> bool:
    """Whether a table was rounded to float16 or bfloat16."""
    single = np.ascontiguousarray(array, np.float32)
    return np.array_equal(single, single.astype(np.float16)) or not (single.view(np.uint32) & 0xFFFF).any()
