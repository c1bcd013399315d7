"""Buffers: arrays in a source that are no weights, as masks and rotary tables. They are left out, and refused where they
belong to another network. TransformerLens 3 keeps its masks empty, and where a bridge has no MLP its named parameters have
one of zeros."""

import re
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from toylab.importers.naming import Refusal, printable
from toylab.importers.rules import Arrays, Form
from toylab.importers.settings import Settings, same
from toylab.models import NeoXTransformer, Net
from toylab.models.positions import sinusoidal

HOLLOW = ("W_in", "b_in", "W_out", "b_out")


def apart(forms: tuple[Form, ...], arrays: Arrays, given: Settings) -> tuple[Arrays, Arrays]:
    """Divides the arrays of a source into weights and buffers."""
    found = {key: array for key, array in arrays.items() if is_buffer(forms, key, given)}
    return {key: array for key, array in arrays.items() if key not in found}, found


def said(forms: tuple[Form, ...], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The settings that are the number of rows of a buffer, by the shapes of all arrays."""
    named = {key: setting for form in forms for key, setting in form.rows.items() if len(shapes.get(key, ())) == 2}
    return {setting: shapes[key][0] for key, setting in named.items()}


def is_buffer(forms: tuple[Form, ...], key: str, given: Settings) -> bool:
    """Whether a key is that of a buffer, or of an array that stands for what the config says is not there."""
    hollow = is_hollow(given)
    return any(_matches(one, key) for form in forms for one in (*form.buffers, *(form.hollow if hollow else ())))


def is_hollow(given: Settings) -> bool:
    return same(given.get("attn_only"), True)


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
        elif kind in ("IGNORE", "masked_bias") and (
            array.shape or array > -1e4
        ):  # the value that replaces masked scores
            raise Refusal(
                f"{printable(key)} is no large negative number: attention here gives masked positions no weight."
            )
        elif kind in ("mask", "bias"):
            _check_mask(net, key, array, getattr(net, "causal", net.module is NeoXTransformer))
        elif kind == "self_attn_mask":
            _check_mask(net, key, array, causal=True)
        elif kind == "attn_mask":  # added to the scores
            _check_mask(net, key, np.where(array > -1e4, array == 0, False), causal=True)
        elif kind == "position_encoding":
            _check_sinusoidal(net, key, array)
        elif kind in HOLLOW and array.any():
            raise Refusal(f"{printable(key)} is not 0: config.attn_only is true, and then there is no MLP.")
        elif kind == "inv_freq":
            _check_frequencies(net, key, array)


def _check_mask(net: Net, key: str, array: np.ndarray, causal: bool) -> None:
    array = array[0, 0] if array.shape[:2] == (1, 1) and array.ndim == 4 else array  # Hugging Face's
    square = array.ndim == 2 and array.shape[0] == array.shape[1] >= net.n_ctx
    if not square:
        raise Refusal(f"{printable(key)} is {list(array.shape)}: a mask of {net.n_ctx} positions is wanted.")
    if causal and not np.array_equal(np.asarray(array, bool), np.tri(len(array), dtype=bool)):
        raise Refusal(f"{printable(key)} is no causal mask: attention here sees all positions up to its own.")


def _check_frequencies(net: Net, key: str, array: np.ndarray) -> None:
    turning = _turning(net)
    wanted = 10000.0 ** (-2 * np.arange(turning // 2) / max(turning, 1))
    allowed = 2.0**-8 if _rounded(array) else 1e-5
    if array.shape != wanted.shape or not (np.abs(array / wanted - 1) <= allowed).all():
        raise Refusal(f"{printable(key)} has other frequencies than 10000^(−2i/{turning}), which toylab has.")


def _check_rotary(net: Net, key: str, array: np.ndarray, part: np.ufunc) -> None:
    """Compares a table with the angles of `models.positions.rotated`, which float32 has to a relative 1e-6."""
    turning = _turning(net)
    if not turning:
        raise Refusal(f"{printable(key)} is there and config.positional_embedding_type is another than rotary.")
    if array.ndim != 2 or array.shape[1] != turning:
        raise Refusal(
            f"{printable(key)} is {list(array.shape)}: rotary positions here turn {turning} entries of a head."
        )
    half = turning // 2
    angles = np.arange(len(array))[:, None] * 10000.0 ** (-np.arange(half) / half)
    wanted, twice = np.concatenate([part(angles)] * 2, axis=1), np.concatenate([angles] * 2, axis=1)
    if not _close(array, wanted, 1e-5 * (1 + twice)):
        raise Refusal(
            f"{printable(key)} has other angles than t·10000^(−2i/{turning}) in half-split order, which toylab has."
        )


def _check_sinusoidal(net: Net, key: str, array: np.ndarray) -> None:
    """Compares a table with `models.positions.sinusoidal`, whose float64 values float32 rounds."""
    if array.shape != (net.n_ctx, net.d_model):
        wanted = f"[max_context_len, d_model] = {[net.n_ctx, net.d_model]}"
        raise Refusal(f"{printable(key)} is {list(array.shape)}: {wanted} is wanted.")
    if not _close(array, sinusoidal(*array.shape), np.float64(1e-6)):
        raise Refusal(
            f"{printable(key)} has others than sin and cos of t·10000^(−2i/d_model) in turn, which toylab has."
        )


def _close(array: np.ndarray, wanted: np.ndarray, off: np.ndarray | np.float64) -> bool:
    return bool((np.abs(array - wanted) <= off + (2.0**-8 if _rounded(array) else 0)).all())


def _turning(net: Net) -> int:
    """How many entries of a head turn with their position; 0 where none do."""
    if net.module is NeoXTransformer:
        return net.rotary_dim or net.d_head
    return net.d_head if getattr(net, "positions", None) == "rotary" else 0


def _rounded(array: np.ndarray) -> bool:
    """Whether a table was rounded to float16 or bfloat16."""
    single = np.ascontiguousarray(array, np.float32)
    return np.array_equal(single, single.astype(np.float16)) or not (single.view(np.uint32) & 0xFFFF).any()
