"""What a lab page is (see experiments/): parts, each with runs that are measured alike, claims and figures."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from toylab.analysis.transitions import first_step
from toylab.base import Analyzer, Config
from toylab.fields import column
from toylab.records import labelled, selection

if TYPE_CHECKING:
    import pandas
    import xarray

    from toylab import claims as stated

Arrays = dict[str, np.ndarray]
Scale = Literal["smoke", "cpu", "paper"]
PER_RUN = ("final/", "config/")  # measures without an axis of saved points
NAMES_SHOWN = 12  # of measures that a message lists


class NoMeasure(KeyError):
    """There is no measure of that name."""


class Measures(dict[str, np.ndarray]):
    """Everything that was measured, as arrays by name.

    steps, valid           [T], [R, T]: the saved steps, and whether a run has a point there
    NAME                   [R, T, …]: a measure of the task
    ANALYSIS/KEY           [R, T, …]: an analysis of every saved point
    final/ANALYSIS/KEY     [R, …]: an analysis of each run's last point
    config/FIELD           [R, …]: a field of the configs, as config/task.density; `task.density` is the same, and
                           `optimizer` or `net` the names of its classes

    On a page of several parts names begin with that of the part. Where a run diverged, at its last point and in `final/…`,
    floats are nan, and other dtypes 0.
    """

    def __missing__(self, name: str) -> np.ndarray:
        """A field by its own name, as it has everywhere."""
        own = column(f"config/{name}", self)
        if own in self:
            return self[own] if own == f"config/{name}" else selection.class_names(self[own])
        raise NoMeasure(f"{name} is no measure: {near(name, self)}")

    @property
    def steps(self) -> np.ndarray:
        return self["steps"]

    @property
    def valid(self) -> np.ndarray:
        return self["valid"]

    def last(self, name: str) -> np.ndarray:
        """[R, …]: the value at each run's last saved point."""
        at = self.valid.shape[1] - 1 - self.valid[:, ::-1].argmax(axis=1)  # groups may have different steps
        return self[name][np.arange(len(at)), at]

    def only(self, name: str) -> np.ndarray:
        """The value of a field, if it is the same for all runs; else ValueError."""
        values = self[name]
        if not len(values) or (values != values[0]).any():
            raise ValueError(f"the runs have no {name.removeprefix('config/')} in common")
        return values[0]

    def first_step(self, true: np.ndarray) -> np.ndarray:
        """[R]: the first saved step at which `true` [R, T] holds; nan where it never does."""
        return first_step(self.steps, true & self.valid)

    def runs(self, which: np.ndarray) -> "Measures":
        """The measures of some runs, by a mask [R] or indices."""
        return Measures({name: value if name == "steps" else value[which] for name, value in self.items()})

    def best_of(self, k: int, per: str = "config/task.density", loss: str = "loss") -> tuple[np.ndarray, np.ndarray]:
        """Of every k runs the one with the lowest last loss, as Elhage et al. 2022 choose the best of several fits.

        Args:
            k: runs in a set.
            per: the field whose values divide the runs into levels.
            loss: the measure to compare.

        Returns:
            The levels [L], descending, and indices of runs [L, N // k], one for each disjoint set of k of a level's N runs.

        Raises:
            ValueError: where a level has fewer than k runs.
        """
        levels = np.unique(self[per])[::-1]
        members = [np.flatnonzero(self[per] == level) for level in levels]
        n_sets = min((len(runs) for runs in members), default=0) // k
        if not n_sets:
            raise ValueError(f"a level of {per.removeprefix('config/')} has fewer runs than the {k} of a set")
        sets = np.stack([runs[: n_sets * k].reshape(n_sets, k) for runs in members])  # [L, sets, k]
        lowest = np.nan_to_num(self.last(loss), nan=np.inf)[sets].argmin(axis=-1)
        return levels, np.take_along_axis(sets, lowest[..., None], axis=-1)[..., 0]

    def part(self, name: str) -> "Measures":
        """The measures of one part; all of them for the only part of a page, named ""."""
        start = f"{name}/" if name else ""
        return Measures({key.removeprefix(start): value for key, value in self.items() if key.startswith(start)})

    def to_xarray(self) -> "xarray.Dataset":
        """The measures as an xarray Dataset (extra `xarray`).

        Dims are `run` and `step`; further axes are named by array and number, as loss_0. The config's fields are
        coordinates along `run`.

        Raises:
            ValueError: for a page of several parts, whose runs have no steps in common, and for imported networks.
            ImportError: where xarray is not installed.
        """
        self._check_of_one_part()
        rest = {name: value for name, value in self.items() if name != "steps"}
        of_runs = {name: value for name, value in rest.items() if name.startswith("final/")}
        over_time = {name: value for name, value in rest.items() if not name.startswith(PER_RUN)}
        return labelled.dataset(self.steps, over_time, of_runs, self._columns())

    def to_pandas(self) -> "pandas.DataFrame":
        """The scalar measures as a pandas table with a row for each run and saved point (extra `xarray`). `run` is the
        run's number.

        Raises:
            ValueError, ImportError: as `to_xarray`.
        """
        self._check_of_one_part()
        final = {name: value for name, value in self.items() if name.startswith("final/") and value.ndim == 1}
        columns = {name: value for name, value in self._columns().items() if value.ndim == 1}
        scalars = {name: value for name, value in self.items() if not name.startswith(PER_RUN) and value.ndim == 2}
        scalars.pop("valid")
        return labelled.table(self.steps, self.valid, scalars, {**columns, **final}, np.arange(len(self.valid)))

    def _columns(self) -> Arrays:
        start = "config/"
        return {name.removeprefix(start): value for name, value in self.items() if name.startswith(start)}

    def _check_of_one_part(self) -> None:
        if "steps" in self and "valid" in self:
            return
        names = [name.removesuffix("/steps") for name in self if name.endswith("/steps")]
        hint = f"take those of one, as part({names[0]!r})." if names else "they are of networks that others trained."
        raise ValueError(f"the measures have no steps of all runs: {hint}")


