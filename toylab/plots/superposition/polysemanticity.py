"""Polysemantic neurons: collisions by chance, sparsity under noise and l1, neurons that answer to one feature alone."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from toylab.plots import labels, style

EXACT, LIMIT = "#222222", "#8A8A8A"
DASHED = (0, (4, 2))


def _log(ax: Axes, axes: str) -> None:
    for name in axes:
        getattr(ax, f"set_{name}scale")("log")
        labels.log_numbers(getattr(ax, f"{name}axis"))


@style.house
def allocation(one_over_density: np.ndarray, capacity: np.ndarray, n_hidden: int) -> Figure:
    """How m dimensions are shared out: the capacity of each feature over sparsity, and what it sums to.

    Args:
        one_over_density: 1/(1 − S), rising, [N].
        capacity: Features from the most important on, [R, N, n].
        n_hidden: m.

    Raises:
        ValueError: For capacities of another shape.
    """
    if capacity.ndim != 3 or capacity.shape[1:2] != one_over_density.shape:
        raise ValueError(f"capacity has shape {capacity.shape}; with {len(one_over_density)} levels it is [R, N, n]")
    figure, (shares, kinds) = style.panels(style.PAGE, 2.7, columns=2)
    mean = capacity.mean(axis=0)
    image = shares.imshow(mean.T, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
    shares.set(xlabel="1/(1 − S)", ylabel="feature, by importance")
    shares.set_xticks(range(len(one_over_density)), [f"{float(f'{value:.3g}'):,g}" for value in one_over_density])
    shares.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    bar = figure.colorbar(image, ax=shares, label="capacity C")
    bar.outline.set_linewidth(0.6)
    bar.ax.tick_params(**style.TICKS)
    rows = {
        "dedicated": (capacity > 0.95).sum(axis=2),
        "shared": ((capacity > 0.05) & (capacity <= 0.95)).sum(axis=2),
        "sum of C": capacity.sum(axis=2),
    }
    for (name, values), color in zip(rows.items(), ("#0072B2", "#D55E00", "#222222"), strict=True):
        _runs(kinds, one_over_density, values, color, DASHED if name == "sum of C" else "-")
    kinds.set(xlabel="1/(1 − S)", ylabel="features")
    kinds.set_ylim(bottom=0)
    _log(kinds, "x")
    ends = np.array([values[:, -1].mean() for values in rows.values()])
    labels.MarginLabels(kinds, "right", ends, list(rows), ["#0072B2", "#D55E00", "#222222"])
    style.letter(shares, "a")
    style.letter(kinds, "b")
    style.note(
        figure, f"means of {len(capacity)} runs; {n_hidden} dimensions; dedicated: C > 0.95, shared: 0.05 to 0.95"
    )
    return figure


def _runs(ax: Axes, x: np.ndarray, values: np.ndarray, color: str, dashes: object = "-") -> None:
    """Every run as a pale line, their mean as a strong one."""
    for run in values:
        ax.plot(x, run, color=color, lw=0.5, alpha=0.35)
    ax.plot(x, values.mean(axis=0), color=color, ls=dashes)


@style.house
def collisions(n_neurons: np.ndarray, counts: np.ndarray, exact: np.ndarray, limit: np.ndarray) -> Figure:
    """Polysemantic neurons by width: each run, the mean with two standard errors, and what chance predicts.

    Args:
        n_neurons: [N].
        counts: [R, N].
        exact: At finite width, [N].
        limit: For many neurons, [N].
    """
    for name, value in {"exact": exact, "limit": limit, "counts": counts.T}.items():
        if len(value) != len(n_neurons):
            raise ValueError(f"{name} has {len(value)} widths; n_neurons has {len(n_neurons)}")
    figure, (ax,) = style.panels(style.COLUMN, 2.7)
    blue = style.SERIES[0]
    rng = np.linspace(-0.012, 0.012, len(counts))
    for run, shift in zip(counts, rng, strict=True):
        ax.plot(n_neurons * (1 + shift), run, "o", ms=2, color=blue, mew=0, alpha=0.3)
    error = 2 * counts.std(axis=0, ddof=1) / len(counts) ** 0.5 if len(counts) > 1 else np.zeros(len(n_neurons))
    ax.errorbar(n_neurons, counts.mean(axis=0), error, fmt="o", ms=4, color=blue, mec="white", mew=0.4, lw=1)
    ax.plot(n_neurons, limit, color=LIMIT, lw=1, ls=DASHED)
    ax.plot(n_neurons, exact, color=EXACT, lw=1.1)
    ax.set(xlabel="neurons m", ylabel="polysemantic neurons")
    ax.set_xscale("log", base=2)
    ax.set_xticks(n_neurons, [str(int(m)) for m in n_neurons])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    key = ax.legend(ax.lines[-2:], ["chance, many neurons: n²/4m", "chance, finite m"], frameon=False)
    for text, color in zip(key.get_texts(), (LIMIT, EXACT), strict=True):
        text.set(color=color, fontsize=labels.SMALL)
    style.note(figure, f"pale: {len(counts)} runs a width; dots: means with two standard errors")
    return figure


@style.house
def fourth_norms(steps: np.ndarray, kinds: Mapping[str, np.ndarray], random: float) -> Figure:
    """Σw⁴ of a feature, mean over features, through training.

    Args:
        steps: [T].
        kinds: By kind of noise, [R, T].
        random: Its value at the start.
    """
    figure, (ax,) = style.panels(style.COLUMN, 2.7)
    for (_, values), color in zip(kinds.items(), style.SERIES, strict=False):
        _runs(ax, steps, values, color)
    ax.axhline(random, color=LIMIT, lw=0.6, ls=DASHED, zorder=1)
    style.step_axis(ax, steps, "linear")
    ax.set(ylabel="Σ w⁴ of a feature", ylim=(0, 1))
    ends = np.array([values[:, -1].mean() for values in kinds.values()])
    labels.MarginLabels(ax, "right", ends, list(kinds), list(style.SERIES[: len(kinds)]))
    runs = len(next(iter(kinds.values())))
    style.note(figure, f"strong: mean of {runs} runs; dashed: 3/m, a random vector")
    return figure


@style.house
def decay(time: np.ndarray, measured: Mapping[str, np.ndarray], theory: Mapping[str, np.ndarray]) -> Figure:
    """Quantities that fall with time, and what theory says of each. Time 0 is left out by the log axis.

    Args:
        time: [T].
        measured: By name, [R, T].
        theory: By name, [T].
    """
    figure, axes = style.panels(style.PAGE, 2.6, columns=len(measured))
    later = time > 0
    for ax, (name, values), color, mark in zip(axes, measured.items(), style.SERIES, "abc", strict=False):
        ax.plot(time[later], theory[name][later], color=LIMIT, lw=1, ls=DASHED)
        for run in values:
            ax.plot(time[later], run[later], color=color, lw=0.9, alpha=0.7)
        _log(ax, "xy")
        ax.set(xlabel="time t", ylabel=name)
        style.letter(ax, mark)
    runs = len(next(iter(measured.values())))
    style.note(figure, f"{runs} runs; dashed: prediction 1/(1/√m + λt), squared in a")
    return figure


@style.house
def monosemantic(steps: np.ndarray, share: Mapping[str, np.ndarray], neurons: Mapping[str, np.ndarray]) -> Figure:
    """Monosemantic neurons per feature through training, and how monosemantic the neurons are at the end.

    Args:
        steps: [T].
        share: Neurons above the threshold over features, by the name of a way to start, [R, T].
        neurons: By the same names, [R, k].
    """
    figure, (through, end) = style.panels(style.PAGE, 2.6, columns=2)
    for (name, values), color in zip(share.items(), style.SERIES, strict=False):
        _runs(through, steps, values, color)
        ordered = -np.sort(-neurons[name], axis=1)
        _runs(end, np.arange(1, ordered.shape[1] + 1), ordered, color)
    style.step_axis(through, steps, "log")
    through.set(ylabel="monosemantic neurons per feature")
    through.set_ylim(bottom=0)
    end.set(xlabel="neuron, by rank", ylabel="largest share of a feature", ylim=(0, 1.02))
    colors = list(style.SERIES[: len(share)])
    labels.MarginLabels(through, "right", np.array([v[:, -1].mean() for v in share.values()]), list(share), colors)
    style.letter(through, "a")
    style.letter(end, "b")
    runs = len(next(iter(share.values())))
    style.note(figure, f"strong: mean of {runs} runs; pale: each run")
    return figure
