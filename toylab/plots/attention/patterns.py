"""Where heads look and what they write: attention patterns and QK/OV circuits, at one point of training and through it.

Heads are named L<layer>H<head>. Circuits are those of Elhage et al. 2021 (A Mathematical Framework for Transformer
Circuits): QK is W_E W_Q W_Kᵀ W_Eᵀ [query token, key token], OV is W_E W_V W_O W_U [source token, output token].
How heads compose is drawn by composition.py, losses with their limits and scores over training by stages.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from toylab.plots import labels, motion, style

Kind = Literal["pattern", "QK", "OV", "positional QK"]
AXES: dict[Kind, tuple[str, str]] = {  # rows from top to bottom, columns from left to right
    "pattern": ("query", "key"),
    "QK": ("query token", "key token"),
    "OV": ("source token", "output token"),
    "positional QK": ("query position", "key position"),
}
UNITS: dict[Kind, str] = {
    "pattern": "attention",
    "QK": "score\n× √d_head",
    "OV": "logit",
    "positional QK": "score\n× √d_head",
}
UNSEEN = "#E9E9E9"  # keys after the query
MOST_COLUMNS = 12
LINE, GLYPH = 0.125, 0.07  # inches that a tick label takes downwards, and each of its characters along


class Row(NamedTuple):
    """One head through training: values [T, Y, X] of a kind, which gives axes and colours. Labels of Y and X where they
    are not 0, 1, …: tokens [Y = X]."""

    values: np.ndarray
    kind: Kind = "pattern"
    tokens: Sequence[object] = ()


def _check(name: str, values: np.ndarray, axes: str, kind: Kind, tokens: Sequence[object]) -> None:
    if kind not in AXES:
        raise ValueError(f"kind of {name} is {kind!r}; it is one of {', '.join(get_args(Kind))}")
    if values.ndim != len(axes.split()) or not values.size or not np.isfinite(values).all():
        raise ValueError(f"{name} has shape {values.shape}; it is [{axes}], all of it finite")
    if len(tokens) and len(tokens) != values.shape[-1]:
        raise ValueError(f"tokens has {len(tokens)} entries; {name} has {values.shape[-1]}")
    if kind == "pattern" and not ((values >= 0) & (values <= 1 + 1e-5)).all():
        raise ValueError(f"{name} goes from {values.min():.3g} to {values.max():.3g}; attention lies in 0 to 1")


def _image(ax: Axes, values: np.ndarray, kind: Kind, top: float) -> AxesImage:
    """Attention from white (0) to dark (1), a circuit from blue (−top) over white (0) to red (top)."""
    put: dict[str, Any] = {"interpolation": "nearest", "rasterized": True}
    ax.spines[:].set_visible(True)
    ax.spines[:].set_linewidth(0.4)
    if kind != "pattern":
        return ax.imshow(values, cmap="RdBu_r", vmin=-top, vmax=top, **put)
    later = np.triu(np.ones(values.shape, bool), 1)
    causal = not values[later].any()
    ax.set_facecolor(UNSEEN)
    return ax.imshow(np.ma.masked_array(values, later & causal), cmap="Blues", vmin=0, vmax=1, **put)


def _top(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0)) or 1.0


def _ticks(ax: Axes, shape: tuple[int, ...], tokens: Sequence[object], side: float, left: bool, below: bool) -> None:
    """As many of the cells labelled as there is room for on an axes `side` inches wide and high."""
    for axis, n, shown in ((ax.yaxis, shape[0], left), (ax.xaxis, shape[1], below)):
        names = [str(token) for token in tokens] or [str(i) for i in range(n)]
        room = LINE if axis is ax.yaxis else GLYPH * (max(map(len, names)) + 1)
        least = -(-n * max(room, LINE) // side)
        stride = int(
            least if len(tokens) else next(s for k in range(9) for s in (10**k, 2 * 10**k, 5 * 10**k) if s >= least)
        )
        at = np.arange(0, n, stride)
        axis.set_ticks(at, [names[i] for i in at] if shown else [""] * len(at))


def _name(ax: Axes, kind: Kind, side: float, left: bool, below: bool) -> None:
    """Names of the axes; on small ones without "token" or "position"."""
    down, along = (name if GLYPH * len(name) < side else name.split()[0] for name in AXES[kind])
    ax.set(ylabel=down if left else "", xlabel=along if below else "")


def _grid(
    figure: Any, axes: Sequence[Axes], values: np.ndarray, kind: Kind, named: Sequence[object], side: float
) -> None:
    """Layers from top to bottom, each with its colour bar, heads from left to right."""
    n_layers, n_heads, *shape = values.shape
    for layer in range(n_layers):
        row = axes[layer * n_heads : (layer + 1) * n_heads]
        for head, ax in enumerate(row):
            left, below = head == 0, layer == n_layers - 1
            image = _image(ax, values[layer, head], kind, _top(values[layer]))
            _ticks(ax, tuple(shape), named, side, left, below)
            _name(ax, kind, side, left, below)
            ax.set_title(f"L{layer}H{head}", fontsize=labels.SMALL, pad=2)
        if kind != "pattern":
            _bar(figure, image, row, kind)
    if kind == "pattern":
        _bar(figure, image, axes, kind, n_layers)


def _bar(figure: Any, image: AxesImage, axes: Sequence[Axes], kind: Kind, rows: int = 1) -> None:
    bar = figure.colorbar(image, ax=list(axes), label=UNITS[kind], pad=0.015, aspect=14 * rows, fraction=0.05)
    style.ticks(bar.ax)


def _columns(n: int, what: str) -> None:
    if n > MOST_COLUMNS:
        raise ValueError(f"{what} has {n} heads a layer; a page is wide enough for {MOST_COLUMNS}")


@style.house
def patterns(pattern: np.ndarray, tokens: Sequence[object] = ()) -> Figure:
    """The attention of every head on one sequence, from query (rows) to key (columns); what comes later is grey.

    Args:
        pattern: [L, H, P, P], each row a distribution.
        tokens: What stands at each position; else positions are numbered.
    """
    _check("pattern", pattern, "L H P P", "pattern", tokens)
    n_layers, n_heads = pattern.shape[:2]
    _columns(n_heads, "pattern")
    width = style.COLUMN if n_heads <= 2 else style.PAGE
    side = min((width - 1.1) / n_heads - 0.1, 2.0)
    figure, axes = style.panels(width, n_layers * (side + 0.22) + 0.4, n_heads, n_layers)
    _grid(figure, axes, pattern, "pattern", tokens, side)
    return figure


@style.house
def circuits(by_kind: Mapping[Kind, np.ndarray], tokens: Sequence[object] = ()) -> Figure:
    """Circuits of every head as heat maps, white at 0; a block for each kind, a scale for each layer.

    Blocks stand beside each other for up to four heads a layer, else below each other. QK is in units of the attention
    score times √d_head, OV in logits.

    Args:
        by_kind: "QK" and "OV" [L, H, d_vocab, d_vocab], "positional QK" [L, H, P, P]: one or two of them.
        tokens: Names of the tokens of QK and OV.
    """
    if not 1 <= len(by_kind) <= 2:
        raise ValueError(f"by_kind has {len(by_kind)} entries; a figure holds 1 or 2")
    for kind, values in by_kind.items():
        _check(f"by_kind[{kind!r}]", values, "L H Y X", kind, tokens if kind in ("QK", "OV") else ())
        _columns(values.shape[1], f"by_kind[{kind!r}]")
    n_layers, n_heads = (max(values.shape[i] for values in by_kind.values()) for i in (0, 1))
    beside = len(by_kind) if n_heads <= 4 else 1
    width = style.COLUMN if beside == 1 and n_heads <= 2 else style.PAGE
    side = min((width - 0.95 * beside) / (beside * n_heads) - 0.08, 2.0)
    height = n_layers * (side + 0.22) + 0.45
    figure = Figure(
        figsize=(width, height * (len(by_kind) // beside)), dpi=style.HOUSE["savefig.dpi"], layout="constrained"
    )
    blocks = figure.subfigures(len(by_kind) // beside, beside, squeeze=False).flat
    for mark, block, (kind, values) in zip("ab"[: len(by_kind)], blocks, by_kind.items(), strict=True):
        axes = list(block.subplots(*values.shape[:2], squeeze=False).flat)
        for ax in axes:
            style.ticks(ax)
        named = tokens if kind in ("QK", "OV") else ()
        _grid(block, axes, values, kind, named, side)
        if len(by_kind) > 1:
            style.letter(axes[0], mark, f"{kind} circuits", lift=14)
    return figure


@style.house
def strip(rows: Mapping[str, Row], steps: np.ndarray, *, at: Sequence[float] = ()) -> Figure:
    """Patterns or circuits through training: a row for each head, a column for each step, a scale for each row.

    Args:
        rows: By name, such as "L1H0 OV".
        steps: [T].
        at: Columns are the saved points nearest to these steps (at most eight), else six evenly spaced over those saved.
    """
    if not rows:
        raise ValueError("rows is empty; it has at least one")
    for name, row in rows.items():
        _check(name, row.values, "T Y X", row.kind, row.tokens)
        if len(row.values) != len(steps):
            raise ValueError(f"{name} has {len(row.values)} saved points; steps has {len(steps)}")
    chosen = motion.stills(steps, at)
    side = min((style.PAGE - 1.5) / len(chosen) - 0.06, 1.6)
    kinds = [row.kind for row in rows.values()]
    ends = [
        i + 1 == len(rows) or kinds[i] != kinds[i + 1] for i in range(len(rows))
    ]  # rows with an x axis of their own
    height = len(rows) * (side + 0.08) + 0.36 * sum(ends) + 0.25
    figure, axes = style.panels(style.PAGE, height, len(chosen), len(rows))
    for i, (name, row) in enumerate(rows.items()):
        own, top = axes[i * len(chosen) : (i + 1) * len(chosen)], _top(row.values[chosen])
        for column, (ax, point) in enumerate(zip(own, chosen, strict=True)):
            image = _image(ax, row.values[point], row.kind, top)
            _ticks(ax, row.values.shape[1:], row.tokens, side, column == 0, ends[i])
            if i == 0:
                ax.set_title(motion.title(steps[point]), fontsize=labels.SMALL, pad=2)
            _name(ax, row.kind, side, column == 0, ends[i])
        own[0].set_ylabel(f"{name}\n{own[0].get_ylabel()}")
        _bar(figure, image, own, row.kind)
    return figure
