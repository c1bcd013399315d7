"""What a small attack does to a model, and how many features share each of its dimensions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, style

FEATURES, ATTACK, FEW = *style.SERIES[:2], style.SERIES[4]


def _spread(ax: Axes, x: np.ndarray, values: np.ndarray, color: str) -> None:
    """Every run as a pale line, the median over runs as a strong one with a dot a level."""
    for run in values:
        ax.plot(x, run, color=color, lw=0.6, alpha=0.4)
    ax.plot(x, np.median(values, axis=0), "o-", color=color, ms=3, mec="white", mew=0.4)


def _log(ax: Axes, *axes: str) -> None:
    for name in axes:
        getattr(ax, f"set_{name}scale")("log")
        labels.log_numbers(getattr(ax, f"{name}axis"))


@style.house
def vulnerability(
    one_over_density: np.ndarray,
    features: np.ndarray,
    relative: np.ndarray,
    against_dense: np.ndarray | None = None,
    on_few: np.ndarray | None = None,
) -> Figure:
    """Vulnerability and features per dimension over sparsity, against each other, and the comparison that misleads.

    Args:
        one_over_density: 1/(1 − S), from dense to sparse, [N].
        features: 1/D*, [R, N].
        relative: Rise in loss under attack over that of the orthogonal solution at the same ε, [R, N].
        against_dense: The rise over that of the run's first level, at that level's own ε, [R, N]; None: no third panel.
        on_few: As `relative`, where the attack is chosen on few points.
    """
    shape = (len(features), len(one_over_density))
    given = {"features": features, "relative": relative, "against_dense": against_dense, "on_few": on_few}
    for name, value in given.items():
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} has shape {value.shape}; with features [R, N] it is {shape}")
    figure, (over, scatter, *last) = style.panels(style.PAGE, 2.5, columns=2 if against_dense is None else 3)
    lines = {"1/D*": (features, FEATURES), "vulnerability": (relative, ATTACK)}
    if on_few is not None:
        lines["on 128 points"] = (on_few, FEW)
    for values, color in lines.values():
        _spread(over, one_over_density, values, color)
    ends = np.array([np.median(values[:, -1]) for values, _ in lines.values()])
    labels.MarginLabels(over, "right", ends, list(lines), [color for _, color in lines.values()])
    _against(scatter, features, {color: values for values, color in list(lines.values())[:0:-1]})
    over.set(ylabel="ratio to no superposition")
    scatter.set(xlabel="features per dimension 1/D*", ylabel="vulnerability")
    for dense in last:
        _spread(dense, one_over_density, np.asarray(against_dense), "#777777")
        dense.set(ylabel="added loss over that at S = 0")
    for ax in (over, *last):
        ax.set(xlabel="1/(1 − S)", ylim=(0, None))
        _log(ax, "x")
    for ax, mark in zip((over, scatter, *last), "abc", strict=False):
        style.letter(ax, mark)
    style.note(figure, f"strong: median of {len(features)} runs; pale: each run; dashed: one for one")
    return figure


def _against(ax: Axes, features: np.ndarray, relative: dict[str, np.ndarray]) -> None:
    end = max(np.max(features), *(np.max(values) for values in relative.values())) * 1.05
    ax.plot([0, end], [0, end], color="#8A8A8A", lw=0.6, ls=(0, (4, 2)), zorder=1)
    for color, values in relative.items():
        for x, y in zip(features, values, strict=True):
            ax.plot(x, y, "o", ms=3, color=color, mew=0, alpha=0.6)
    ax.set(xlim=(0, end), ylim=(0, end))
