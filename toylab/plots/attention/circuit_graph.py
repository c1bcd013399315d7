"""Circuits found by automatic discovery, as graphs of edges between senders and receivers.

Nodes and edges are named as in analysis/attention/edges.py: senders embed, pos, 0.0 (head 0 of layer 0), mlp0; receivers
0.0.q, 0.0.k, 0.0.v, mlp0.in, out. Masks and values of edges are [S, R].
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from toylab.plots import labels, style

INTO = {"q": style.SERIES[0], "k": style.SERIES[1], "v": style.SERIES[2], "": "#444444"}  # colours as in composition.py
MISSED, FALSE = "#9A9A9A", style.SERIES[3]
PORTS = {"q": -0.2, "k": 0.0, "v": 0.2, "in": 0.0, "": 0.0}
BOX = (0.62, 0.34)
STAGGER = 0.22  # by which layers lie to the left and to the right in turn, so that edges pass beside the boxes between


class Found(NamedTuple):
    """A circuit to draw: bool [S, R] of the edges found; the true ones, if known; the weight of each, if it has one."""

    kept: np.ndarray
    true: np.ndarray | None = None
    weight: np.ndarray | None = None


def _nodes(senders: Sequence[str], receivers: Sequence[str], shown: np.ndarray) -> dict[str, tuple[float, float]]:
    """Where the centre of each node that has an edge lies: layers above each other, embed on the left, pos on the right."""
    used = {name for name, row in zip(senders, shown, strict=True) if row.any()}
    used |= {_node(name)[0] for name, column in zip(receivers, shown.T, strict=True) if column.any()}
    places: dict[str, tuple[float, float]] = {}
    rows: dict[str, list[str]] = {}
    for name in (*senders, "out"):
        if name in used and name not in ("embed", "pos"):
            rows.setdefault(name.split(".")[0], []).append(name)
    widest = max((len(names) for names in rows.values()), default=1)
    for y, names in enumerate(rows.values(), 1):
        aside = 0 if names == ["out"] else STAGGER * (-1) ** (y + 1)
        for i, name in enumerate(names):
            places[name] = (i - (len(names) - 1) / 2 + aside, float(y))
    side = (widest - 1) / 2 + 0.95
    places |= {name: (x, 0.0) for name, x in (("embed", -side), ("pos", side)) if name in used}
    return places


def _node(receiver: str) -> tuple[str, str]:
    """1.0.k → 1.0 and k; mlp0.in → mlp0 and in; out → out and nothing."""
    name, _, port = receiver.rpartition(".")
    return (name, port) if name else (receiver, "")


def _box(ax: Axes, name: str, x: float, y: float) -> None:
    head = name[0].isdigit()
    corner = (x - BOX[0] / 2, y - BOX[1] / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner, *BOX, boxstyle="round,pad=0,rounding_size=0.06", fc="white", ec="black", lw=0.7, zorder=3
        )
    )
    put: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    shown = "L{}H{}".format(*name.split(".")) if head else name.replace("mlp", "MLP ")
    ax.text(x, y, shown, fontsize=labels.SMALL, **put)


def _edge(ax: Axes, start: tuple[float, float], end: tuple[float, float], **style_: Any) -> None:
    """Up in the sender's own lane, then over to the receiver's port."""
    (x0, y0), (x1, y1) = (start[0], start[1] + BOX[1] / 2), (end[0], end[1] - BOX[1] / 2)
    turn = max(y1 - 0.75, y0)
    lane = [(x0, y0), (x0, turn), (x0, (turn + y1) / 2 + 0.1), (x1, (turn + y1) / 2 - 0.1), (x1, y1)]
    codes = [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    ax.add_patch(PathPatch(Path(lane, codes), fc="none", capstyle="butt", **style_))


def _circuit(ax: Axes, senders: Sequence[str], receivers: Sequence[str], found: Found, shown: np.ndarray) -> None:
    places = _nodes(senders, receivers, shown)
    true = found.kept if found.true is None else found.true
    top = 1.0 if found.weight is None else float(np.max(found.weight[found.kept], initial=1e-12))
    for s, r in np.argwhere(found.kept | true):
        node, port = _node(receivers[r])
        x, y = places[node]
        width = 1.3 if found.weight is None else 0.5 + 4 * float(found.weight[s, r]) / top
        look: dict[str, Any] = {"color": INTO[port if port in INTO else ""], "lw": width, "zorder": 2}
        if not found.kept[s, r]:
            look = {"color": MISSED, "lw": 1.0, "ls": (0, (2, 1.5)), "zorder": 1}
        elif not true[s, r]:
            look["color"] = FALSE
        _edge(ax, places[senders[s]], (x + PORTS[port], y), **look)
    for name, (x, y) in places.items():
        _box(ax, name, x, y)
    xs, ys = zip(*places.values(), strict=True) if places else ((0.0,), (0.0,))
    ax.set(xlim=(min(xs) - 0.4, max(xs) + 0.4), ylim=(min(ys) - 0.3, max(ys) + 0.3), xticks=[], yticks=[])
    ax.set_axis_off()


@style.house
def circuits(senders: Sequence[str], receivers: Sequence[str], panels: Mapping[str, Found], weighs: str = "") -> Figure:
    """One graph a panel, bottom to top.

    Edges found have the colour of what they enter. Where the truth is known, edges that are missed are dashed and edges
    that are false are pink. Nodes without an edge in any panel are left out.

    Args:
        senders: Names.
        receivers: Names.
        panels: By title.
        weighs: What widths mean.

    Raises:
        ValueError: For a mask or weight of another shape than [S, R].
    """
    for name, found in panels.items():
        for value in (found.kept, found.true, found.weight):
            if value is not None and value.shape != (len(senders), len(receivers)):
                raise ValueError(
                    f"{name} has shape {value.shape}; it is [{len(senders)} senders, {len(receivers)} receivers]"
                )
    shown = np.any(
        [found.kept | (found.kept if found.true is None else found.true) for found in panels.values()], axis=0
    )
    n_rows = len({name.split(".")[0] for name in _nodes(senders, receivers, shown)} - {"embed", "pos"})
    figure, axes = style.panels(style.PAGE if len(panels) > 1 else style.COLUMN, 0.55 * n_rows + 1.0, len(panels))
    for ax, (title, found) in zip(axes, panels.items(), strict=True):
        _circuit(ax, senders, receivers, found, shown)
        ax.set_title(title, fontsize=8, pad=3)
    handles = [Line2D([], [], color=INTO[kind], lw=1.6, label=f"into {kind or 'out or MLP'}") for kind in INTO]
    if any(found.true is not None for found in panels.values()):
        handles += [Line2D([], [], color=MISSED, lw=1.0, ls=(0, (2, 1.5)), label="true, not found")]
    if any(found.true is not None and (found.kept & ~found.true).any() for found in panels.values()):
        handles += [Line2D([], [], color=FALSE, lw=1.6, label="found, not true")]
    if any(found.weight is not None for found in panels.values()):
        handles += [Line2D([], [], color="none", label=f"width: {weighs}")]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=labels.SMALL,
        handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
    return figure


def compared(
    senders: Sequence[str], receivers: Sequence[str], masks: Mapping[str, np.ndarray], true: np.ndarray
) -> Figure:
    """What several methods find of one known circuit, a panel each (see `circuits`).

    Args:
        senders: Names.
        receivers: Names.
        masks: By method, the edges found, [S, R].
        true: Mask [S, R] of the true edges.

    Raises:
        ValueError: For a mask of another shape than [S, R].
    """
    return circuits(senders, receivers, {title: Found(kept, true) for title, kept in masks.items()})
