"""Subcircuits of induction heads (Singh et al. 2024, arXiv 2404.07129): redundant heads, their wiring, clamped training.

Arrays are [R, H] (seed, head), [R, T] (seed, saved point); nan where a run has no value, such as after its end.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, style
from toylab.plots.attention import stages

MARKERS = ("o", "s", "^")
PUBLISHED, LIMIT = "#777777", "#444444"


def _scatter(ax: Axes, strength: np.ndarray, solo: np.ndarray, name: str, marker: str, ours: bool) -> None:
    color = style.SERIES[0] if ours else PUBLISHED
    ax.scatter(
        strength,
        solo,
        s=9 if ours else 15,
        marker=marker,
        facecolors=color if ours else "none",
        edgecolors="none" if ours else color,
        linewidths=0.9,
        alpha=0.55 if ours else 1,
        label=name,
        zorder=2 if ours else 3,
        clip_on=False,
    )


def heads(steps: np.ndarray, previous: np.ndarray, strength: np.ndarray) -> Figure:
    """Each head of one run through training: layer 1 above, layer 2 below.

    Args:
        steps: [T].
        previous: Attention of the heads of layer 1 to the token before a label, [T, H0].
        strength: Induction strength of the heads of layer 2, [T, H1].
    """
    rows = {"attention to the\ntoken before a label": previous, "induction\nstrength": strength}
    panels = [
        stages.Panel(name, {f"H{head}": own[None] for head, own in enumerate(values.T)}, ylim=(0, 1))
        for name, values in rows.items()
    ]
    return stages.stages(steps, panels)


@style.house
def redundancy(
    strength: np.ndarray,
    solo: np.ndarray,
    published: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    chance: float,
) -> Figure:
    """What a head does alone over how strongly it matches.

    Args:
        strength: [R, H].
        solo: Accuracies, [R, H].
        published: Runs by name, drawn hollow.
        chance: Accuracy of guessing.
    """
    if strength.shape != solo.shape or strength.ndim != 2:
        raise ValueError(f"strength has shape {strength.shape} and solo {solo.shape}; both are [R, H]")
    figure, (ax,) = style.panels(style.COLUMN, 2.7)
    _scatter(
        ax, strength.ravel(), solo.ravel(), f"ours, {len(strength)} seed{'s' * (len(strength) > 1)}", "o", ours=True
    )
    for (name, (x, y)), marker in zip(published.items(), itertools.cycle(MARKERS)):
        _scatter(ax, np.array(x), np.array(y), name, marker, ours=False)
    ax.axhline(chance, color=LIMIT, lw=0.7, ls=(0, (4, 2)), zorder=1)
    ax.annotate("either label at random", (1, chance), xytext=(0, -3), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="top", fontsize=labels.SMALL, color=LIMIT)  # fmt: skip
    lowest = float(np.nanmin(strength))
    ax.set(
        xlim=(min(0.0, lowest - 0.02), 1),
        ylim=(0.2, 1),
        xlabel="induction strength",
        ylabel="accuracy with this head alone",
    )
    ax.legend(frameon=False, fontsize=labels.SMALL, handletextpad=0.1, labelspacing=0.25, loc="upper left", borderpad=0)
    return figure


@style.house
def wiring(lost: np.ndarray, previous: np.ndarray, strength: np.ndarray, seeds: Sequence[int] = ()) -> Figure:
    """Induction strength that a head of layer 2 loses with one of layer 1, a panel a seed.

    Rows are sorted by `previous`, columns by `strength`; both are written beside them.

    Args:
        lost: [R, H0, H1].
        previous: Attention to the previous token at labels, [R, H0].
        strength: [R, H1].
        seeds: Of the runs, [R]; from 0 where none are given.
    """
    if lost.shape != (*previous.shape, strength.shape[-1]):
        raise ValueError(
            f"lost has shape {lost.shape}; with previous {previous.shape} and strength {strength.shape} it is [R, H0, H1]"
        )
    figure, axes = style.panels(style.PAGE, 2.6, len(lost))
    top = float(np.nanmax(np.abs(lost))) or 1.0
    for run, ax in enumerate(axes):
        rows, columns = np.argsort(-previous[run]), np.argsort(-strength[run])
        image = ax.imshow(lost[run][rows][:, columns], cmap="RdBu_r", vmin=-top, vmax=top, rasterized=True)
        ax.set_yticks(range(len(rows)), [f"H{head}  {previous[run, head]:.2f}" for head in rows])
        ax.set_xticks(range(len(columns)), [f"H{head}  {strength[run, head]:.2f}" for head in columns], rotation=90)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(f"seed {seeds[run] if len(seeds) else run}", fontsize=8, pad=3)
        ax.set_xlabel("head of layer 2, strength")
        ax.set_ylabel("head of layer 1, attention\nto the previous token at labels" if run == 0 else "")
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=25, label="induction strength lost")
    style.ticks(bar.ax)
    return figure


@style.house
def clamps(
    steps: np.ndarray, loss: Mapping[str, np.ndarray], crossed: Mapping[str, np.ndarray], limits: Mapping[str, float]
) -> Figure:
    """Losses under each clamp, and the step at which each first lies below the last of the limits.

    A run ends where it has learned.

    Args:
        steps: [T].
        loss: By clamp, [R, T].
        crossed: By clamp, [R].
        limits: Losses of predictors, or a threshold, by name.
    """
    for name, values in loss.items():
        if values.ndim != 2 or values.shape[1] != len(steps):
            raise ValueError(f"{name} has shape {values.shape}; with {len(steps)} steps it is [R, {len(steps)}]")
    if set(loss) != set(crossed):
        raise ValueError(f"loss has {sorted(loss)} and crossed {sorted(crossed)}; both have the same names")
    figure, (left, right) = style.panels(style.PAGE, 2.6, 2)
    colors = dict(zip(loss, ("#000000", *style.SERIES), strict=False))
    for name, values in loss.items():
        for each in values:
            left.plot(steps, each, color=colors[name], lw=0.9, alpha=0.85, zorder=3)
    style.step_axis(left, steps, "log")
    for value in limits.values():
        left.axhline(value, color=LIMIT, lw=0.7, ls=(0, (4, 2)), zorder=1)
    left.set(ylim=(0, 2), ylabel="loss (nats)")
    labels.MarginLabels(left, "right", np.array(list(limits.values())), list(limits), [LIMIT] * len(limits))
    style.letter(left, "a", lift=6)
    for row, (name, at) in enumerate(crossed.items()):
        known = at[np.isfinite(at)]
        if len(known):  # else it is taken to lie at the origin, outside the axes
            right.plot(
                known, np.full(len(known), row), "o", ms=4, color=colors[name], mec="white", mew=0.4, clip_on=False
            )
        if len(known) < len(at):
            right.annotate(f"{len(at) - len(known)} not", (1, row), xycoords=("axes fraction", "data"), ha="right",
                           va="center", fontsize=labels.SMALL, color=colors[name])  # fmt: skip
    right.set_xscale("log")
    right.set_yticks(range(len(crossed)), list(crossed))
    right.set(ylim=(len(crossed) - 0.5, -0.5), xlabel=f"step of loss below {list(limits)[-1]}")
    right.grid(axis="y", color="#E6E6E6", lw=0.5, zorder=0)
    style.ticks(right)
    right.tick_params(axis="y", length=0)
    for text, color in zip(right.get_yticklabels(), colors.values(), strict=False):
        text.set_color(color)
    labels.log_numbers(right.xaxis)
    style.letter(right, "b", lift=6)
    return figure


@style.house
def toy(loss: Mapping[str, np.ndarray], threshold: float) -> Figure:
    """Losses of the toy before each step, down to a threshold: each seed thin, their median strong, and its step there.

    Args:
        loss: By name, [R, T].
        threshold: The lowest loss drawn.
    """
    figure, (ax,) = style.panels(style.COLUMN, 2.4)
    ends, names, colors = [], [], []
    for color, (name, values) in zip(("#000000", *style.SERIES[1:]), loss.items(), strict=False):
        for each in values if len(values) > 1 else ():
            ax.plot(each, color=color, lw=0.4, alpha=0.2, zorder=2)
        middle = np.median(values, axis=0)
        ax.plot(middle, color=color, zorder=3)
        below = middle < threshold
        if below.any():
            ends.append(below.argmax())
            names.append(f"{name}\n{below.argmax()}")
            colors.append(color)
    style.step_axis(ax, np.arange(next(iter(loss.values())).shape[1]), "linear")
    ax.set_yscale("log")
    ax.set(ylim=(threshold, 2), ylabel="loss of the toy")
    labels.log_numbers(ax.yaxis)
    labels.MarginLabels(ax, "top", np.array(ends, float), names, colors)
    runs = max(len(values) for values in loss.values())
    if runs > 1:
        style.note(figure, f"thin: {runs} seeds; strong: their median")
    return figure
