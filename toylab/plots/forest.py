"""Forest plots: the claims of a page, a line each, with their intervals."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from toylab.plots.style import HOUSE, PAGE, house

COLOURS = {  # told apart in deuteranopia and in grey
    "agrees": "#009E73",
    "direction only": "#56B4E9",
    "undecided": "#999999",
    "differs": "#D55E00",
    "not at this scale": "#E0B000",
    "not applicable": "#CCCCCC",
}
ROW = 0.27  # inches a claim
NAME_WIDTH = 3.0  # inches for names
LINES = ((48, 6.5, 1.0), (54, 6.0, 1.15), (62, 5.2, 1.05))  # letters a line, size, spacing of names of 1, 2, 3 lines
SPANS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)  # factors at which the axis of ratios may end
Claim = Mapping[str, Any]


def drawable(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that a forest plot shows: with a ratio to the paper's value, or the share of runs with the effect."""
    return [one for one in claims if not one.get("withdrawn") and (one.get("ratio") or one.get("share"))]


@house
def forest(claims: Sequence[Claim]) -> Figure:
    """A line a claim: the value over the paper's, and below those without one the share of runs that show the effect.

    Args:
        claims: as claims.json has them; those without either are left out.

    Returns:
        The figure.

    Raises:
        ValueError: where no claim can be drawn.
    """
    shown = drawable(claims)
    if not shown:
        raise ValueError("no claim has a ratio to a paper's value or a share of runs")
    ratios = [one for one in shown if one.get("ratio")]
    shares = [one for one in shown if not one.get("ratio")]
    blocks = [(rows, key) for rows, key in ((ratios, "ratio"), (shares, "share")) if rows]
    margins = 0.55
    heights = [ROW * len(rows) for rows, _ in blocks]
    total = sum(heights) + margins * len(blocks) + 0.3
    figure = Figure(figsize=(PAGE, total))
    top = total - 0.3
    for (rows, key), height in zip(blocks, heights, strict=True):
        bottom = top - height
        axes = figure.add_axes((NAME_WIDTH / PAGE, bottom / total, (PAGE - NAME_WIDTH - 1.15) / PAGE, height / total))
        _block(axes, rows, key)
        top = bottom - margins
    return figure


def _block(axes: Axes, rows: Sequence[Claim], key: str) -> None:
    ends = [_finite(one[key]) for one in rows]
    if key == "ratio":
        limits = _ratio_axis(axes, ends)
        axes.set_xlabel("ours / paper's")
    else:
        limits = (-0.02, 1.02)
        axes.set(xlim=limits, xlabel="share of runs with the effect")
    axes.axvline(1 if key == "ratio" else 0.5, color="#000000", linewidth=0.6, zorder=0)
    for y, (one, (middle, low, high)) in enumerate(zip(rows, ends, strict=True)):
        colour = COLOURS.get(one["verdict"], "#999999")
        inside = np.clip([low, high], *limits)
        axes.plot(inside, [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
        for end, edge, mark in ((low, limits[0], "<"), (high, limits[1], ">")):
            if (end < edge) if mark == "<" else (end > edge):  # the interval goes on
                axes.plot([edge], [y], mark, color=colour, markersize=3.5, clip_on=False)
        if limits[0] <= middle <= limits[1]:
            face = colour if one.get("confirmed", True) else "white"
            axes.plot([middle], [y], "o", color=colour, markerfacecolor=face, markersize=4)
        name, size, spacing = _lines(one["name"])
        how: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": size, "linespacing": spacing}
        axes.text(-0.02, y, name, transform=axes.get_yaxis_transform(), **how)
        said = f"{one['verdict']}, n = {one['n']}"
        ink = colour if one["verdict"] not in ("not at this scale", "direction only") else "#333333"
        axes.text(1.03, y, said, transform=axes.get_yaxis_transform(), ha="left", va="center", fontsize=6, color=ink)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelsize=7, width=HOUSE["axes.linewidth"], length=2.5)


def _lines(name: str) -> tuple[str, float, float]:
    """A name in at most three lines, the size of its letters and the spacing; what three do not hold is cut."""
    wrapped = [textwrap.wrap(name, letters, max_lines=len(LINES), placeholder="…") for letters, *_ in LINES]
    n = next(n for n, lines in enumerate(wrapped) if len(lines) <= n + 1)
    _, size, spacing = LINES[n]
    return "\n".join(wrapped[n]), size, spacing


def _ratio_axis(axes: Axes, ends: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """A log axis about 1 that shows every estimate and most intervals."""
    values = np.array([value for row in ends for value in row])
    values = values[np.isfinite(values) & (values > 0)]
    far = float(np.exp(np.abs(np.log(values)).max())) if values.size else 2.0
    span = next((one for one in SPANS if one >= far), SPANS[-1])
    near, wide = (0.5, 0.8, 1, 1.25, 2), (0.001, 0.01, 0.1, 1, 10, 100, 1000)
    marks = near if span <= 2 else (0.1, 0.2, 0.5, 1, 2, 5, 10) if span <= 10 else wide
    ticks = [value for value in marks if 1 / span <= value <= span]
    axes.set_xscale("log")
    axes.set_xlim(1 / span, span)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    return 1 / span, span


def _finite(row: Sequence[float | None]) -> tuple[float, float, float]:
    """Estimate and interval; what is not known is infinite."""
    middle, low, high = row
    return (
        np.nan if middle is None else middle,
        -np.inf if low is None else low,
        np.inf if high is None else high,
    )
