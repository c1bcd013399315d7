"""The analyses in a page's measures.npz, laid beside runs that may have been trained on since."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from toylab import store
from toylab.explore.recording import Arrays
from toylab.explore.recordings.archive import Archive, signature
from toylab.explore.recordings.committed import FIELD, FINAL, MEASURES, Within
from toylab.explore.recordings.matching import matched
from toylab.explore.wording import sentence
from toylab.records.history import blank


class Runs(Protocol):
    """Runs with what was measured while they trained."""

    runs: Sequence[str]
    steps: np.ndarray
    valid: np.ndarray

    def measured(self) -> Mapping[str, tuple[int, ...]]: ...

    def measure(self, name: str) -> np.ndarray: ...


class Analysed:
    """Analyses of a part in measures.npz. They are used where it is of these runs: the measures of training that stand in
    it too must be the same at every point, and it has no points that the runs lack. Read and compared when first asked."""

    def __init__(self, runs: Runs, folder: Path, part: str, record: Callable[[], Mapping[str, Any]]) -> None:
        """
        Args:
            runs: beside which they are laid.
            folder: of the page.
            part: its name.
            record: gives what the page's manifest.json says of the part.
        """
        self.runs, self.path, self.part, self._record = runs, folder / MEASURES, part, record
        self._told: dict[str, None] = {}
        self._signature: Any = ()
        self._names: dict[str, str] = {}
        self._final: dict[str, str] = {}
        self._made: Arrays = {}

    def read(self) -> bool:
        """Reads the file where it is new, or did not fit before; whether it was read."""
        if (now := signature(self.path)) == self._signature:
            return False
        self._signature, self._names, self._final, self._made = now, {}, {}, {}
        self._told.clear()
        if now is None:
            return True
        try:
            self.archive = Archive(self.path)
            self._compare()
        except store.StoreError as error:
            self._told[f"{sentence(error)} Run the stage analyze again: it writes it anew."] = None
        return True

    def forget(self) -> None:
        """What was laid beside the points that there were. A file that did not fit them is looked at again."""
        self._made = {}
        if not self._names and self._told:
            self._signature = ()

    def _compare(self) -> None:
        prefix = f"{self.part}/" if self.part else ""
        own = {name.removeprefix(prefix): name for name in self.archive if name.startswith(prefix)}
        held = Within(self.archive, own, lambda message: self._told.setdefault(message))
        if "steps" not in own or "valid" not in own:
            return
        for name in ("steps", "valid"):
            self.archive[own[name]]  # raises Damaged
        columns = {name.removeprefix(FIELD): held[name] for name in own if name.startswith(FIELD)}
        names, _ = matched(columns, len(held["valid"]), self._record())
        row_of = {name: row for row, name in enumerate(self.runs.runs)}
        if not {*names} <= {*row_of}:
            names = list(self.runs.runs)  # a manifest that says nothing of them: by their order, if they are as many
        self._rows = np.array([row_of[name] for name in names], int)
        if not self._fits(held):
            self._told[
                f"{self.path} is not of all these runs and points: its analyses are left out, until the stage "
                "analyze is run again."
            ] = None
            return
        apart = (FIELD, FINAL)
        over_time = {
            name: full for name, full in own.items() if not name.startswith(apart) and name not in ("steps", "valid")
        }
        self._names = {name: full for name, full in over_time.items() if name not in self.runs.measured()}
        if len(self._rows) == len(self.runs.runs):
            self._final = {name.removeprefix(FINAL): full for name, full in own.items() if name.startswith(FINAL)}

    def _fits(self, held: Mapping[str, np.ndarray]) -> bool:
        valid, steps = held["valid"].astype(bool), held["steps"]  # read by now, and sound
        if len(self._rows) != len(valid) or not len(self.runs.steps) or not np.isin(steps, self.runs.steps).all():
            return False
        at = np.searchsorted(self.runs.steps, steps)
        if (valid & ~self.runs.valid[self._rows][:, at]).any():
            return False
        shared = [
            name for name, tail in self.runs.measured().items() if not tail and name in held and held[name].ndim == 2
        ]
        for name in shared:
            ours, theirs = self.runs.measure(name)[self._rows][:, at][valid], held[name][valid]
            if not np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
                return False
        self._steps, self._valid = steps, valid
        return bool(shared)

    @property
    def _is_behind(self) -> bool:
        """Whether the runs have points since that were not analysed."""
        return bool(self._names or self._final) and int(self.runs.valid[self._rows].sum()) > int(self._valid.sum())

    @property
    def messages(self) -> list[str]:
        """What is damaged or does not fit, in sentences."""
        behind = f"The runs were trained on since {self.path} was written: its analyses end where it ends."
        return [*self._told, *([behind] if self._is_behind else [])]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names of the analyses over steps, and their shapes after [R, T]."""
        return {name: self.archive.shapes[full][2:] for name, full in self._names.items()}

    def over_steps(self, name: str) -> np.ndarray:
        """[R, T, …]: an analysis, blank where it has none."""
        if name not in self._made:
            value = self._read(self._names[name])
            out = blank((*self.runs.valid.shape, *value.shape[2:]), value.dtype)
            rows, points = np.nonzero(self._valid)
            out[self._rows[rows], np.searchsorted(self.runs.steps, self._steps)[points]] = value[rows, points]
            self._made[name] = out
        return self._made[name]

    def final_names(self) -> list[str]:
        """The names of the analyses of the last points; none where the runs go on behind those."""
        return [] if self._is_behind else list(self._final)

    def final(self, name: str) -> np.ndarray:
        """[R, …]: an analysis of the runs' last points."""
        value = self._read(self._final[name])
        out = np.empty_like(value)
        out[self._rows] = value
        return out

    def _read(self, full: str) -> np.ndarray:
        return Within(self.archive, {full: full}, lambda message: self._told.setdefault(message))[full]
