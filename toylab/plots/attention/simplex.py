"""Beliefs in their simplex, and beside them what an affine map makes of a network's residuals.

Beliefs and images are [n, states] and sum to 1. Three states have their triangle; the beliefs of more are seen in the plane
of their two largest principal components, where the simplex is a shadow. A point has the colour of its true belief wherever
it is drawn: a mixture of its states' colours, which are told apart in colour blindness unless "rgb" is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from toylab.plots import labels, motion, style

Palette = Literal["safe", "rgb"]
SAFE = (
    "#0072B2",
    "#D55E00",
    "#F0E442",
    "#CC79A7",
    "#009E73",
    "#000000",
)  # Okabe & Ito 2008; three differ in lightness too
RGB = ("#FF0000", "#00FF00", "#0000FF")
EDGE = "#B4B4B4"
MOST_PANELS = 8
SMALLEST, LARGEST = 1.0, 14.0  # areas of points, square points


def colors(beliefs: np.ndarray, palette: Palette = "safe") -> np.ndarray:
    """The mixture of the states' colours with the belief in each as its share.

    Args:
        beliefs: [n, states].
        palette: Of the states.

    Returns:
        [n, 3].
    """
    if palette not in get_args(Palette):
        raise ValueError(f"palette is {palette!r}; it is one of {', '.join(get_args(Palette))}")
    corners = np.array([to_rgb(color) for color in (SAFE if palette == "safe" else RGB)])
    if beliefs.shape[1] > len(corners):
        raise ValueError(
            f"beliefs are over {beliefs.shape[1]} states; the palette {palette!r} has {len(corners)} colours"
        )
    shares = np.clip(beliefs, 0, None)
    return np.clip(shares @ corners[: beliefs.shape[1]] / shares.sum(axis=1, keepdims=True), 0, 1)


def plane(beliefs: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Where the corners of the simplex lie in the plane; a point η lies at η @ corners.

    Three states have the triangle of side 1, the first at the top. More have the two directions in which the beliefs
    vary most.

    Args:
        beliefs: [n, states].
        weight: Of each belief.

    Returns:
        [states, 2].
    """
    if beliefs.shape[1] == 3:
        angle = np.pi / 2 - 2 * np.pi * np.arange(3) / 3
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) / 3**0.5
    weight = np.ones(len(beliefs)) if weight is None else weight
    mean = weight @ beliefs / weight.sum()
    axes = np.linalg.svd(np.sqrt(weight)[:, None] * (beliefs - mean), full_matrices=False)[2][:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])  # else the picture may be mirrored from run to run
    return (np.eye(beliefs.shape[1]) - mean) @ (axes * signs[:, None]).T


def polygon(around: Mapping[str, int]) -> np.ndarray:
    """Corners of a regular polygon for the states, the first at the top, then clockwise.

    Args:
        around: States by name, in the order of the corners.

    Returns:
        [states, 2].
    """
    if sorted(around.values()) != list(range(len(around))):
        raise ValueError(
            f"around has the states {list(around.values())}; each of 0 to {len(around) - 1} has one corner"
        )
    angle = np.pi / 2 - 2 * np.pi * np.argsort(list(around.values())) / len(around)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _check(beliefs: np.ndarray, images: Sequence[np.ndarray], weight: np.ndarray | None) -> None:
    if beliefs.ndim != 2 or beliefs.shape[1] < 3 or not np.allclose(beliefs.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"beliefs have shape {beliefs.shape}; they are [n, 3 or more states], each row summing to 1")
    if not 1 <= len(images) < MOST_PANELS:
        raise ValueError(f"there are {len(images)} images; a page is wide enough for 1 to {MOST_PANELS - 1}")
    for image in images:
        if image.shape != beliefs.shape or not np.isfinite(image).all():
            raise ValueError(
                f"an image has shape {image.shape}; it is that of beliefs, {beliefs.shape}, all of it finite"
            )
    if weight is not None and weight.shape != beliefs.shape[:1]:
        raise ValueError(f"weight has shape {weight.shape}; it is one number for each belief, {beliefs.shape[:1]}")


