"""Folders of one model: Hugging Face's `config.json` beside the weights, which may be divided into several files with an
index, and SAELens' `cfg.json` beside `sae_weights.safetensors`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from toylab.importers.naming import Refusal, listed, printable, printable_value
from toylab.importers.safetensors import MAX_BYTES
from toylab.importers.strict_json import parsed

CONFIGS = {  # by the weights beside it, in the order in which transformers looks
    "model.safetensors": "config.json", "pytorch_model.bin": "config.json", "sae_weights.safetensors": "cfg.json",
}  # fmt: skip
INDEX = ".index.json"
NAMES = tuple(f"{name}{end}" for name in CONFIGS for end in ("", INDEX))


def is_model(folder: Path) -> bool:
    """Whether a folder is that of one model, rather than one of checkpoints."""
    return any((folder / own).is_file() for own in CONFIGS.values()) and any(
        (folder / name).is_file() for name in NAMES
    )


def read(folder: Path, array_file: Callable[[Path, bool], dict[str, Any]]) -> dict[str, Any]:
    """What `array_file(path, whole)` gives of each file of weights, by key; `whole`: all of its keys are wanted.

    Raises:
        Refusal: where there are no weights, or the index and the files do not agree.
    """
    found = [name for name in NAMES if (folder / name).is_file()]
    if not found:
        raise Refusal(f"{printable(folder, 400)} is a folder without weights: one of {', '.join(NAMES)} must be there.")
    if not found[0].endswith(INDEX):
        return array_file(folder / found[0], False)
    owners = _owners(folder / found[0])
    shards = sorted(set(owners.values()))
    if missing := [name for name in shards if not (folder / name).is_file()]:
        raise Refusal(f"{printable(folder, 400)} lacks {listed(missing)}, which {found[0]} names.")
    if (total := sum((folder / name).stat().st_size for name in shards)) > MAX_BYTES:
        raise Refusal(f"{printable(folder, 400)} has {total:,} bytes of weights: at most {MAX_BYTES:,} are read.")
    arrays: dict[str, Any] = {}
    for name in shards:
        own = array_file(folder / name, True)
        if other := sorted(set(own) ^ {key for key, owner in owners.items() if owner == name}):
            raise Refusal(
                f"{printable(folder / name, 400)} does not have the keys that {found[0]} says: {listed(other)}."
            )
        arrays |= own
    return arrays


def _owners(index: Path) -> dict[str, str]:
    """The file of each key."""
    where = printable(index, 400)
    owners = parsed(index.read_bytes(), where, f"{where}: it must be JSON.").get("weight_map")
    plain = isinstance(owners, dict) and all(isinstance(name, str) for name in owners.values())
    if not plain or not owners:
        raise Refusal(f"{where} has the weight_map {printable_value(owners)}: it must map keys to files.")
    if strange := [name for name in owners.values() if Path(name).name != name or name in ("", ".", "..")]:
        raise Refusal(f"{where} names {listed(strange)}: files must lie in its own folder.")
    return owners
