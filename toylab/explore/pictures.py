"""What a view gives: arrays with a title and axes, which the explorer draws in a browser.

A picture says nothing of Bokeh, so that a view is a function of arrays, and the same picture is drawn live and in an
exported file. Every picture is checked when it is made: what does not fit is refused in a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Colours = Literal["symmetric", "positive"]


def _numbers(what: str, value: np.ndarray, ndim: int) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.ndim != ndim:
        raise ValueError(f"{what} is {array.dtype} {list(array.shape)}: numbers with {ndim} axes are wanted.")
    return array.astype(np.float32)


def _as_long(what: str, value: Sequence[object] | np.ndarray | None, n: int) -> None:
    if value is not None and len(value) != n:
        raise ValueError(f"{what} has {len(value)} entries: {n} are wanted.")


@dataclass(frozen=True)
class Heatmap:
    """A matrix in colours. Rows go down, columns to the right; nan is left blank."""

    values: np.ndarray
    """[rows, columns]."""
    title: str
    """What it shows, in a line."""
    x: str = ""
    """What the columns are."""
    y: str = ""
    """What the rows are."""
    colours: Colours = "symmetric"
    """symmetric: two hues, white at 0. positive: one hue, from 0."""
    limit: float | None = None
    """Where the colours end. None: the greatest absolute value at the first, middle and last saved point, so that colours
    mean the same at every step."""
    columns: Sequence[str] | None = None
    """Names of the columns; None: their numbers."""
    rows: Sequence[str] | None = None
    """Names of the rows; None: their numbers."""
    line: float | None = None
    """A vertical line at this column, such as the step in a map over steps."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _numbers("values", self.values, 2))
        if self.colours not in ("symmetric", "positive"):
            raise ValueError(f"colours is {self.colours!r}: it must be symmetric or positive.")
        _as_long("columns", self.columns, self.values.shape[1])
        _as_long("rows", self.rows, self.values.shape[0])


@dataclass(frozen=True)
class Lines:
    """Lines over one axis."""

    x: np.ndarray
    """[n]."""
    lines: Mapping[str, np.ndarray]
    """[n] each, by the name in the legend."""
    title: str
    """What it shows, in a line."""
    x_label: str = ""
    """What x is, with its unit."""
    y_label: str = ""
    """What the lines are, with their unit."""
    log_x: bool = False
    """Whether the x axis is logarithmic."""
    log_y: bool = False
    """Whether the y axis is logarithmic."""
    at: float | None = None
    """A vertical line at this x, such as the step."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _numbers("x", self.x, 1))
        object.__setattr__(self, "lines", {name: _numbers(name, value, 1) for name, value in self.lines.items()})
        for name, value in self.lines.items():
            _as_long(name, value, len(self.x))


@dataclass(frozen=True)
class Dots:
    """Points in a plane with equal units on both axes."""

    x: np.ndarray
    """[n]."""
    y: np.ndarray
    """[n]."""
    title: str
    """What it shows, in a line."""
    x_label: str = ""
    """What x is."""
    y_label: str = ""
    """What y is."""
    names: Sequence[str] | None = None
    """[n]: texts beside the points."""
    values: np.ndarray | None = None
    """[n]: what colours the points, on a scale from 0 to its greatest value, or round the circle of hues."""
    cyclic: bool = False
    """Whether the values go round: the last has the hue beside the first."""
    rgb: np.ndarray | None = None
    """[n, 3] from 0 to 1: the colours themselves, in place of values."""
    joined: bool = False
    """Whether the points are joined by a line, in their order, and back to the first."""
    from_origin: bool = False
    """Whether a line goes from the origin to each point: points that are vectors."""
    limit: float | None = None
    """The axes go from -limit to limit. None: as `limit` of a Heatmap."""
    square: bool = True
    """Whether the axes have equal units and centre at the origin; else they go as far as the points."""

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), 1))
        if self.values is not None:
            object.__setattr__(self, "values", _numbers("values", self.values, 1))
        if self.rgb is not None:
            object.__setattr__(self, "rgb", _numbers("rgb", self.rgb, 2))
        for name in ("y", "names", "values", "rgb"):
            _as_long(name, getattr(self, name), len(self.x))


@dataclass(frozen=True)
class Bars:
    """A bar for each number."""

    heights: np.ndarray
    """[n]."""
    title: str
    """What it shows, in a line."""
    x: str = ""
    """What is numbered."""
    y: str = ""
    """What the heights are, with their unit."""
    names: Sequence[str] | None = None
    """[n]; None: their numbers."""
    marked: np.ndarray | None = None
    """[n] bool: bars in another colour."""
    mark: str = ""
    """What the marked ones are, such as "key frequencies"."""
    limit: float | None = None
    """Where the axis ends. None: as `limit` of a Heatmap."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "heights", _numbers("heights", self.heights, 1))
        for name in ("names", "marked"):
            _as_long(name, getattr(self, name), len(self.heights))


@dataclass(frozen=True)
class Graph:
    """Nodes and weighted edges between them."""

    x: np.ndarray
    """[n]: where the nodes stand."""
    y: np.ndarray
    """[n]."""
    names: Sequence[str]
    """[n]."""
    edges: Sequence[tuple[int, int]]
    """Pairs of nodes."""
    weights: np.ndarray
    """[e]: their widths, from 0 to `limit`; negative ones have another colour."""
    title: str
    """What it shows, in a line."""
    limit: float | None = None
    """The weight of the widest line. None: as `limit` of a Heatmap."""

    def __post_init__(self) -> None:
        for name in ("x", "y", "weights"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), 1))
        _as_long("y", self.y, len(self.x))
        _as_long("names", self.names, len(self.x))
        _as_long("weights", self.weights, len(self.edges))


@dataclass(frozen=True)
class Table:
    """Texts and numbers in rows."""

    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """A list for each column, all of one length."""
    title: str = ""
    """What it shows, in a line."""

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns have {lengths}: they must be equally long.")


Picture = Heatmap | Lines | Dots | Bars | Graph | Table
