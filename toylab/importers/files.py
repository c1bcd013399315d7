"""Reads arrays and settings from foreign files. Pickles are never read, and sizes in a file are checked against its length.
Whatever a reader raises for a damaged file becomes one sentence."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from toylab.importers import npz, safetensors, torch_files
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.strict_json import parsed

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")
MAX_SETTINGS = 1 << 20  # bytes of a JSON file


def arrays_of(
    source: Any, layout: str, ignore: Collection[str], keys: Collection[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by key, and settings, from a mapping or a file. Values of ignored keys need not be arrays. With `keys`
    others may be left out."""
    if isinstance(source, Mapping):
        return _of_mapping(source, ignore), {}
    return _of_file(source, partial(_read, layout=layout, ignore=ignore, keys=keys))


def shapes_of(source: Any, layout: str, ignore: Collection[str]) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """The same with shapes instead of arrays, without what is ignored. Of a .safetensors file only the header is read."""
    if isinstance(source, str | Path) and Path(source).suffix == ".safetensors":
        shapes, settings = _of_file(source, partial(_read_shapes, layout=layout))
    else:
        arrays, settings = arrays_of(source, layout, ignore)
        shapes = {key: array.shape for key, array in arrays.items()}
    return {key: shape for key, shape in shapes.items() if key not in ignore}, settings


def _of_file(source: Any, read: Callable[[Path], tuple[dict[str, Any], dict[str, Any]]]) -> Any:
    if not isinstance(source, str | Path):
        hint = "; hand over its state_dict()" if hasattr(source, "state_dict") else ""
        raise ValueError(f"source is a {type(source).__name__}: it must be a path or a mapping of arrays{hint}.")
    path = Path(source)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"source is {printable(path, 400)}: a path must end in {', '.join(SUFFIXES)}.")
    if not _is_file(path):
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


def _of_mapping(source: Mapping[Any, Any], ignore: Collection[str]) -> dict[str, np.ndarray]:
    """Arrays of a mapping, which may read a file of its own, as numpy's for an .npz."""
    try:
        return torch_files.arrays(source, ignore)
    except Refusal:
        raise
    except Exception as error:
        raise ValueError(
            f"source is a {type(source).__name__} that cannot be read ({printable(error, 120)})."
        ) from error


def _read(
    path: Path, layout: str, ignore: Collection[str], keys: Collection[str] | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if path.suffix == ".safetensors":
        arrays, metadata = safetensors.read(path, keys)
        return arrays, _settings_in(path, metadata, layout)
    return (npz.read(path) if path.suffix == ".npz" else torch_files.read(path, ignore)), beside(path)


def _read_shapes(path: Path, layout: str) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    shapes, metadata = safetensors.shapes(path)
    return shapes, _settings_in(path, metadata, layout)


def _settings_in(path: Path, metadata: Mapping[str, str], layout: str) -> dict[str, Any]:
    if ("layout" in metadata or "settings" in metadata) and not {"layout"} <= set(metadata) <= {
        "layout",
        "settings",
    }:
        raise Refusal(f"{path} is damaged: it says {listed(metadata)} where toylab writes layout and settings.")
    if metadata.get("layout", layout) != layout:
        raise Refusal(f"layout is {layout}: {path} says that it is {printable(metadata['layout'], 40)}.")
    if "settings" not in metadata:
        return beside(path)
    where = f"the settings in {path}"
    return parsed(metadata["settings"], where, f"{where}: it must be JSON.")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a null
        return False


def beside(path: Path) -> dict[str, Any]:
    """The settings in a file next to the weights: `NAME.config.json`, or `config_NAME.json` for `model_NAME.pt` as in the
    repository of Zhong et al. 2023."""
    names = [f"{path.stem}.config.json"]
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
