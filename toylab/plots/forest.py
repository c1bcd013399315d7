"""Forest plots: the claims of a page, a line each, with their intervals."""

import math
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
BAND = 0.62  # height of the shade in a row
SPANS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)  # factors at which the axis of ratios may end
# of claims with a share, by block: what it is of
SHARES = {
    "share": "share of runs with the effect",
    "best": "share of fits with the pattern; judged is the best",
}
NULLS = {"ratio": 1.0, "share": 0.5}
Claim = Mapping[str, Any]


def drawable(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that a forest plot shows: with a ratio to the paper's value, the share of runs with the effect, or an
    estimate and a range to lie in."""
    return [one for one in claims if not one.get("withdrawn") and _key(one)]


def _key(claim: Claim) -> str:
    """Which of the blocks a claim is in; "" for none."""
    if claim.get("ratio") or claim.get("share"):
        of_best = claim.get("shows") == "lowest loss"
        return "ratio" if claim.get("ratio") else "best" if of_best else "share"
    return "allowed" if claim.get("allowed") and claim.get("estimate") is not None else ""


@house
def forest(claims: Sequence[Claim]) -> Figure:
    """A line a claim: the value over the paper's; below those without one the share of runs that show the effect; claims of
    the best of all fits, with the share of fits that are like it; and last, each on a scale of its own, values that have a
    range to lie in, which is shaded.

    Args:
        claims: as claims.json has them; those without any are left out.

    Returns:
        The figure.

    Raises:
        ValueError: where no claim can be drawn.
    """
    shown = drawable(claims)
    if not shown:
        raise ValueError("no claim has a ratio to a paper's value, a share of runs or a range to lie in")
    rows_of = {key: [one for one in shown if _key(one) == key] for key in ("ratio", *SHARES, "allowed")}
    blocks = [(rows, key) for key, rows in rows_of.items() if rows]
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
    if key == "allowed":
        limits = (0.0, 1.0)
        ends = [_within(axes, y, one) for y, one in enumerate(rows)]
        axes.set(xlim=limits, xticks=[], xlabel="each on a scale of its own; shaded: as claimed")
    else:
        ends = [_finite(one["ratio" if key == "ratio" else "share"]) for one in rows]
        limits = _ratio_axis(axes, ends) if key == "ratio" else (-0.02, 1.02)
        axes.set(xlim=limits, xlabel=SHARES.get(key, "ours / paper's"))
        if key in NULLS:
            axes.axvline(NULLS[key], color="#000000", linewidth=0.6, zorder=0)
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


def _within(axes: Axes, y: int, claim: Claim) -> tuple[float, float, float]:
    """Shades the range of a claim in its row, with its ends in numbers; estimate and interval on the row's scale of 0 to 1,
    a tenth in from the edges. Numbers are on a log scale where all are positive and the largest is 30 times the least."""
    estimate = float(claim["estimate"])
    low, high = (math.nan if end is None else float(end) for end in claim["allowed"])
    between = [math.nan if end is None else float(end) for end in claim["interval"]]
    values = np.array([estimate, low, high, *between])
    values = values[np.isfinite(values)]
    to = np.log if values.min() > 0 and values.max() >= 30 * values.min() else np.asarray
    first, last = float(to(values.min())), float(to(values.max()))

    def at(value: float, without: float) -> float:
        """On the row's scale; `without` where there is no number."""
        if math.isnan(value):
            return without
        return 0.1 + 0.8 * (float(to(value)) - first) / (last - first) if last > first else 0.5

    left, right = at(low, 0.0), at(high, 1.0)
    axes.fill_betweenx([y - BAND / 2, y + BAND / 2], left, right, color="#E4E4E4", linewidth=0, zorder=0)
    for end, where, side in ((low, left, "right"), (high, right, "left")):
        if not math.isnan(end):
            axes.plot([where] * 2, [y - BAND / 2, y + BAND / 2], color="#888888", linewidth=0.6, zorder=0)
            if low != high or side == "left":
                axes.text(
                    where,
                    y + 0.3,
                    f" {end:,.0f} " if abs(end) >= 1000 else f" {end:.3g} ",
                    ha=side,
                    va="center",
                    fontsize=5,
                    color="#555555",
                )
    return at(estimate, math.nan), at(between[0], -np.inf), at(between[1], np.inf)


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
