"""Measurement against theory: values with their spread over seeds on exact curves, and losses on exact levels."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, style

LEVEL = "#8A8A8A"


class Series(NamedTuple):
    """One quantity: measured [R, N] at x [N] (R runs, mostly seeds), and what theory says at exact_x [M].

    Where x is measured too and differs between runs, give all of them as one run: x.ravel() and measured.ravel()[None].
    """

    x: np.ndarray  # [N]
    measured: np.ndarray  # [R, N], nan where there is no value
    exact: np.ndarray | None = None  # [M]
    exact_x: np.ndarray | None = None  # [M]; None: x
    joined: bool = False  # a dashed line joins the medians, to lead the eye


class Estimate(NamedTuple):
    """A quantity of one run with its standard error, at some steps. All [K]."""

    steps: np.ndarray
    values: np.ndarray
    errors: np.ndarray


def _check(name: str, series: Series) -> None:
    if series.x.ndim != 1 or series.measured.ndim != 2 or series.measured.shape[1:] != series.x.shape:
        raise ValueError(
            f"{name}: x has shape {series.x.shape} and measured {series.measured.shape}; they are [N] and [R, N]"
        )
    if series.exact is not None:
        at = series.x if series.exact_x is None else series.exact_x
        if np.shape(series.exact) != np.shape(at):
            raise ValueError(f"{name}: exact has shape {np.shape(series.exact)}; at its x it is {np.shape(at)}")


def _series(ax: Axes, series: Series, color: str) -> None:
    """Every run as a pale dot, the median over runs as a large one, a bar from the lowest to the highest run."""
    order = np.argsort(series.x, kind="stable")
    x, measured = series.x[order], series.measured[:, order]
    if series.exact is not None:
        at = series.x if series.exact_x is None else series.exact_x
        rising = np.argsort(at, kind="stable")
        ax.plot(np.asarray(at)[rising], np.asarray(series.exact)[rising], color=color, lw=1.1, zorder=2)
    held = np.isfinite(measured).any(axis=0)
    x, measured = x[held], measured[:, held]
    if len(measured) > 1:
        ax.plot(np.tile(x, len(measured)), measured.ravel(), "o", ms=2, color=color, mew=0, alpha=0.35, zorder=3)
        ax.vlines(x, np.nanmin(measured, axis=0), np.nanmax(measured, axis=0), color=color, lw=0.7, zorder=3)
    median = np.nanmedian(measured, axis=0)
    ax.plot(x, median, "o", ms=4, color=color, mec="white", mew=0.4, zorder=4)
    if series.joined:
        ax.plot(x, median, color=color, lw=0.8, ls=(0, (4, 2)), zorder=2)


@style.house
def agreement(
    series: Mapping[str, Series],
    xlabel: str,
    ylabel: str,
    *,
    log: tuple[bool, bool] = (False, False),
    title: str = "",
    beside: bool = False,
) -> Figure:
    """Measured values with the spread of their runs on the exact curves, in a single column.

    Args:
        series: Up to seven by name (an empty name for the only one).
        xlabel: With its unit.
        ylabel: With its unit.
        log: Of the x axis and the y axis.
        title: Of the figure.
        beside: Whether the name of a series stands beside its last point, where there is no other, not in the margin.
    """
    if not series or len(series) > len(style.SERIES):
        raise ValueError(f"series has {len(series)} entries; 1 to {len(style.SERIES)} can be told apart")
    figure, (ax,) = style.panels(style.COLUMN, 2.7)
    for (name, each), color in zip(series.items(), style.SERIES, strict=False):
        _check(name, each)
        _series(ax, each, color)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.title.set_fontsize(8)
    if log[0]:
        ax.set_xscale("log")
        labels.log_numbers(ax.xaxis)
    if log[1]:
        ax.set_yscale("log")
        labels.log_numbers(ax.yaxis)
    ends = {name: _end(each) for name, each in series.items() if name and np.isfinite(_end(each))}
    inks = dict(zip(series, style.SERIES, strict=False))
    if beside:
        ax.margins(x=0.12, y=0.08)
        for name in ends:
            put: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "ha": "left", "va": "center"}
            at = float(np.max(series[name].x)), ends[name]
            ax.annotate(name, at, color=inks[name], fontsize=labels.SMALL, **put)
    else:
        labels.MarginLabels(ax, "right", np.array(list(ends.values())), list(ends), [inks[name] for name in ends])
    style.note(figure, _key(list(series.values())))
    return figure


def _end(series: Series) -> float:
    """Where the name of a series stands: at the right end of its line, or of its points."""
    if series.exact is not None:
        at = np.asarray(series.x if series.exact_x is None else series.exact_x)
        values = np.asarray(series.exact, float)
    else:
        at, values = (
            series.x,
            np.array([np.nanmedian(v) if np.isfinite(v).any() else np.nan for v in series.measured.T]),
        )
    finite = np.isfinite(values)
    return float(values[finite][at[finite].argmax()]) if finite.any() else np.nan


def _key(series: list[Series]) -> str:
    fewest, runs = (extreme(len(each.measured) for each in series) for extreme in (min, max))
    count = f"{runs}" if fewest == runs else f"{fewest} to {runs}"
    said = [f"points: medians of {count} runs, bars: lowest to highest" if runs > 1 else "points: measured"]
    said += ["lines: theory"] * any(each.exact is not None for each in series)
    return "; ".join(said)


@style.house
def levels(
    steps: np.ndarray,
    loss: np.ndarray,
    named: Mapping[str, float],
    *,
    shown: int = 0,
    llc: Estimate | None = None,
    title: str = "",
    most: int | None = None,
) -> Figure:
    """The loss of runs on its way down the named levels, which theory gives, on two log axes.

    Args:
        steps: [T].
        loss: [R, T], nan where a run has no value.
        named: Positive losses, such as those of the k-gons of Chen et al. 2023.
        shown: The run that is drawn strong.
        llc: Its local learning coefficient, drawn in a panel below; joined where it was estimated at all of `steps`.
        title: Of the figure.
        most: How many of the other runs are drawn, evenly chosen by their last loss; None for all.
    """
    if loss.ndim != 2 or loss.shape[1:] != steps.shape:
        raise ValueError(f"loss has shape {loss.shape}; with {len(steps)} steps it is [R, {len(steps)}]")
    if not 0 <= shown < len(loss):
        raise ValueError(f"shown is {shown}; the runs are 0 to {len(loss) - 1}")
    if not all(value > 0 and np.isfinite(value) for value in named.values()):
        raise ValueError(f"named has levels {sorted(named.values())}; on a log axis all are finite and above 0")
    figure, (ax, *below) = style.panels(style.PAGE, 3.0 if llc is None else 4.4, rows=1 if llc is None else 2)
    ranked = np.argsort(loss[:, -1], kind="stable")
    others = ranked[ranked != shown]
    if most is not None and most < len(others):
        others = others[np.linspace(0, len(others) - 1, most).round().astype(int)]
    _levels(ax, steps, loss, named, shown, others)
    ax.set_title(title, fontsize=8)
    rest = "the other runs" if len(others) == len(loss) - 1 else f"{len(others)} of {len(loss) - 1} other runs"
    said = [f"strong: run {shown}; pale: {rest}"] * (len(loss) > 1) + ["dashed: exact levels"]
    if llc is not None:
        _estimate(below[0], steps, llc)
        ax.set_xlabel("")
        ax.tick_params(labelbottom=False)
        style.letter(ax, "a", lift=2)
        style.letter(below[0], "b", lift=2)
        said.append("bars: standard error")
    style.note(figure, "; ".join(said))
    return figure


def _estimate(ax: Axes, steps: np.ndarray, llc: Estimate) -> None:
    if not np.shape(llc.steps) == np.shape(llc.values) == np.shape(llc.errors):
        raise ValueError("llc has steps, values and errors of different lengths; they are [K] each")
    put: dict[str, Any] = {"ms": 3.5, "lw": 0.8, "elinewidth": 0.8, "capsize": 2, "clip_on": False}
    ax.errorbar(llc.steps, llc.values, llc.errors, fmt="o", color=style.SERIES[0], **put)
    gaps = np.flatnonzero(np.diff(np.searchsorted(steps, llc.steps)) > 1) + 1
    for x, y in zip(np.split(llc.steps, gaps), np.split(llc.values, gaps), strict=True):
        ax.plot(x, y, color=style.SERIES[0], lw=0.8)
    style.step_axis(ax, steps, "log")
    ax.set_ylabel("local learning coefficient")


def _levels(
    ax: Axes, steps: np.ndarray, loss: np.ndarray, named: Mapping[str, float], shown: int, others: np.ndarray
) -> None:
    for value in named.values():
        ax.axhline(value, color=LEVEL, lw=0.6, ls=(0, (4, 2)), zorder=1)
    for run in (*others, shown):
        strong = run == shown
        ax.plot(steps, loss[run], color=style.SERIES[0], lw=1.3 if strong else 0.6, alpha=1 if strong else 0.35)
    style.step_axis(ax, steps, "log")
    ax.set(yscale="log", ylabel="loss")
    labels.log_numbers(ax.yaxis)
    labels.MarginLabels(ax, "right", np.array(list(named.values()), float), list(named), ["#444444"] * len(named))
