"""What sparse autoencoders recover of known features: over the L1 coefficient, against sparsity, and through training.

MMCS is the mean over true features of the largest cosine with a dictionary row; its floor, what a random dictionary
of the same size has, is drawn wherever it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure

from toylab.plots import labels, style

TRUE = "#444444"  # lines of what is true of the data
MARKERS = "Ds^"
LEAST_L0 = 1  # below, next to nothing is reconstructed and there is nothing to trade
INK = ListedColormap(colormaps["viridis_r"](np.linspace(0.12, 1, 256)))  # without the yellow that is pale on white
L1_LABEL = "l1 · features / latents"


class Sweep(NamedTuple):
    """One size of dictionary over a grid of l1 [L], for S seeds."""

    l1: np.ndarray  # [L], in proportion to the pressure on each latent
    mmcs: np.ndarray  # [S, L]
    share: np.ndarray  # [S, L], of features recovered
    l0: np.ndarray  # [S, L]
    fvu: np.ndarray  # [S, L]
    dead: np.ndarray  # [S, L], share of latents
    floor: float
    floor_std: float


class Points(NamedTuple):
    """Other autoencoders, [N] runs."""

    l0: np.ndarray
    fvu: np.ndarray
    mmcs: np.ndarray


def _check(sweeps: Mapping[str, Sweep]) -> None:
    if not 0 < len(sweeps) <= len(style.SERIES):
        raise ValueError(f"sweeps has {len(sweeps)} entries; 1 to {len(style.SERIES)} can be told apart")
    for name, sweep in sweeps.items():
        for field in ("mmcs", "share", "l0", "fvu", "dead"):
            values = getattr(sweep, field)
            if values.ndim != 2 or values.shape[1:] != sweep.l1.shape:
                raise ValueError(
                    f"{name}: {field} has shape {values.shape}; with {len(sweep.l1)} values of l1 it is [S, L]"
                )


def _median_and_runs(ax: Axes, x: np.ndarray, values: np.ndarray, color: str) -> None:
    """The median over seeds as a line, every run as a dot. x [L] or, where it is measured too, [S, L]."""
    ax.plot(
        np.broadcast_to(x, values.shape).ravel(), values.ravel(), "o", ms=2.2, color=color, mew=0, alpha=0.6, zorder=3
    )
    middle = np.median(x, axis=0) if x.ndim == 2 else x
    ax.plot(middle, np.median(values, axis=0), color=color, zorder=4)


def _floors(ax: Axes, sweeps: Mapping[str, Sweep]) -> None:
    for sweep, color in zip(sweeps.values(), style.SERIES, strict=False):
        ax.axhspan(sweep.floor - 2 * sweep.floor_std, sweep.floor + 2 * sweep.floor_std, color=color, alpha=0.12, lw=0)
        ax.axhline(sweep.floor, color=color, lw=0.7, ls=(0, (4, 2)), zorder=1)


def _log_x(ax: Axes, values: np.ndarray, label: str) -> None:
    ax.set_xscale("log")
    low, high = values.min(), values.max()
    room = (high / low) ** 0.04 if high > low else 1.5
    ax.set(xlim=(low / room, high * room), xlabel=label)
    labels.log_numbers(ax.xaxis)


@style.house
def over_l1(sweeps: Mapping[str, Sweep]) -> Figure:
    """MMCS, share of features recovered and dead latents over l1, a line for each size of dictionary."""
    _check(sweeps)
    figure, axes = style.panels(style.PAGE, 2.5, columns=3)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.08)  # inches, for the letters beside the neighbours' axes
    panels = {"mmcs": "MMCS", "share": "share of features recovered", "dead": "share of dead latents"}
    for ax, (field, name), mark in zip(axes, panels.items(), "abc", strict=True):
        for sweep, color in zip(sweeps.values(), style.SERIES, strict=False):
            _median_and_runs(ax, sweep.l1, getattr(sweep, field), color)
        _log_x(ax, np.concatenate([sweep.l1 for sweep in sweeps.values()]), L1_LABEL)
        ax.set(ylim=(-0.03, 1.03), ylabel=name)
        style.letter(ax, mark, lift=2)
    _floors(axes[0], sweeps)
    _names(axes[-1], [sweep.dead[:, -1] for sweep in sweeps.values()], sweeps)
    style.note(
        figure, "lines: medians over seeds; dots: runs; dashed: MMCS of a random dictionary of that size, ± 2 s.d."
    )
    return figure


def _names(ax: Axes, ends: Sequence[np.ndarray], names: Iterable[str]) -> None:
    """Each line's name where it ends: [S] over seeds, each."""
    labels.MarginLabels(ax, "right", np.array([np.median(end) for end in ends]), list(names), style.SERIES[: len(ends)])


