"""Arrays out of files that strangers wrote: never a pickle, and no size is believed before it is held against the file."""

import json
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab.importers import safetensors
from toylab.importers.safetensors import MAX_AXES, MAX_BYTES

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)  # what reading an archive raises
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
MAX_SETTINGS = 1 << 20  # bytes of a JSON file


def arrays_of(source: Any, layout: str, ignore: Collection[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays by key, settings found with them) of a mapping, or of a file by its suffix; an ignored key need have none."""
    if isinstance(source, Mapping):
        return _state(source, ignore), {}
    if not isinstance(source, str | Path):
        raise ValueError(f"source is a {type(source).__name__}: it must be a path or a mapping of arrays.")
    path = Path(source)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"source is {path}: a path must end in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise ValueError(f"source is {path}: there is no such file.")
    if path.suffix == ".safetensors":
        arrays, metadata = safetensors.read(path)
        if metadata.get("layout", layout) != layout:
            raise ValueError(f"layout is {layout}: {path} says that it is {str(metadata['layout'])[:40]}.")
        settings = metadata.get("settings")
        return arrays, _parsed(settings, f"the settings in {path}") if isinstance(settings, str) else beside(path)
    return (_npz(path) if path.suffix == ".npz" else _torch(path, ignore)), beside(path)


def beside(path: Path) -> dict[str, Any]:
    """The settings that a training run left beside its weights: `NAME.config.json`, or `config_NAME.json` of
    `model_NAME.pt` as in the repository of Zhong et al. 2023."""
    names = [f"{path.stem}.config.json"]
    if path.stem.startswith("model_"):
        names.append(f"config_{path.stem.removeprefix('model_')}.json")
    found = [path.with_name(name) for name in names if path.with_name(name).is_file()]
    return settings_of(found[0]) if found else {}


def settings_of(config: Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
    """A config as it is given: a mapping, the path of a JSON file, or nothing."""
    if config is None or isinstance(config, Mapping):
        return dict(config or {})
    if not isinstance(config, str | Path):
        raise ValueError(f"config is a {type(config).__name__}: it must be a mapping or the path of a JSON file.")
    path = Path(config)
    if not path.is_file() or path.stat().st_size > MAX_SETTINGS:
        raise ValueError(f"config is {path}: it must be a JSON file of at most {MAX_SETTINGS:,} bytes.")
    return _parsed(path.read_bytes(), f"config {path}")


def _parsed(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: it must be JSON.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{where}: it must hold a mapping, not a {type(found).__name__}.")
    return found


def _state(found: Mapping[Any, Any], ignore: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of a state dict by key, empty ones for what is ignored."""
    named = {str(key): value for key, value in found.items() if value is not None}
    return {key: np.zeros(0) if key in ignore else plain(key, value) for key, value in named.items()}


def plain(key: str, value: Any) -> np.ndarray:
    """A numpy array of an array of any kind; a torch tensor as it is, bfloat16 as float32."""
    if hasattr(value, "detach"):
        value = value.detach()
        if str(value.layout) != "torch.strided" or value.is_quantized or value.is_meta:
            raise ValueError(f"{key} is a sparse, quantized or meta tensor: it must be a plain one.")
        if value.numel() * value.element_size() > MAX_BYTES:  # a file may say that one number fills a large tensor
            raise ValueError(f"{key} {list(value.shape)} is too large: at most {MAX_BYTES:,} bytes are read.")
        value = value.float() if str(value.dtype) in ("torch.bfloat16", "torch.float16") else value
        if "float8" in str(value.dtype):
            raise ValueError(f"{key} has dtype {value.dtype}: weights are float16, float32, float64 or bfloat16.")
        value = value.cpu().resolve_conj().resolve_neg().numpy()
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise ValueError(f"{key} is a {type(value).__name__}: it must be an array, or a key of ignore.")
    return np.asarray(value)


def _npz(path: Path) -> dict[str, np.ndarray]:
    """Every header is read before any array."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if (total := sum(entry.file_size for entry in entries)) > MAX_BYTES:
                raise ValueError(f"{path} has {total:,} bytes of arrays: at most {MAX_BYTES:,} are read.")
            for entry in entries:
                _check_npy(path, archive, entry)
        with np.load(path, allow_pickle=False) as found:
            return {key: found[key] for key in found.files}
    except BROKEN as error:
        raise ValueError(f"{path} is no .npz archive, or cut short.") from error


def _check_npy(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    name = entry.filename.removesuffix(".npy")
    try:
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            shape, _, dtype = NPY_HEADERS[version](file)
            header = file.tell()
    except (ValueError, KeyError, *BROKEN) as error:
        raise ValueError(f"{path} is damaged: {name} is no array.") from error
    if dtype.hasobject:
        raise ValueError(f"{path} has {name} of dtype object, a pickle: it must hold plain numbers.")
    whole = math.prod(shape) * dtype.itemsize == entry.file_size - header
    if not whole or len(shape) > MAX_AXES or safetensors.is_vast(shape):
        raise ValueError(f"{path} is damaged: {name} {list(shape)} of {dtype} does not have its number of bytes.")


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except BROKEN:
        return False


def _torch(path: Path, ignore: Collection[str]) -> dict[str, np.ndarray]:
    """A state dict, by torch's own reader for plain tensors (`weights_only=True`), which runs no code of the file's."""
    if not _is_archive(path):
        raise ValueError(f"{path} is no archive of torch.save but a bare pickle or cut short: it is not read.")
    try:
        import torch
    except ImportError as error:
        raise ModuleNotFoundError(f"{path} needs torch: pip install 'toylab[torch]'.") from error
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > MAX_BYTES:
            raise ValueError(f"{path} has {total:,} bytes of arrays: at most {MAX_BYTES:,} are read.")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except ValueError:
        raise
    except Exception as error:  # torch raises what its unpickler, its reader or zip did
        reason = " ".join(str(error).split(". ")[0].split())[:160]
        raise ValueError(
            f"{path} holds more than plain tensors, or is damaged, and is not read ({reason}): a file that is read holds a"
            " module's state_dict()."
        ) from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__}: it must hold a state dict, name → tensor.")
    within = [key for key, value in found.items() if isinstance(value, Mapping) and str(key) not in ignore]
    within = [key for key in within if any(hasattr(array, "detach") for array in found[key].values())]
    if within:
        raise ValueError(
            f"{path} holds a state dict within: hand over torch.load(path, weights_only=True)[{within[0]!r}] as source."
        )
    return _state(found, ignore)
