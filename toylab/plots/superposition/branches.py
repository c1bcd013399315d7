"""First-order changes: the losses of two or more kinds of solutions over a parameter, and where the winner switches."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, pictured, style
from toylab.plots.phase import edges

FAINT = 0.35
VARIED, OTHERS = "#CC79A7", "#777777"  # features in the pictures, in no colour of a branch


class Branch(NamedTuple):
    """One kind of solution: loss [R, N] of the runs that found it at x [N], nan of the others, and exact curves of it,
    each (x [K], loss [K])."""

    loss: np.ndarray
    exact: Sequence[tuple[np.ndarray, np.ndarray]] = ()


@style.house
def branches(
    x: np.ndarray,
    found: Mapping[str, Branch],
    xlabel: str,
    ylabel: str,
    *,
    switch: float | None = None,
    closed: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    pictures: Mapping[float, np.ndarray] | None = None,
    falling: bool = False,
) -> Figure:
    """Every run as a pale dot, the best run of each branch at each x joined by a line, exact curves dashed.

    Args:
        x: [N], rising, on a log axis.
        found: By name.
        xlabel: Of the axis.
        ylabel: Of the axis.
        switch: Where the winner changes; a line stands there.
        closed: Curves (x, loss) of closed forms by name, which may leave the axes.
        pictures: Features W [n, 2] by the x over which they are shown, the first (the one that is varied) in another
            colour.
        falling: Whether the axis falls, as for densities in all figures here.

    Raises:
        ValueError: For x that does not rise, and losses of another shape.
    """
    if x.ndim != 1 or (np.diff(x) <= 0).any():
        raise ValueError("x must rise")
    for name, branch in found.items():
        if branch.loss.ndim != 2 or branch.loss.shape[1] != len(x):
            raise ValueError(
                f"loss of {name!r} has shape {branch.loss.shape}; with {len(x)} values of x it is [R, {len(x)}]"
            )
    if pictures:
        n = len(next(iter(pictures.values())))
        figure, ax = pictured.axes(pictures, np.array([to_rgb(VARIED), *[to_rgb(OTHERS)] * (n - 1)]), falling)
    else:
        figure, (ax,) = style.panels(style.COLUMN, 3.2)
    handles = []
    for (name, branch), color in zip(found.items(), style.SERIES, strict=False):
        runs = len(branch.loss)
        ax.plot(np.tile(x, runs), branch.loss.ravel(), "o", ms=2, color=color, mew=0, alpha=FAINT)
        best = np.where(np.isfinite(branch.loss), branch.loss, np.inf).min(axis=0)
        held = np.isfinite(best)
        ax.plot(x[held], best[held], "-o", ms=3.5, mec="white", mew=0.4, color=color, zorder=4)
        for at, loss in branch.exact:
            ax.plot(at, loss, color=color, lw=1, ls=(0, (3, 2)), zorder=2)
        handles.append(Line2D([], [], color=color, marker="o", ms=3.5, label=name))
    if any(branch.exact for branch in found.values()):
        handles.append(Line2D([], [], color="#555555", lw=1, ls=(0, (3, 2)), label="exact minimum"))
    for (name, (at, loss)), dots in zip((closed or {}).items(), ((0, (1, 1)), (0, (5, 1, 1, 1))), strict=False):
        (line,) = ax.plot(at, loss, color="#444444", lw=1, ls=dots, zorder=1.5, label=name)
        handles.append(line)
    ends = edges(x)[[-1, 0]] if falling else edges(x)[[0, -1]]
    ax.set_xscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=ends)
    losses = np.concatenate([branch.loss.ravel() for branch in found.values()])
    if np.isfinite(losses).any():
        low, high = np.nanmin(losses), np.nanmax(losses)
        ax.set_ylim(low - 0.08 * (high - low), high + 0.15 * (high - low))
    labels.log_numbers(ax.xaxis)
    if switch is not None and np.isfinite(switch):
        ax.axvline(switch, color="#555555", lw=0.7, ls=(0, (1, 2)), zorder=1)
        handles.append(Line2D([], [], color="#555555", lw=0.7, ls=(0, (1, 2)), label=f"switch: {switch:.2g}"))
    if pictures:
        handles.append(Line2D([], [], color=VARIED, marker="o", ms=3.5, label="the varied feature"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=-(-len(handles) // 2) if pictures else 1,
        frameon=False,
        fontsize=labels.SMALL,
        handlelength=1.6,
        columnspacing=1.2,
    )
    return figure


KINDS = {  # of two features in one dimension
    "even antipodes": style.SERIES[0],
    "uneven antipodes": style.SERIES[1],
    "both on one side": style.SERIES[2],
}


@style.house
def pair(
    density: np.ndarray, W: np.ndarray, loss: np.ndarray, exact_loss: np.ndarray, exact_norms: np.ndarray, even: float
) -> Figure:
    """Two equally important features in one dimension: losses of the kinds of pairs, and below the norms of the two.

    Losses are divided by V = p/3 − p²/4, the variance of a feature, which is the loss of W = (1, 0).

    Args:
        density: p, rising, [P].
        W: Of the runs at each density, [P, R, 2].
        loss: Their expected losses, [P, R].
        exact_loss: Of the exact minima below an even, an uneven and a one-sided pair, [3, P].
        exact_norms: Of both features there, [3, P, 2].
        even: The difference of norms from which on a pair is uneven.
    """
    if W.shape != (*loss.shape, 2) or loss.shape[:1] != density.shape or exact_norms.shape != (*exact_loss.shape, 2):
        raise ValueError(
            f"W has shape {W.shape} and loss {loss.shape}; with {len(density)} densities they are [P, R, …]"
        )
    norms = -np.sort(-np.abs(W), axis=-1)
    opposite, apart = W.prod(axis=-1) < 0, np.ptp(norms, axis=-1) >= even
    variance = density / 3 - density**2 / 4
    figure, (above, below) = style.panels(style.COLUMN, 4.6, rows=2)
    of_kind = opposite & ~apart, opposite & apart, ~opposite
    far = (
        np.ptp(exact_norms, axis=-1) >= even
    )  # where a descent from one kind ended in another, that kind is no minimum
    stays = np.stack([~far[0], far[1], np.ones_like(far[2])])
    exact_loss, exact_norms = np.where(stays, exact_loss, np.nan), np.where(stays[..., None], exact_norms, np.nan)
    for color, mine, curve, exact in zip(KINDS.values(), of_kind, exact_loss, exact_norms, strict=True):
        at = np.broadcast_to(density[:, None], loss.shape)[mine]
        dots: dict[str, Any] = {"color": color, "ms": 2, "mew": 0, "alpha": FAINT}
        dashed: dict[str, Any] = {"color": color, "lw": 1, "ls": (0, (3, 2))}
        above.plot(at, (loss / variance[:, None])[mine], "o", **dots)
        above.plot(density, curve / variance, **dashed)
        for i in range(2):
            below.plot(at, norms[mine][:, i], "o", **dots)
            below.plot(density, -np.sort(-exact, axis=-1)[:, i], **dashed)
    above.axhline(1, color="#444444", lw=0.8, ls=(0, (5, 1, 1, 1)), zorder=1)
    shown = np.concatenate([exact_loss.ravel() / np.tile(variance, len(exact_loss)), [1.0]])
    low, high = np.nanmin(shown), np.nanmax(shown)
    room = 0.1 * (high - low)
    above.set(ylabel="expected loss / $V$", ylim=(low - room, high + room))
    below.set(ylabel="norms of the two features", ylim=(0, 1.1), xlabel="density $p$ = 1 − $S$")
    above.tick_params(labelbottom=False)
    for ax, mark in ((above, "a"), (below, "b")):
        ax.set_xlim(*map(float, edges(density)[[0, -1]]))
        style.letter(ax, mark, lift=2)
    handles = [Line2D([], [], color=color, marker="o", lw=0, ms=3.5, label=name) for name, color in KINDS.items()]
    handles += [
        Line2D([], [], color="#555555", lw=1, ls=(0, (3, 2)), label="exact minimum"),
        Line2D([], [], color="#444444", lw=0.8, ls=(0, (5, 1, 1, 1)), label="$V$: $W$ = (1, 0)"),
    ]
    put: dict[str, Any] = {"loc": "outside lower center", "ncols": 2, "frameon": False, "handlelength": 1.6}
    figure.legend(handles=handles, fontsize=labels.SMALL, columnspacing=1.2, **put)
    return figure
