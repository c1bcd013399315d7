"""A page's folder without its trajectory: measures.npz, manifest.json, claims.json and figures/, as they are committed."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.explore.archive import Archive, signature
from toylab.explore.described import Canonical, Described, named, varying
from toylab.explore.lab_page import LabPage
from toylab.explore.phases import Phases, phases_of
from toylab.explore.recording import Arrays
from toylab.explore.wording import sentence
from toylab.records import notes

FIELD, FINAL = "config/", "final/"
MEASURES = "measures.npz"


class Within(Mapping[str, np.ndarray]):
    """Arrays of an archive by shorter names, each read when it is first used. One that is damaged is nan, and told."""

    def __init__(self, archive: Archive, names: Mapping[str, str], tell: Callable[[str], object]) -> None:
        """
        Args:
            archive: that has them.
            names: by the shorter name.
            tell: gets a sentence on what is damaged.
        """
        self.archive, self.names, self.tell = archive, names, tell

    def __getitem__(self, name: str) -> np.ndarray:
        own = self.names[name]
        try:
            return self.archive[own]
        except store.StoreError as error:
            self.tell(sentence(error))
            return np.full(self.archive.shapes[own], np.nan)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Committed:
    """One part of a page, read from what is committed of it (protocol Recording)."""

    on_demand = None

    def __init__(self, page: LabPage, part: str, archive: Archive, no_params: str = "") -> None:
        """
        Args:
            page: whose folder it is.
            part: the name of the part; "" for the only one.
            archive: measures.npz.
            no_params: why there are no weights, where it is not that there is no runs/.
        """
        self.page, self.part, self._why = page, part, no_params
        self._seen = page.look()
        self._read(archive)

    def _read(self, archive: Archive) -> None:
        self._told: dict[str, None] = {}
        prefix = f"{self.part}/" if self.part else ""
        own = {name.removeprefix(prefix): name for name in archive if name.startswith(prefix)}
        of_runs = Within(archive, {k: v for k, v in own.items() if k.startswith(FIELD)}, self._tell)
        columns = {name.removeprefix(FIELD): value for name, value in of_runs.items()}
        record = self.page.records().get(self.part, {})
        self._trained = "steps" in own and "valid" in own
        if self._trained:
            self.steps, self.valid = archive[own["steps"]], archive[own["valid"]].astype(bool)
            self.runs, changes = matched(columns, len(self.valid), record)
        else:
            self.runs = models_of(own, archive, record)
            self.steps, self.valid = np.zeros(0, int), np.zeros((len(self.runs), 0), bool)
            changes = {}
        self.columns = named({name: value for name, value in columns.items() if value.ndim == 1})
        self.varying = varying(self.columns)
        over_time = {k: v for k, v in own.items() if not k.startswith((FIELD, FINAL)) and k not in ("steps", "valid")}
        last = {k.removeprefix(FINAL): v for k, v in own.items() if k.startswith(FINAL)}
        if not self._trained:
            last, over_time = {k: v for k, v in own.items() if archive.shapes[v][:1] == (len(self.runs),)}, {}
        self.measures: Mapping[str, np.ndarray] = Within(archive, over_time, self._tell)
        self.final: Mapping[str, np.ndarray] = Within(archive, last, self._tell)
        self.scalars = [k for k, v in over_time.items() if len(archive.shapes[v]) == 2]
        self.shapes: Sequence[Mapping[str, tuple[int, ...]]] = [{}] * len(self.runs)

        def canonical(run: int) -> Canonical:
            found = applied(record["config"], changes[run], self.runs[run]) if run in changes else None
            if found is None:
                self._tell(
                    f"The config of {self.runs[run]} cannot be told from manifest.json: what needs it is left out."
                )
            return found

        self._described = Described(canonical, lambda: self.page.module)
        self._archive, self._unread = archive, archive.signature

    def _tell(self, message: str) -> None:
        self._told[message] = None

    @property
    def title(self) -> str:
        return title_of(self.page.name, self.part)

    @property
    def no_params(self) -> str:
        if self._why:
            return self._why
        if not self._trained:
            return "These networks were trained by others: there are their measures, and no weights over steps."
        how = f": {command}" if (command := self.page.command(self.part)) else " (toylab run)"
        return f"{self.page.folder} holds measures without the weights: train its runs to see them{how}."

    @property
    def claims(self) -> list[Mapping[str, Any]]:
        return self.page.claims(self.part)

    @property
    def figures(self) -> dict[str, str]:
        return self.page.figures()

    @property
    def messages(self) -> list[str]:
        return [*self.page.messages, *self._archive.lost, *self._told, *self._described.messages]

    def config(self, run: int) -> Config | None:
        return self._described.config(run)

    def data(self, run: int) -> Any:
        return self._described.data(run)

    def params(self, run: int, at: int) -> Arrays:
        raise LookupError(self.no_params)

    def refresh(self) -> bool:
        """Reads measures.npz anew where it was written anew. One that is damaged or gone leaves what was read."""
        path, seen = self.page.folder / MEASURES, self._seen
        self._seen = self.page.look()
        if signature(path) in (None, self._archive.signature, self._unread):
            return seen != self._seen
        try:
            self._read(Archive(path))
        except store.StoreError as error:
            self._unread = signature(path)
            self._tell(sentence(error))
        return True

    def phases(self, run: int) -> Phases:
        return phases_of(run, self.steps, self.valid, self.measures, self.columns)


def title_of(page: str, part: str) -> str:
    """The name of a page, and in words that of its part."""
    return f"{page}: {part.replace('_', ' ')}" if part else page


def models_of(own: Mapping[str, str], archive: Archive, record: Mapping[str, Any]) -> list[str]:
    """Names of networks that others trained: those that are measured."""
    for name in ("model", "models"):
        if name in own and archive.dtypes[own[name]].kind == "U":
            return [str(one) for one in archive[own[name]].tolist()]
    models = record.get("models", {})
    return list(models) if isinstance(models, dict) else []


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
