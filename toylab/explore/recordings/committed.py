"""A page's folder without its trajectory: measures.npz, manifest.json, claims.json and figures/, as they are committed."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from toylab import store
from toylab.base import Config
from toylab.explore.recording import Arrays
from toylab.explore.recordings.archive import Archive, signature
from toylab.explore.recordings.described import Canonical, Described, named, varying
from toylab.explore.recordings.lab_page import LabPage
from toylab.explore.recordings.matching import applied, matched
from toylab.explore.recordings.phases import Phases, phases_of
from toylab.explore.wording import sentence

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
        how = ""
        if command := self.page.command(self.part):
            command = re.sub(r" --out[ =]\S+", "", command)
            how = f" ({command} --out FOLDER, and then explore FOLDER/{self.page.name})"
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
