"""Which run of a page's manifest.json a row of measures.npz is of, and the config that it had."""

import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab.explore.recordings.described import Canonical
from toylab.records import notes


def matched(
    columns: Mapping[str, np.ndarray], n_runs: int, record: Mapping[str, Any]
) -> tuple[list[str], dict[int, Mapping[str, Any]]]:
    """The names of measured runs, and by row the fields in which a run differs from the config of the manifest. A row whose
    fields are not those of one run alone has only its number.

    A field that a config lacks is not written there, and the columns may have its default or 0: any value fits it.
    """
    names = [f"run {row}" for row in range(n_runs)]
    try:
        changes, base = notes.changes_of(record), cfg.flat(record["config"])
        varied = [name for name in sorted({name for own in changes.values() for name in own}) if name in columns]
        of_runs = {run: [_key(own.get(name, base.get(name))) for name in varied] for run, own in changes.items()}
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):  # a manifest of before, or by hand
        return names, {}
    sure = [i for i in range(len(varied)) if all(key[i] is not None for key in of_runs.values())]
    alike: dict[tuple[Any, ...], list[tuple[str, list[Any]]]] = {}
    for run, key in of_runs.items():
        alike.setdefault(tuple(key[i] for i in sure), []).append((run, key))
    found: dict[str, list[int]] = {}
    for row in range(n_runs):
        key = [_key(columns[name][row]) for name in varied]
        near = alike.get(tuple(key[i] for i in sure), [])
        fits = [(run, own) for run, own in near if all(b is None or a == b for a, b in zip(key, own, strict=True))]
        most = max((len(own) - own.count(None) for _, own in fits), default=0)
        best = [run for run, own in fits if len(own) - own.count(None) == most]
        if len(best) == 1:
            found.setdefault(best[0], []).append(row)
    alone = {rows[0]: run for run, rows in found.items() if len(rows) == 1}
    for row, run in alone.items():
        names[row] = run
    return names, {row: changes[run] for row, run in alone.items()}


def _key(value: Any) -> Any:
    """A field's value, of a config or a column, as what can be compared: nan and "" are that it is absent."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return tuple(map(_key, value))
    return None if value != value or value == "" else value


def applied(first: Mapping[str, Any], changes: Mapping[str, Any], run: str) -> Canonical:
    """A canonical config from that of the first run and the fields that differ; None where its digest is not the run's."""
    for lacking in (False, True):  # null is a value, or says that there is no such field
        config = copy.deepcopy(dict(first))
        with contextlib.suppress(KeyError, IndexError, TypeError, ValueError):  # of other parts than the first's
            for path, value in changes.items():
                _set(config, path.split("."), value, lacking)
            if cfg.digest_of(config).startswith(run):
                return config
    return None


def _set(part: Any, names: Sequence[str], value: Any, lacking: bool) -> None:
    """Sets a field by its path. A null is removed if `lacking`."""
    name, *rest = names
    place: Any = int(name) if isinstance(part, list) else name
    if rest:
        return _set(part[place], rest, value, lacking)
    if isinstance(part, dict) and {"module", "sizes", "leaves"} <= set(part):
        if size := next((one for one in part["sizes"] if one[0] == name), None):
            size[1] = value
            return None
        part = part["leaves"] if name in part["leaves"] else part
    if value is None and lacking:
        del part[place]
    else:
        part[place] = value
    return None
