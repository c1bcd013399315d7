"""Fourier spectra of the embedding and of the neuron–logit map, through training and at its end.

Spectra are energies by frequency k = 0..p//2: the squared norm of the cosine and the sine component together,
summed over the other axis of the matrix. Drawn is the norm, the square root, as in Nanda et al. 2023 (arXiv
2301.05217).
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, style
from toylab.plots.style import XScale

EMBEDDING, NEURON_LOGIT = "embedding $W_E$", "neuron–logit map $W_L$"
KEY, OTHER = "#D55E00", "#9A9A9A"
FREQUENCY = "frequency $k$ (cycles/$p$)"


def _check(key: np.ndarray, shape: tuple[int, ...], **spectra: np.ndarray) -> None:
    if key.ndim != 1 or key.dtype != bool:
        raise ValueError("key must be one boolean for each frequency [p//2 + 1]")
    for name, spectrum in spectra.items():
        if spectrum.shape != shape:
            raise ValueError(f"{name} has shape {spectrum.shape}; with these steps and keys it is {shape}")


def _note(figure: Figure, key: np.ndarray, *spectra: np.ndarray) -> None:
    keys = f"numbered: the key frequencies ({key.sum()})" if key.any() else "no key frequency"
    style.note(figure, keys + ("" if np.isfinite(spectra).all() else "; not drawn: points without data"))


def edges(steps: np.ndarray) -> np.ndarray:
    """Cell edges [T + 1] half-way between saved points [T]; the outer cells end at the outer points."""
    if len(steps) == 1:
        return np.array([steps[0], steps[0] + 1.0])
    return np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]]).astype(float)


@style.house
def through_training(
    steps: np.ndarray,
    embedding: np.ndarray,
    neuron_logit: np.ndarray,
    key: np.ndarray,
    phases: np.ndarray,
    *,
    xscale: XScale = "linear",
) -> Figure:
    """Heat maps frequency × step of the norm of each Fourier component, for one run, in a double column.

    Points that are nan stay grey.

    Args:
        steps: [T].
        embedding: Energies, [T, p//2 + 1].
        neuron_logit: Energies, [T, p//2 + 1].
        key: Mask [p//2 + 1].
        phases: The step at which each phase ends, [3].
        xscale: Of the steps.
    """
    _check(key, (len(steps), len(key)), embedding=embedding, neuron_logit=neuron_logit)
    figure, axes = style.panels(style.PAGE, 2.6, columns=2)
    names = (EMBEDDING, NEURON_LOGIT)
    units = ("norm (weight units)", "norm (weight units²)")
    for ax, energy, name, unit, mark in zip(axes, (embedding, neuron_logit), names, units, "ab", strict=True):
        style.step_axis(ax, steps, xscale)
        norm = np.sqrt(energy).T  # [p//2 + 1, T]
        varying = norm[1:][np.isfinite(norm[1:])]
        top = float(varying.max(initial=0)) or 1.0
        over = "max" if np.nanmax(norm[0], initial=0) > top else "neither"
        bounds = np.arange(len(key) + 1) - 0.5
        image = ax.pcolormesh(edges(steps), bounds, norm, cmap="viridis", vmin=0, vmax=top, rasterized=True)
        ax.set(ylim=(bounds[0], bounds[-1]), facecolor="#DDDDDD", ylabel=FREQUENCY)
        style.mark_phases(ax, float(steps[0]), phases, fill=False)
        found = np.flatnonzero(key)
        labels.MarginLabels(ax, "right", found, [str(k) for k in found], ["black"] * len(found))
        bar = figure.colorbar(image, ax=ax, label=unit, extend=over, pad=0.02, aspect=25)
        bar.ax.tick_params(**style.TICKS)
        style.letter(ax, mark, name, lift=20)
    _note(figure, key, embedding, neuron_logit)
    return figure


def _bars(ax: Axes, energy: np.ndarray, key: np.ndarray) -> None:
    k, norm = np.arange(len(key)), np.sqrt(np.nan_to_num(energy))
    ax.bar(k, norm, width=0.8, color=np.where(key, KEY, OTHER))
    ax.set(xlabel=FREQUENCY, xlim=(-1, len(key)))
    ax.set_ylim(0, 1.05 * float(norm.max(initial=0)) or 1.0)
    found = np.flatnonzero(key)
    ax.vlines(found, norm[found], ax.get_ylim()[1], color=KEY, lw=0.5, ls=(0, (1, 2)))
    labels.MarginLabels(ax, "top", found, [str(i) for i in found], ["black"] * len(found), reach=6)


@style.house
def final(embedding: np.ndarray, neuron_logit: np.ndarray, key: np.ndarray) -> Figure:
    """Norm of each Fourier component at one point of training; key frequencies are coloured and numbered.

    Args:
        embedding: Energies, [p//2 + 1].
        neuron_logit: Energies, [p//2 + 1].
        key: Mask [p//2 + 1].
    """
    _check(key, key.shape, embedding=embedding, neuron_logit=neuron_logit)
    figure, (left, right) = style.panels(style.PAGE, 2.2, columns=2)
    _bars(left, embedding, key)
    _bars(right, neuron_logit, key)
    left.set_ylabel("norm (weight units)")
    right.set_ylabel("norm (weight units²)")
    style.letter(left, "a", EMBEDDING, lift=17)
    style.letter(right, "b", NEURON_LOGIT, lift=17)
    _note(figure, key, embedding, neuron_logit)
    return figure
