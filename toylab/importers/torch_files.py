"""State dicts of torch.save, by torch's own reader for plain tensors (`weights_only=True`), which runs no code."""

import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab.importers import archives
from toylab.importers.naming import Refusal, listed, printable, printable_value
from toylab.importers.safetensors import MAX_BYTES

LOAD = "torch.load(path, map_location='cpu', weights_only=True)"
LIGHTNING = "pytorch-lightning_version"  # what Lightning alone writes, beside "state_dict"
DEEPEST = 4  # state dicts within state dicts that are looked for


def read(path: Path, ignore: Collection[str], within: str = "") -> dict[str, np.ndarray]:
    """The arrays of a file by key; of the mapping `within` it, if there is one."""
    if not _is_archive(path):
        raise Refusal(f"{path} is no archive of torch.save but a bare pickle or cut short: it is not read.")
    try:
        import torch
    except ImportError as error:
        raise ModuleNotFoundError(f"{path} needs torch: pip install 'toylab[torch]'.") from error
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archives.checked(path, archive)
            archives.check_sums(archive, entries)  # which torch does not
            for entry in entries:
                if entry.filename.endswith(".pkl") and b"bytearray" in archive.read(entry):
                    raise Refusal(f"{path} makes a bytearray, which may be of any size: it must hold a state dict.")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Refusal:
        raise
    except Exception as error:  # torch raises what its unpickler, its reader or zip did
        reason = printable(str(error).split(". ")[0].strip(), 160) or type(error).__name__
        raise Refusal(
            f"{path} holds more than plain tensors, or is damaged, and is not read ({reason}): a file that is read holds a"
            " module's state_dict()."
        ) from error
    if not isinstance(found, Mapping):
        raise Refusal(f"{path} holds a {type(found).__name__}: it must hold a state dict, name → tensor.")
    found = inner(found, within, path)
    most = archives.SPARE + archives.RATIO * path.stat().st_size  # views may make many large tensors of one number
    return arrays(found, ignore, path, LOAD, min(MAX_BYTES, most))


def inner(found: Mapping[Any, Any], within: str, where: object = "source") -> Mapping[Any, Any]:
    """The mapping at a key of another, the state dict of a checkpoint of Lightning, or the mapping itself."""
    if not isinstance(within, str):
        raise Refusal(f"within is {printable_value(within)}: it must be a key, a text.")
    if not within and LIGHTNING in found and isinstance(found.get("state_dict"), Mapping):
        return found["state_dict"]
    if not within:
        return found
    if not isinstance(found.get(within), Mapping):
        names = [key for key, value in found.items() if isinstance(value, Mapping)]
        raise Refusal(f"within is {within!r}: {where} has no mapping of that name, but {listed(names) or 'none'}.")
    return found[within]


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except Exception:
        return False


def arrays(
    found: Mapping[Any, Any],
    ignore: Collection[str],
    where: object = "source",
    got: str = "source",
    most: int = MAX_BYTES,
) -> dict[str, np.ndarray]:
    """The arrays of a state dict by key, empty ones for what is ignored; `got`: the code that gives the state dict."""
    there = {key: value for key, value in found.items() if value is not None}
    named = {str(key): value for key, value in there.items()}
    if len(named) < len(there):
        raise Refusal(f"{where} has two keys that are the same as text: each must stand there once.")
    kept = {key: value for key, value in named.items() if key not in ignore}
    if within := list(_within(kept)):
        said = within[0].removeprefix("[").removesuffix("]")
        or_say = f", or say within={said}" if said[:1] in "'\"" and "[" not in said else ""
        if len(within) == 1:
            raise Refusal(f"{where} holds a state dict within: hand over {got}{within[0]} as source{or_say}.")
        raise Refusal(
            f"{where} holds {len(within)} state dicts within, {listed(within, 20)}: hand over one of them, as"
            f" {got}{within[0]}, as source{or_say}."
        )
    for key, value in kept.items():
        if (size := _n_bytes(value)) > most:
            raise Refusal(f"{printable(key)} is too large, {size:,} bytes: at most {most:,} are read.")
    if (total := sum(map(_n_bytes, kept.values()))) > most:
        raise Refusal(f"{where} has {total:,} bytes of arrays: at most {most:,} are read.")
    return {key: plain(key, value) if key in kept else np.zeros(0) for key, value in named.items()}


def _within(found: Mapping[Any, Any], at: str = "", seen: set[int] | None = None) -> Iterator[str]:
    """The place of each state dict among the values of a mapping, or among theirs; lists are looked through too."""
    seen = set() if seen is None else seen
    for key, value in found.items() if at.count("[") < DEEPEST else ():
        place = f"{at}[{printable_value(key)}]"
        inner = dict(enumerate(value)) if isinstance(value, list | tuple) else value
        if not isinstance(inner, Mapping) or id(value) in seen:  # the same one again has nothing new within
            continue
        if isinstance(value, Mapping) and any(hasattr(array, "detach") for array in value.values()):
            yield place
        else:
            seen.add(id(value))
            yield from _within(inner, place, seen)


def _n_bytes(value: Any) -> int:
    try:
        return int(value.numel() * value.element_size() if hasattr(value, "detach") else getattr(value, "nbytes", 0))
    except Exception:  # `plain` says what is wrong with it
        return 0


def plain(key: str, value: Any) -> np.ndarray:
    """A numpy array of an array of any kind; a torch tensor as it is, bfloat16 as float32."""
    try:
        if not hasattr(value, "dtype") or not (hasattr(value, "detach") or hasattr(value, "shape")):
            raise Refusal(f"{printable(key)} is a {type(value).__name__}: it must be an array, or a key of ignore.")
        return np.asarray(_of_tensor(key, value) if hasattr(value, "detach") else value)
    except Refusal:
        raise
    except Exception as error:  # a tensor without values, a deleted array
        reason = printable(str(error).split(". ")[0].strip(), 120)
        raise Refusal(f"{printable(key)} is a {type(value).__name__} that gives no array ({reason}).") from error


def _of_tensor(key: str, tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized or tensor.is_meta:
        raise Refusal(f"{printable(key)} is a sparse, quantized or meta tensor: it must be a plain one.")
    if tensor.is_nested:
        raise Refusal(f"{printable(key)} is a nested tensor: it must be a plain one.")
    if "float8" in str(tensor.dtype) or "float4" in str(tensor.dtype):
        raise Refusal(f"{printable(key)} has dtype {tensor.dtype}: weights are float16, float32, float64 or bfloat16.")
    tensor = tensor.float() if str(tensor.dtype) in ("torch.bfloat16", "torch.float16") else tensor
    return tensor.cpu().resolve_conj().resolve_neg().numpy()