def _draw(ax: Axes, corners: np.ndarray, points: np.ndarray, inks: np.ndarray, areas: np.ndarray, title: str) -> None:
    """Rare points first, so that the probable ones lie above them."""
    pairs = [(a, b) for i, a in enumerate(corners) for b in corners[i + 1 :]]
    ax.add_collection(LineCollection(pairs, colors=EDGE, linewidths=0.5, zorder=1))
    order = np.argsort(areas, kind="stable")
    x, y = (points @ corners)[order].T
    ax.scatter(x, y, s=areas[order], c=inks[order], linewidths=0, zorder=2)
    ax.set_title(title, fontsize=labels.SMALL, pad=3)
    ax.set(aspect="equal", anchor="S", xticks=[], yticks=[])  # what room is left over goes to the title
    ax.axis("off")


def _row(
    beliefs: np.ndarray,
    images: Mapping[str, np.ndarray],
    weight: np.ndarray | None,
    palette: Palette,
    note: str,
    around: Mapping[str, int] | None = None,
) -> Figure:
    _check(beliefs, list(images.values()), weight)
    corners = plane(beliefs, weight) if around is None else polygon(around)
    inks = colors(beliefs, palette)
    areas = np.full(len(beliefs), SMALLEST if len(beliefs) > 1000 else 3 * SMALLEST)
    if weight is not None:
        areas = SMALLEST + (LARGEST - SMALLEST) * np.sqrt(weight / weight.max())
    every = np.concatenate([corners, *(points @ corners for points in images.values())])
    low, high = every.min(axis=0), every.max(axis=0)
    width = style.COLUMN if len(images) == 1 else style.PAGE
    side = min((width - 0.1) / (len(images) + 1), 2.3)
    lines = 1 + max(title.count("\n") for title in images)
    height = 0.92 * side * (high - low)[1] / (high - low)[0] + 0.14 * lines + 0.35
    figure, axes = style.panels(width, height, len(images) + 1)
    for ax, (title, points) in zip(axes, {"beliefs": beliefs, **images}.items(), strict=True):
        _draw(ax, corners, points, inks, areas, title)
        margin = (0.03 if around is None else 0.1) * (high - low)
        for name, state in (around or {}).items():
            put: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "fontsize": labels.SMALL}
            x, y = 1.1 * corners[state]
            ax.text(x, y, name, **put)
        ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    style.note(figure, note)
    return figure


@style.house
def pictures(
    beliefs: np.ndarray,
    images: Mapping[str, np.ndarray],
    weight: np.ndarray | None = None,
    *,
    palette: Palette = "safe",
    around: Mapping[str, int] | None = None,
) -> Figure:
    """The beliefs beside images of them, all on one scale.

    After the figures of Shai et al. 2024, which colour by red, green and blue.

    Args:
        beliefs: [n, states].
        images: By title, [n, states].
        weight: The probability of each gives the points their area; else all are alike.
        palette: Of the states.
        around: States by name in the order in which they stand round a regular polygon; their names are written there.
            None for `plane`, in which different beliefs over more than three states may have one place.
    """
    note = "a point has the colour of its true belief in every panel"
    if around is not None:
        note = "corners: certain of a state; colour: the true belief"
    return _row(beliefs, images, weight, palette, note, around)


@style.house
def strip(
    beliefs: np.ndarray,
    images: np.ndarray,
    steps: np.ndarray,
    r2: np.ndarray | None = None,
    *,
    at: Sequence[float] = (),
    weight: np.ndarray | None = None,
    palette: Palette = "safe",
) -> Figure:
    """The beliefs, and through training the images of the residuals.

    Args:
        beliefs: [n, states].
        images: [T, n, states].
        steps: [T].
        r2: Of the images, [T].
        at: Panels are the saved points nearest to these steps (at most seven), else five evenly spaced over those saved.
        weight: As of `pictures`.
        palette: Of the states.
    """
    if images.ndim != 3 or len(images) != len(steps):
        raise ValueError(
            f"images have shape {images.shape}; with {len(steps)} steps they are [{len(steps)}, n, states]"
        )
    chosen = motion.stills(steps, at or tuple(np.linspace(steps[0], steps[-1], 5)))
    shown = {}
    for point in chosen:
        said = "" if r2 is None else f"\n$R^2$ = {r2[point]:.3f}"
        shown[motion.title(steps[point]) + said] = images[point]
    return _row(beliefs, shown, weight, palette, "images of the residual stream under its regression to the beliefs")