@style.house
def frontier(sweeps: Mapping[str, Sweep], others: Mapping[str, Points], true_l0: float, same_size: int) -> Figure:
    """FVU and MMCS against L0, where it is at least 1.

    Args:
        sweeps: By size of dictionary.
        others: Up to three, of the size of dictionary, and so the colour, of sweep number `same_size`.
        true_l0: Of the data.
        same_size: See `others`.
    """
    _check(sweeps)
    if len(others) > len(MARKERS):
        raise ValueError(f"others has {len(others)} entries; {len(MARKERS)} can be told apart")
    l0 = np.concatenate([sweep.l0.ravel() for sweep in sweeps.values()] + [points.l0 for points in others.values()])
    if not (l0 >= LEAST_L0).any():
        raise ValueError(
            f"L0 is at most {np.max(l0, initial=0):.3g}: no dictionary has {LEAST_L0:g} latent on in the mean"
        )
    figure, axes = style.panels(style.PAGE, 2.7, columns=2)
    for ax, field, mark in zip(axes, ("fvu", "mmcs"), "ab", strict=True):
        for sweep, color in zip(sweeps.values(), style.SERIES, strict=False):
            alive = np.median(sweep.l0, axis=0) >= LEAST_L0
            _median_and_runs(ax, sweep.l0[:, alive], getattr(sweep, field)[:, alive], color)
        for (name, points), marker in zip(others.items(), MARKERS, strict=False):
            look: dict[str, Any] = {"ms": 4, "color": style.SERIES[same_size], "mec": "black", "mew": 0.6, "zorder": 5}
            ax.plot(points.l0, getattr(points, field), marker, label=name, **look)
        _log_x(ax, l0[l0 >= LEAST_L0], "L0 (latents on in a sample)")
        ax.axvline(true_l0, color=TRUE, lw=0.7, ls=(0, (1, 2)), zorder=1)
        style.letter(ax, mark, lift=2)
    axes[0].set(yscale="log", ylabel="FVU")
    labels.log_numbers(axes[0].yaxis)
    axes[1].set(ylim=(-0.03, 1.03), ylabel="MMCS")
    _floors(axes[1], sweeps)
    _names(axes[1], [sweep.mmcs[:, 0] for sweep in sweeps.values()], sweeps)
    axes[1].legend(loc="lower right", frameon=False, fontsize=labels.SMALL, handletextpad=0.2)
    style.note(
        figure, "lines: medians over seeds; dotted: features on in a sample; dashed: MMCS of random dictionaries"
    )
    return figure


@style.house
def training(
    steps: np.ndarray, l1: np.ndarray, mmcs: np.ndarray, l0: np.ndarray, floor: float, true_l0: float
) -> Figure:
    """MMCS and L0 over steps of one autoencoder for each l1, coloured by it.

    Args:
        steps: [T].
        l1: [L].
        mmcs: [L, T].
        l0: [L, T].
        floor: MMCS of a random dictionary.
        true_l0: Of the data.
    """
    for name, values in {"mmcs": mmcs, "l0": l0}.items():
        if values.shape != (len(l1), len(steps)):
            raise ValueError(f"{name} has shape {values.shape}; here it is [L, T] = {(len(l1), len(steps))}")
    figure, axes = style.panels(style.PAGE, 2.6, columns=2)
    ramp = ScalarMappable(LogNorm(l1.min(), l1.max()), INK)
    for ax, values, name, level, mark in zip(
        axes, (mmcs, l0), ("MMCS", "L0 (latents on in a sample)"), (floor, true_l0), "ab", strict=True
    ):
        style.step_axis(ax, steps, "log")
        for each, line in zip(l1, values, strict=True):
            ax.plot(steps, line, color=ramp.to_rgba(each))
        ax.axhline(level, color=TRUE, lw=0.8, ls=(0, (4, 2)))
        ax.set_ylabel(name)
        style.letter(ax, mark, lift=2)
    axes[0].set_ylim(-0.03, 1.03)
    axes[1].set_ylim(bottom=0)
    bar = figure.colorbar(ramp, ax=axes, label=L1_LABEL, pad=0.01, aspect=25)
    style.ticks(bar.ax)
    labels.log_numbers(bar.ax.yaxis)
    style.note(figure, "dashed: a, a random dictionary of the same size; b, the features on in a sample")
    return figure
