"""Small files without a digest, checked before use: failed.json of a group, manifest.json of a page."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toylab import store
from toylab.records.manifest import FAILED

TEXT = 300  # characters of a line that are shown


def failure(folder: Path) -> str:
    """Why the last training of a group failed, in one line; "" if it did not fail.

    If the file cannot be read the line says so. That stops nothing: the next training writes the file anew.
    """
    path = folder / FAILED
    if not os.path.lexists(path):
        return ""
    try:
        error = store.read_json(path).get("error")
    except store.StoreError as unread:
        return str(unread)
    return line(error) or f"{path} is damaged: its error is no text"


def forget_failure(folder: Path) -> None:
    """Removes a group's failed.json after a training that did not fail. A folder of that name stays."""
    with contextlib.suppress(IsADirectoryError, PermissionError):
        (folder / FAILED).unlink(missing_ok=True)


def page_record(folder: Path) -> dict[str, Any]:
    """A page's manifest.json; empty if there is none. Raises Damaged where it is no record of a page."""
    path = folder / "manifest.json"
    if not os.path.lexists(path):
        return {}
    try:
        found = store.read_json(path)
        if what := _nonsense(found):
            raise store.Damaged(f"{path} is damaged: {what}")
    except store.Damaged as error:
        raise store.Damaged(
            f"{error}. Put it back from a copy or delete it, and run the same again: no run depends on it."
        ) from error
    return found


def packed_changes(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The differences of runs from one config, each value written once.

    Args:
        runs: by name of a run, its fields that differ and their values.

    Returns:
        `values`, by field the values that occur, and `runs`, by run a number for each field: which of its values, null for
        that of the config.
    """
    values: dict[str, list[Any]] = {}
    numbers: dict[str, dict[str, int]] = {}
    for field in sorted({name for changes in runs.values() for name in changes}):
        texts = {json.dumps(changes[field]): changes[field] for changes in runs.values() if field in changes}
        values[field], numbers[field] = list(texts.values()), {text: at for at, text in enumerate(texts)}
    return {
        "values": values,
        "runs": {
            run: [numbers[field][json.dumps(changes[field])] if field in changes else None for field in values]
            for run, changes in runs.items()
        },
    }


def changes_of(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By run its fields that differ from the record's config, and their values. Reads records of before `values` too."""
    if "values" not in record:
        return dict(record["runs"])
    fields = record["values"].items()
    return {
        run: {name: found[at] for (name, found), at in zip(fields, numbers, strict=True) if at is not None}
        for run, numbers in record["runs"].items()
    }


def _nonsense(found: Mapping[str, Any]) -> str:
    parts = found.get("parts", {})
    if not isinstance(parts, dict) or not all(isinstance(one, dict) for one in parts.values()):
        return "its parts are none"
    commands = [one["command"] for one in (found, *parts.values()) if "command" in one]
    return "" if all(line(command) for command in commands) else "its command is no text"


def line(value: object) -> str:
    """The first line of a text, cut to TEXT printable characters; "" of anything else."""
    lines = value.strip().splitlines() if isinstance(value, str) else []
    return "".join(sign if sign.isprintable() else "�" for sign in lines[0][:TEXT]) if lines else ""
