"""The circles on which an embedding places the tokens, one for each key frequency.

The direction of cos k in the embedding is the row F_cos @ W_E, with F_cos [p] the unit cosine
cos(2πk·/p)·√(2/p), and likewise for sin k. Together they span a plane of the residual stream; the tokens are
seen projected on it.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toylab.plots import labels, style

MOST = 9  # circles in one figure, the those with most energy
LABELLED = 6  # tokens numbered in a circle, spread evenly over it
CYCLIC = "twilight"


def plane(W_E: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """Tokens on the plane of frequency k.

    The axes are orthonormal: the first is the direction of cos k, the second the part of the direction of sin k that is
    orthogonal to it (Gram–Schmidt). So distances are not distorted.

    Args:
        W_E: [p, d_model].
        k: The frequency.

    Returns:
        [p, 2] in weight units, and the share (0 … 1) of ‖W_E‖² in that frequency.
    """
    axes, energy = _axes(W_E, k)
    return W_E @ axes, energy / float((W_E**2).sum())


def _axes(W_E: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """The axes [d_model, 2] of `plane`, and the energy in that frequency."""
    p = len(W_E)
    angle = 2 * np.pi * k * np.arange(p) / p
    directions = np.stack([np.cos(angle), np.sin(angle)]) * np.sqrt(2 / p) @ W_E  # [2, d_model]
    basis = np.linalg.qr(directions.T)
    return basis.Q * np.where(np.diag(basis.R) < 0, -1, 1), float((directions**2).sum())


def _number_tokens(ax: Axes, points: np.ndarray, k: int, ring: float) -> None:
    """Number a few tokens, evenly spread in phase k·token mod p, on a ring [radius] outside all points."""
    p = len(points)
    phase = k * np.arange(p) % p
    taken: list[float] = []
    for turn in np.arange(LABELLED) / LABELLED:
        token = int(np.argmin(abs(phase - turn * p)))
        angle = float(np.arctan2(points[token, 1], points[token, 0]))
        if all(np.cos(angle - other) < np.cos(0.6) for other in taken):
            taken.append(angle)
            label = ring * np.array([np.cos(angle), np.sin(angle)])
            ax.plot(*np.stack([points[token], 0.88 * label]).T, color="#8A8A8A", lw=0.4, zorder=1)
            ax.text(label[0], label[1], str(token), fontsize=labels.SMALL, ha="center", va="center_baseline")


def _circle(ax: Axes, points: np.ndarray, share: float, k: int, radius: float) -> None:
    """One panel: the points [p, 2] of frequency k, in a frame that holds `radius` and the labels."""
    p = len(points)
    ax.axhline(0, color="#DDDDDD", lw=0.5, zorder=0)
    ax.axvline(0, color="#DDDDDD", lw=0.5, zorder=0)
    x, y, turns = *points.T, (k * np.arange(p) % p) / p
    ax.scatter(x, y, c=turns, cmap=CYCLIC, vmin=0, vmax=1, s=9, lw=0.3, ec="#444444", zorder=2)
    _number_tokens(ax, points, k, max(0.8 * radius, 1.25 * float(np.hypot(*points.T).max())))
    ax.set(xlim=(-1.5 * radius, 1.5 * radius), ylim=(-1.5 * radius, 1.5 * radius), aspect="equal")
    ax.set_title(f"$k$ = {k}\n{100 * share:.1f} % of energy", fontsize=labels.SMALL)
    ax.locator_params(nbins=4)


def _frames(n: int) -> tuple[Figure, list[Axes], int]:
    """n panels in one row or two, with the number of columns."""
    columns = n if n <= 5 else -(-n // 2)
    rows = -(-n // columns)
    width = style.PAGE if columns > 2 else style.COLUMN
    side = (width - 1.2) / columns  # axes are square; the inches beside them hold labels, titles, colour bar
    figure, axes = style.panels(width, 0.3 + (side + 0.45) * rows, columns, rows)
    for ax in axes[n:]:
        ax.remove()
    return figure, axes[:n], columns


def _nothing(reason: str) -> Figure:
    figure, (ax,) = style.panels(style.COLUMN, 1.2)
    ax.set_axis_off()
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes)
    return figure


@style.house
def embedding_circles(W_E: np.ndarray, key: np.ndarray) -> Figure:
    """Tokens 0 … p−1 on the plane of each key frequency k, coloured by k·token mod p.

    All panels have one scale, in weight units. Of more than nine key frequencies the nine with most energy are drawn.
    Energy is ‖W_E‖², constant component included.

    Args:
        W_E: [p, d_model], without the row of "=".
        key: Mask [p//2 + 1].
    """
    p = len(W_E)
    if W_E.ndim != 2 or key.shape != (p // 2 + 1,):
        raise ValueError(f"W_E {W_E.shape} and key {key.shape} have wrong shapes; [p, d_model] and [p//2 + 1]")
    found = [int(k) for k in np.flatnonzero(key) if 0 < k < p / 2]  # 0 and p/2 have no sine, so no plane
    if not found:
        return _nothing("no key frequency: no circle to draw")
    if not np.isfinite(W_E).all() or not W_E.any():
        return _nothing("the embedding is zero or not finite: no circle to draw")
    planes = {k: plane(W_E, k) for k in found}
    drawn = sorted(sorted(found, key=lambda k: -planes[k][1])[:MOST])
    figure, axes, columns = _frames(len(drawn))
    radius = max(float(np.hypot(*planes[k][0].T).max()) for k in drawn)
    for i, (ax, k) in enumerate(zip(axes, drawn, strict=True)):
        _circle(ax, *planes[k], k, radius)
        ax.tick_params(labelleft=i % columns == 0, labelbottom=i + columns >= len(drawn))
    more = f"\nthe {MOST} strongest of {len(found)} key frequencies" if len(found) > MOST else ""
    figure.supxlabel("along cos $k$ (weight units)" + more, fontsize=8)
    figure.supylabel("along sin $k$ (weight units)", fontsize=8)
    bar = figure.colorbar(axes[0].collections[0], ax=axes, aspect=25, pad=0.02, ticks=[0, 0.5, 1])
    bar.set_label("$k$ · token mod $p$ (turns)")
    bar.ax.tick_params(**style.TICKS)
    return figure


@style.house
def through_training(W_E: np.ndarray, steps: np.ndarray) -> Figure:
    """Tokens, at each step, on the plane of the frequency k that has most energy in the last embedding; one scale for all.

    The plane is that of the last embedding. Colours are k·token mod p. The numbers above are the shares of the variance,
    about the mean token, that lie in the plane.

    Args:
        W_E: [T, p, d_model], without the row of "=".
        steps: [T], at most eight.
    """
    if W_E.ndim != 3 or steps.shape != W_E.shape[:1] or not 1 <= len(steps) <= 8:
        raise ValueError(f"W_E {W_E.shape} and steps {steps.shape} have wrong shapes; [T, p, d_model] and [T], T to 8")
    centred = W_E - W_E.mean(axis=1, keepdims=True)
    if not np.isfinite(centred).all() or not centred[-1].any():
        return _nothing("the last embedding is constant or not finite: no plane to draw")
    p = W_E.shape[1]
    k = 1 + int(np.argmax([_axes(centred[-1], k)[1] for k in range(1, (p + 1) // 2)]))
    points = centred @ _axes(centred[-1], k)[0]  # [T, p, 2]
    total = (centred**2).sum(axis=(1, 2))
    shares = (points**2).sum(axis=(1, 2)) / np.where(total > 0, total, 1)
    figure, axes, columns = _frames(len(steps))
    radius = float(np.hypot(*points.reshape(-1, 2).T).max())
    for i, (ax, step) in enumerate(zip(axes, steps, strict=True)):
        ax.scatter(
            points[i, :, 0],
            points[i, :, 1],
            c=(k * np.arange(p) % p) / p,
            cmap=CYCLIC,
            vmin=0,
            vmax=1,
            s=9,
            lw=0.3,
            ec="#444444",
        )
        ax.set(xlim=(-1.1 * radius, 1.1 * radius), ylim=(-1.1 * radius, 1.1 * radius), aspect="equal")
        ax.set_title(f"step {step:,}\n{100 * shares[i]:.0f} %", fontsize=labels.SMALL)
        ax.locator_params(nbins=3)
        ax.tick_params(labelleft=i % columns == 0, labelbottom=i + columns >= len(steps))
    figure.supxlabel(f"along cos {k} (weight units)", fontsize=8)
    figure.supylabel(f"along sin {k}", fontsize=8)
    bar = figure.colorbar(axes[0].collections[0], ax=axes, aspect=25, pad=0.02, ticks=[0, 0.5, 1])
    bar.set_label(f"{k} · token mod {p} (turns)")
    bar.ax.tick_params(**style.TICKS)
    return figure
