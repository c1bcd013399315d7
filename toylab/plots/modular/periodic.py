"""What is periodic in a network that adds: its neurons, its logits, and what is lost without a frequency."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from toylab.plots import labels, style

KEY, OTHER, GUIDE = "#D55E00", "#9A9A9A", "#555555"
FEW = 6  # runs that are drawn one by one


@style.house
def single_frequency(
    fractions: np.ndarray, excluded: np.ndarray, train_loss: np.ndarray, shown: int = 0, above: float = 0.85
) -> Figure:
    """How many neurons have a single frequency, and the training loss without each key frequency; a double column.

    Args:
        fractions: Of each neuron's variance, the share at its frequency, [R, n].
        excluded: The training loss without a frequency, in nats, [R, p//2 + 1]; nan where it is not key.
        train_loss: With all frequencies, [R].
        shown: The run that is drawn strong.
        above: The share from which on a neuron counts as having a single frequency.
    """
    if fractions.ndim != 2 or excluded.shape[:1] != fractions.shape[:1] or excluded.ndim != 2:
        raise ValueError(f"fractions has shape {fractions.shape} and excluded {excluded.shape}: a row is a run")
    if not 0 <= shown < len(fractions):
        raise ValueError(f"shown is {shown}; the runs are 0 to {len(fractions) - 1}")
    figure, (left, right) = style.panels(style.PAGE, 2.4, columns=2)
    bins = np.linspace(0, 1, 41)
    counts = np.array([100 * np.histogram(own, bins)[0] / max(len(own), 1) for own in fractions])
    left.stairs(counts[shown], bins, fill=True, color=style.SERIES[0], alpha=0.75)
    if len(others := np.delete(counts, shown, axis=0)) > FEW:
        left.stairs(others.max(axis=0), bins, baseline=others.min(axis=0), fill=True, color=OTHER, alpha=0.35, zorder=0)
        left.stairs(np.median(others, axis=0), bins, color=GUIDE, lw=0.8)
    else:
        for own in others:
            left.stairs(own, bins, color=OTHER, lw=0.6)
    left.axvline(above, color=GUIDE, lw=0.8, ls=(0, (4, 2)))
    left.set(xlabel="share of a neuron's variance at its frequency", ylabel="neurons (%)", xlim=(0, 1))
    told = f"beyond {100 * above:.0f} %:\n{_percents(np.mean(fractions > above, axis=1), shown)}"
    left.text(0.03, 0.95, told, transform=left.transAxes, va="top", fontsize=labels.SMALL, linespacing=1.4)
    (_bars if len(excluded) <= FEW else _dots)(right, excluded, train_loss, shown)
    right.set(yscale="log", ylabel="training loss (nats)")
    style.letter(left, "a")
    style.letter(right, "b")
    band = "; grey: range and median of the others" if len(others) > FEW else ""
    style.note(figure, f"strong: run {shown}{band}; blue lines: training loss with all frequencies")
    return figure


def _percents(shares: np.ndarray, shown: int) -> str:
    """The share of the run shown, and those of the others."""
    others = 100 * np.delete(shares, shown)
    each = ", ".join(f"{share:.0f}" for share in others)
    told = f"; others {each} %" if len(others) else ""
    if len(others) > FEW:
        told = f"\n{len(others)} others: {others.min():.0f} to {others.max():.0f} %"
    return f"{100 * shares[shown]:.0f} % of neurons{told}"


def _bars(ax: Axes, excluded: np.ndarray, train_loss: np.ndarray, shown: int) -> None:
    """A bar for each frequency of each run, with its number below."""
    place = 0
    ticks: list[tuple[float, str]] = []
    for run, own in enumerate(excluded):
        for k in np.flatnonzero(np.isfinite(own)):
            ax.bar(place, own[k], width=0.8, color=KEY if run == shown else OTHER)
            ax.hlines(train_loss[run], place - 0.5, place + 0.5, color=style.TRAIN, lw=1)
            ticks.append((place, str(k)))
            place += 1
        place += 1
    ax.set_xlabel("frequency that is left out, by run")
    ax.set_xticks([at for at, _ in ticks], [name for _, name in ticks])
    ax.tick_params(axis="x", labelsize=labels.SMALL, length=0, rotation=90)


def _dots(ax: Axes, excluded: np.ndarray, train_loss: np.ndarray, shown: int) -> None:
    """A column for each run: a dot for each frequency that is left out."""
    for run, own in enumerate(excluded):
        found = own[np.isfinite(own)]
        color = KEY if run == shown else OTHER
        ax.plot(np.full(len(found), run), found, "o", ms=3.2, color=color, zorder=3 if run == shown else 2)
        ax.vlines(run, train_loss[run], found.max(initial=train_loss[run]), color=color, lw=0.5, alpha=0.6)
        ax.hlines(train_loss[run], run - 0.4, run + 0.4, color=style.TRAIN, lw=1)
    ax.set(xlabel="run; a dot: one frequency left out", xlim=(-1, len(excluded)))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


@style.house
def over_pairs(pictures: Mapping[str, np.ndarray], network: str = "") -> Figure:
    """Heat maps over all pairs (a, b), with their energies in the two-dimensional Fourier basis below; a double column.

    Pairs of frequencies with more than 5 % of the energy are named.

    Args:
        pictures: By name, [p, p], rows a and columns b.
        network: Whose they are, for the note.
    """
    if not 1 <= len(pictures) <= 4:
        raise ValueError(f"pictures has {len(pictures)} entries; it has 1 to 4")
    figure, axes = style.panels(style.PAGE, 4.1, columns=len(pictures), rows=2)
    for i, (name, values) in enumerate(pictures.items()):
        top, below = axes[i], axes[len(pictures) + i]
        p = len(values)
        if values.shape != (p, p):
            raise ValueError(f"{name} has shape {values.shape}; it is [p, p]")
        reach = float(np.abs(values - values.mean()).max()) or 1.0
        top.imshow(
            values.T - values.mean(), cmap="RdBu_r", vmin=-reach, vmax=reach, origin="lower", interpolation="none"
        )
        top.set(xlabel="$a$", ylabel="$b$" if not i else "")
        energy = spectrum(values)
        share = energy / (energy.sum() or 1.0)
        below.imshow(np.sqrt(share).T, cmap="viridis", origin="lower", interpolation="none", vmin=0)
        below.set(xlabel="frequency along $a$", ylabel="along $b$" if not i else "")
        style.letter(top, "abcd"[i], name)
        found = sorted(((share[x, y], x, y) for x, y in np.argwhere(share > 0.05)), reverse=True)
        listed = [f"({x}, {y}) {100 * part:.0f} %" for part, x, y in found]
        x, y = free_corner([(x / p * 2, y / p * 2) for _, x, y in found])
        at: dict[str, Any] = {"ha": "right" if x > 0.5 else "left", "va": "top" if y > 0.5 else "bottom"}
        below.text(x, y, "\n".join(listed), transform=below.transAxes, color="white", fontsize=labels.SMALL, **at)
    told = "above: value less its mean; below: root of the share of energy at a pair of frequencies"
    style.note(figure, f"{network}; {told}" if network else told)
    return figure


def free_corner(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The corner of a panel where a line of text for each point hides none of them, or the upper right one.

    Args:
        points: (x, y) in the panel, from 0 to 1. A line of text is a tenth of its height.

    Returns:
        (x, y) of the text's own corner, beside the edges.
    """
    high = 0.05 + 0.1 * len(points)
    corners = {(0.98, 0.97): (True, True), (0.02, 0.97): (False, True), (0.98, 0.03): (True, False)}
    for at, (right, top) in corners.items():
        if not any((x > 0.45 if right else x < 0.55) and (y > 1 - high if top else y < high) for x, y in points):
            return at
    return 0.98, 0.97


def spectrum(values: np.ndarray) -> np.ndarray:
    """The energy of a picture at each pair of frequencies, sines and cosines together.

    Args:
        values: [p, p]; its mean is left out.

    Returns:
        [p//2 + 1, p//2 + 1], by frequency along a and along b.
    """
    p = len(values)
    power = np.abs(np.fft.fft2(values - values.mean())) ** 2 / p**2
    fold = np.minimum(np.arange(p), p - np.arange(p))
    folded = np.zeros((p // 2 + 1, p // 2 + 1))
    np.add.at(folded, (fold[:, None], fold[None, :]), power)
    return folded
