"""Reads arrays and settings from foreign files. Pickles are never read, and sizes in a file are checked against its length.
Whatever a reader raises for a damaged file becomes one sentence."""

import dataclasses
import zipfile
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from toylab.importers import folders, npz, safetensors, torch_files
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.strict_json import parsed

BY_CONTENT = (".ckpt", ".bin")  # names that say nothing of what is in them
SUFFIXES = (".npz", ".safetensors", ".pt", ".pth", *BY_CONTENT)
MAX_SETTINGS = 1 << 20  # bytes of a JSON file


def arrays_of(
    source: Any, layout: str, ignore: Collection[str], within: str = "", keys: Collection[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by key, and settings, from a mapping, a file or a folder of one model. Values of ignored keys need not be
    arrays. `within`: the key of a mapping within, which holds the arrays. With `keys` others may be left out."""
    if isinstance(source, Mapping):
        return _of_mapping(source, ignore, within), {}
    return _of_path(source, partial(_read, layout=layout, ignore=ignore, within=within, keys=keys))


def shapes_of(
    source: Any, layout: str, ignore: Collection[str], within: str = ""
) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """The same with shapes instead of arrays, without what is ignored. Of .safetensors and .npz headers alone are read."""
    if isinstance(source, Mapping):
        found, settings = _shapes(_of_mapping(source, ignore, within)), {}
    else:
        found, settings = _of_path(source, partial(_read_shapes, layout=layout, ignore=ignore, within=within))
    return {
        key: shape for key, shape in found.items() if key not in ignore and not is_hollow_state(key, shape)
    }, settings


def is_hollow_state(key: str, shape: tuple[int, ...]) -> bool:
    """Whether this is an empty `_extra_state` of a torch module, which is no weight."""
    return key.endswith("_extra_state") and 0 in shape


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in arrays.items()}


def _of_path(source: Any, read: Callable[[Path], tuple[dict[str, Any], dict[str, Any]]]) -> Any:
    if not isinstance(source, str | Path):
        hint = "; hand over its state_dict()" if hasattr(source, "state_dict") else ""
        raise ValueError(f"source is a {type(source).__name__}: it must be a path or a mapping of arrays{hint}.")
    path = Path(source)
    folder = _is(path, Path.is_dir)
    if not folder and path.suffix not in SUFFIXES:
        raise ValueError(f"source is {printable(path, 400)}: a path must end in {', '.join(SUFFIXES)}.")
    if not folder and not _is_file(path):
        raise ValueError(f"source is {printable(path, 400)}: there is no such file.")
    try:
        return read(path)
    except ModuleNotFoundError:
        raise
    except Refusal as error:  # with the path as it was given
        if str(error).isprintable():
            raise
        raise Refusal(printable(error, 1000)) from error
    except OSError as error:
        raise ValueError(f"source is {printable(path, 400)}: it cannot be read ({error.strerror}).") from error
    except Exception as error:
        raise ValueError(f"{printable(path, 400)} is damaged, and is not read ({printable(error, 120)}).") from error


def _of_mapping(source: Mapping[Any, Any], ignore: Collection[str], within: str) -> dict[str, np.ndarray]:
    """Arrays of a mapping, which may read a file of its own, as numpy's for an .npz."""
    try:
        return torch_files.arrays(torch_files.inner(source, within), ignore)
    except Refusal:
        raise
    except Exception as error:
        raise ValueError(
            f"source is a {type(source).__name__} that cannot be read ({printable(error, 120)})."
        ) from error


def _read(
    path: Path, layout: str, ignore: Collection[str], within: str, keys: Collection[str] | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if path.is_dir():
        each = lambda own, whole: _read(own, layout, ignore, within, None if whole else keys)[0]  # noqa: E731
        return folders.read(path, each), beside(path)
    kind = kind_of(path)
    if within and kind in (".npz", ".safetensors"):
        raise Refusal(f"within is {within!r}: {printable(path, 400)} holds arrays alone, and no mapping within.")
    if kind == ".safetensors":
        arrays, metadata = safetensors.read(path, keys)
        return arrays, _settings_in(path, metadata, layout)
    return (npz.read(path) if kind == ".npz" else torch_files.read(path, ignore, within)), beside(path)


def _read_shapes(
    path: Path, layout: str, ignore: Collection[str], within: str
) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    if path.is_dir():
        return folders.read(path, lambda own, _: _read_shapes(own, layout, ignore, within)[0]), beside(path)
    if within or kind_of(path) == ".pt":
        arrays, settings = _read(path, layout, ignore, within, None)
        return _shapes(arrays), settings
    if kind_of(path) == ".npz":
        return npz.shapes(path), beside(path)
    shapes, metadata = safetensors.shapes(path)
    return shapes, _settings_in(path, metadata, layout)


def kind_of(path: Path) -> str:
    """`.npz`, `.safetensors` or `.pt`: by the name, or by the content where the name does not say it."""
    if path.suffix not in BY_CONTENT:
        return ".pt" if path.suffix == ".pth" else path.suffix
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return ".safetensors"
    if head[:4] == b"PK\x03\x04" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        return ".npz" if all(name.endswith(".npy") for name in names) else ".pt"
    return ".pt"  # whose reader says what it is not


def _settings_in(path: Path, metadata: Mapping[str, str], layout: str) -> dict[str, Any]:
    if ("layout" in metadata or "settings" in metadata) and not {"layout"} <= set(metadata) <= {
        "layout",
        "settings",
    }:
        raise Refusal(f"{path} is damaged: it says {listed(metadata)} where toylab writes layout and settings.")
    if layout and metadata.get("layout", layout) != layout:
        raise Refusal(f"layout is {layout}: {path} says that it is {printable(metadata['layout'], 40)}.")
    if "settings" not in metadata:
        return beside(path)
    where = f"the settings in {path}"
    return parsed(metadata["settings"], where, f"{where}: it must be JSON.")


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except (OSError, ValueError):  # a name that is too long, or has a null
        return False


def _is_file(path: Path) -> bool:
    return _is(path, Path.is_file)


def beside(path: Path) -> dict[str, Any]:
    """The settings in a file next to the weights: `NAME.config.json`, `config_NAME.json` for `model_NAME.pt` as in the
    repository of Zhong et al. 2023, SAELens' `cfg.json` beside `sae_weights.safetensors`, or Hugging Face's `config.json`
    in a folder or beside `model.safetensors`."""
    if path.is_dir():
        own = [path / name for name in dict.fromkeys(folders.CONFIGS.values()) if _is_file(path / name)]
        return settings_of(own[0]) if own else {}
    names = [f"{path.stem}.config.json"]
    names += [folders.CONFIGS[path.name]] if path.name in folders.CONFIGS else []
    if path.stem.startswith("model_"):
        names.append(f"config_{path.stem.removeprefix('model_')}.json")
    found = [path.with_name(name) for name in names if _is_file(path.with_name(name))]
    return settings_of(found[0]) if found else {}


def settings_of(config: Any) -> dict[str, Any]:
    """The settings in `config`: a mapping, a model's `cfg`, the path of a JSON file, or None."""
    if config is None or isinstance(config, Mapping):
        return dict(config or {})
    if isinstance(config, str | Path):
        path = Path(config)
        if not _is_file(path) or path.stat().st_size > MAX_SETTINGS:
            raise Refusal(
                f"config is {printable(path, 400)}: it must be a JSON file of at most {MAX_SETTINGS:,} bytes."
            )
        where = f"config {printable(path, 400)}"
        try:
            text = path.read_bytes()
        except OSError as error:
            raise Refusal(f"{where}: it cannot be read ({error.strerror}).") from error
        return parsed(text, where, f"{where}: it must be JSON.")
    found = _of_object(config)
    if not isinstance(found, Mapping):
        hint = "; hand over its cfg" if hasattr(config, "cfg") else ""
        raise Refusal(f"config is a {type(config).__name__}: it must be a mapping or the path of a JSON file{hint}.")
    return dict(found)


def _of_object(config: Any) -> Any:
    """The fields of a config object, by its to_dict() or as a dataclass."""
    if isinstance(config, type) or hasattr(config, "state_dict"):
        return None
    if callable(getattr(config, "to_dict", None)):
        return config.to_dict()
    if dataclasses.is_dataclass(config):
        return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return getattr(config, "__dict__", None) if type(config).__name__ in ("SimpleNamespace", "Namespace") else None