def cell(text: str) -> str:
    """A text as a cell of a Markdown table, with | escaped."""
    return text.replace("|", "\\|")


def near(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known name, or a list of all."""
    listed = list(known)
    if found := difflib.get_close_matches(name, listed, 1, cutoff=0.5):
        return f"did you mean {found[0]}?"
    return f"there are {', '.join(listed[:NAMES_SHOWN])}{', …' if len(listed) > NAMES_SHOWN else ''}"


def sentence(error: BaseException) -> str:
    """An error of a page's own function in one line: its type and message."""
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def going(measures: Arrays) -> np.ndarray:
    """Whether a run has a point at the newest step: [..., t] → [...]."""
    return np.isfinite(next(iter(measures.values()))[..., -1])


@dataclass(frozen=True)
class Imported:
    """Networks that others trained, in place of a part's configs and saves. Nothing is trained. The stage analyze measures
    the files of a folder (`--set weights=FOLDER`). Their digests, measures and figures are kept, the files are not."""

    files: Callable[
        [Path, Scale], Mapping[str, Path]
    ]  # folder → weights by name; raises ValueError if some are missing
    measure: Callable[[Path, Sequence[str]], Arrays]  # folder, names of `files` → measures; no steps, no `valid`
    table: Callable[[Measures], str]  # → models.md: their numbers beside ours, in Markdown


@dataclass(frozen=True)
class Start:
    """Runs start with the params at the end of another part's runs: each of the one run there that has the same values of
    the fields `by`. The optimizer starts anew, at step 0."""

    part: str  # one that stands before, and records all params
    by: tuple[str, ...] = ("seed",)


@dataclass(frozen=True)
class Part:
    """Runs that are trained and measured alike, their claims and figures.

    Mappings by scale have entries for smoke, cpu and paper. Without `stop`, runs train to their last save. A part with
    `imported` has no runs.
    """

    configs: Mapping[Scale, Sequence[Config]] = field(default_factory=dict)
    saves: Mapping[Scale, Sequence[int] | np.ndarray] = field(default_factory=dict)
    claims: Sequence["stated.Claim"] = ()
    figures: Mapping[str, Callable[[Measures], Any]] = field(default_factory=dict)  # → Figure, or Animation
    stop: Mapping[Scale, Callable[[Arrays], bool] | None] = field(
        default_factory=lambda: dict.fromkeys(("smoke", "cpu", "paper"))
    )
    milestone: tuple[str, Callable[[Arrays], np.ndarray]] = (
        "going",
        going,
    )  # for the progress display: [R, t] → [R]
    probes: Mapping[str, Analyzer] = field(default_factory=dict)
    keep: tuple[str, ...] | None = None  # names of the params to record, None for all; analyses get only these
    final: Mapping[str, Analyzer] = field(default_factory=dict)  # at each run's last point; for analyses `run.final`
    analyses: Mapping[str, Analyzer] = field(default_factory=dict)  # at every saved point
    omit: tuple[str, ...] = ()  # measures left out of measures.npz; recorded ones stay in runs/
    start: Start | None = None  # for ungrokking, transplants, fine-tuning
    imported: Imported | None = None

    def kept(self, measures: Mapping[str, np.ndarray]) -> Arrays:
        """Measures less those of `omit`. Raises ValueError for one that is not measured."""
        for name in self.omit:
            if name not in measures:
                raise ValueError(f"a part omits {name}, which is no measure: {near(name, measures)}")
        return {name: value for name, value in measures.items() if name not in self.omit}

    @staticmethod
    def alike(
        small: Sequence[Config], full: Sequence[Config], saves: Sequence[int] | np.ndarray, **more: Any
    ) -> "Part":
        """A part whose scales cpu and paper are one. Smoke has the small configs and the first three saves."""
        configs: dict[Scale, Sequence[Config]] = {"smoke": small, "cpu": full, "paper": full}
        return Part(configs, {"smoke": saves[:3], "cpu": saves, "paper": saves}, **more)


class Page(Protocol):
    """A module that states an experiment. Its docstring opens with claim, source figure, expected number, cost and command.

    A page of one part has the fields of `Part` as names in capitals (CONFIGS, SAVES, …, FIGURES). A page of several parts
    has `PARTS: dict[str, Part]`.
    """

    __name__: str


def parts(page: Page) -> dict[str, Part]:
    """The parts of a page by name. The only part of a page is named ""."""
    if hasattr(page, "PARTS"):
        return dict(page.PARTS)
    stated = {field.name: field.name.upper() for field in fields(Part) if hasattr(page, field.name.upper())}
    return {"": Part(**{name: getattr(page, capitals) for name, capitals in stated.items()})}


def present(page: Page, measures: Measures) -> Iterator[tuple[str, Part, Measures]]:
    """The parts that were measured: name, part and its measures."""
    for name, part in parts(page).items():
        if own := measures.part(name):
            yield name, part, own


def name_of(page: Page) -> str:
    """A page's name: that of its module."""
    return page.__name__.rsplit(".", 1)[-1]
