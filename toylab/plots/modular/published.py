"""Networks that others trained, ours beside theirs: the plane of gradient symmetricity and distance irrelevance, how far
our numbers lie from theirs, what explains a circle's logits, and portraits of single networks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

COLOURS = {"pizza": "#D55E00", "clock": "#0072B2", "clock and pizza": "#009E73", "other": "#777777", "none": "#000000"}
NAMES = {"none": "does not solve the task", "other": "neither by its circles"}
PILE = (0.73, 0.79), (0.93, 1.0)  # clock and pizza FVE of nearly all circles that are pizzas
LEAST = 1e-9  # of a difference over its tolerance: what is less is drawn here


class Model(NamedTuple):
    """A network: a letter to write beside it or "", its kind, its circuit; measures by name, ours and theirs (or nan)."""

    letter: str
    kind: str
    circuit: str
    solves: bool
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]


def _marker(model: Model) -> str:
    return "s" if model.kind.startswith("linear") else "o"


def _point(ax: Axes, model: Model, x: str, y: str) -> None:
    """Ours filled (a cross where the task is not solved), a ring about it where theirs is known."""
    at, there = (model.ours[x], model.ours[y]), (model.theirs[x], model.theirs[y])
    ink = COLOURS[model.circuit]
    if model.solves:
        ax.plot(*at, _marker(model), ms=4, color=ink, mec="white", mew=0.4, zorder=4)
    else:
        ax.plot(*at, "x", ms=4.5, mew=1.3, color=ink, zorder=4)
    ax.plot(*there, _marker(model), ms=8, mfc="none", mec="#222222", mew=0.6, zorder=3)
    if model.letter:
        ax.annotate(model.letter, at, (5, 4), textcoords="offset points", weight="bold", zorder=5)


def _key(models: Sequence[Model], alone: bool = True) -> list[Line2D]:
    blank: dict[str, Any] = {"ls": "none", "color": "none"}
    there = [circuit for circuit in COLOURS if any(model.circuit == circuit for model in models)]
    inks = [
        Line2D(
            [], [], ls="none", marker="o" if one != "none" else "x", ms=4, color=COLOURS[one], label=NAMES.get(one, one)
        )
        for one in there
    ]
    shapes = [
        Line2D([], [], **blank, marker="o", ms=4, mec="#555555", label="transformer"),
        Line2D([], [], **blank, marker="s", ms=4, mec="#555555", label="linear model"),
        Line2D([], [], **blank, marker="o", ms=8, mec="#222222", mew=0.6, label="the authors' number"),
    ]
    return [*inks, *shapes]


def _legend(figure: Figure, handles: Sequence[Line2D], columns: int) -> None:
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=labels.SMALL,
        handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip


@style.house
def plane(models: Sequence[Model], table: Mapping[str, np.ndarray]) -> Figure:
    """Gradient symmetricity over distance irrelevance: by the definition, and by the largest incorrect logit.

    Args:
        models: A point each.
        table: The authors' table of runs: attention_rate, gradient_symmetricity, distance_irrelevance_incorrect [N]; or
            empty.
    """
    figure, axes = style.panels(style.PAGE, 3.5, 2)
    y = "gradient_symmetricity"
    xs = ("distance_irrelevance", "distance_irrelevance_incorrect")
    if table:
        drawn = axes[1].scatter(
            table[xs[1]], table[y], c=table["attention_rate"], s=5, lw=0, cmap="cividis", vmin=0, vmax=1, zorder=1
        )
        bar = figure.colorbar(drawn, ax=axes[1], aspect=25, pad=0.02, ticks=[0, 0.5, 1])
        bar.set_label("attention rate of the authors' runs")
        bar.ax.tick_params(**style.TICKS)
    for ax, x, what, mark in zip(axes, xs, ("correct logit", "largest incorrect logit"), "ab", strict=True):
        for model in models:
            _point(ax, model, x, y)
        ax.set(
            xlim=(0, 1.04), ylim=(-0.08, 1.08), xlabel=f"distance irrelevance ({what})", ylabel="gradient symmetricity"
        )
        style.letter(ax, mark, "definition" if ax is axes[0] else "as in the table of runs", lift=3)
    axes[0].axhspan(0.95, 1.08, xmax=0.6, color="#FBE9DD", lw=0, zorder=0)
    axes[0].axhspan(-0.08, 0.7, xmin=0.55, color="#DFEDF7", lw=0, zorder=0)
    axes[0].text(0.04, 0.90, "pizzas", color=COLOURS["pizza"], fontsize=labels.SMALL)
    axes[0].text(0.60, -0.04, "clocks", color=COLOURS["clock"], fontsize=labels.SMALL)
    _legend(figure, _key(models), 4)
    return figure


@style.house
def differences(found: Mapping[str, tuple[np.ndarray, float]], solves: np.ndarray) -> Figure:
    """How far our numbers lie from theirs, over their tolerances, on a log axis.

    Args:
        found: By measure |ours − theirs| of each model [M] (nan: theirs is not known), and its tolerance.
        solves: Whether a model solves the task, [M].
    """
    if any(len(values) != len(solves) for values, _ in found.values()):
        raise ValueError(f"found has other lengths than solves, which has {len(solves)}")
    figure, (ax,) = style.panels(style.COLUMN, 0.6 + 0.24 * len(found))
    rows = np.arange(len(found))[::-1]
    for row, (values, tolerance) in zip(rows, found.values(), strict=True):
        ax.axhline(row, color="#E4E4E4", lw=0.5, zorder=0)
        for which, mark, ink in ((solves, "o", "#0072B2"), (~solves, "x", "#000000")):
            share = np.maximum(values[which] / tolerance, LEAST)
            ax.plot(share, np.full(len(share), row), mark, ms=3.5, color=ink, alpha=0.8, clip_on=False, zorder=3)
    ax.axvline(1, color="#D55E00", lw=1, zorder=1)
    ax.set(xscale="log", xlim=(LEAST, 5), ylim=(-0.6, len(found) - 0.4), xlabel="|ours − the authors'| / tolerance")
    labels.ticks_at(ax.xaxis, 10.0 ** np.arange(-9, 1, 3), ["≤ 10⁻⁹", "10⁻⁶", "10⁻³", "1"])
    told = [f"{name}  (±{tolerance:g})" for name, (_, tolerance) in found.items()]
    ax.set_yticks(rows, told)
    ax.tick_params(axis="y", length=0)
    handles = [Line2D([], [], ls="none", marker="o", ms=3.5, color="#0072B2", label="solves the task")]
    handles += [Line2D([], [], ls="none", marker="x", ms=3.5, color="#000000", label="does not")]
    _legend(figure, handles, 2)
    return figure


@style.house
def explained(models: Sequence[Model]) -> Figure:
    """Share of the logits of one circle alone that a pizza explains, over that which a clock does: four circles a model.

    Shares below 0 are drawn at 0. Where a pizza explains nearly all, the circles lie close: an inset shows them larger.

    Args:
        models: Whose circles are drawn.
    """
    figure, (ax,) = style.panels(style.COLUMN, 4.2)
    ax.plot([0, 1], [0, 1], color="#BBBBBB", lw=0.6, ls=(0, (3, 2)), zorder=0)
    inset = ax.inset_axes((0.42, 0.08, 0.36, 0.4), xlim=PILE[0], ylim=PILE[1])
    style.ticks(inset)
    inset.set(xticks=PILE[0], yticks=PILE[1])
    inset.spines[:].set(visible=True, color="#888888")
    for model in models:
        ours, theirs = (np.maximum(np.stack([of["clock"], of["pizza"]]), 0) for of in (model.ours, model.theirs))
        ink = COLOURS[model.circuit]
        face: dict[str, Any] = {"mec": "white", "mew": 0.4} if model.solves else {"mew": 1.2}
        for on in (ax, inset):
            on.plot(*ours, _marker(model) if model.solves else "x", ms=4, ls="none", color=ink, zorder=4, **face)
            on.plot(*theirs, _marker(model), ms=8, ls="none", mfc="none", mec="#222222", mew=0.5, zorder=3)
    ax.indicate_inset_zoom(inset, edgecolor="#888888", lw=0.6)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    ax.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal", xticks=ticks, yticks=ticks)
    ax.set_xlabel("clock: share of a circle's logits explained")
    ax.set_ylabel("pizza: share of a circle's logits explained")
    _legend(figure, _key(models), 2)
    return figure


@style.house
def portraits(models: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Of each network: its tokens [p, 4] on the first two circles of its embedding, coloured by frequency · token mod p
    (frequencies [≥ 2]), and its correct logit [a + b, a − b]."""
    n = len(models)
    figure, axes = style.panels(style.PAGE, 0.4 + 1.75 * n, 3, n)
    for (name, (scores, frequencies, logit)), row in zip(models.items(), np.array(axes).reshape(n, 3), strict=True):
        p = len(scores)
        for u, ax in enumerate(row[:2]):
            turns = frequencies[u] * np.arange(p) % p / p
            drawn = ax.scatter(
                *scores[:, 2 * u : 2 * u + 2].T, c=turns, cmap="twilight", vmin=0, vmax=1, s=9, lw=0.3, ec="#444444"
            )
            reach = 1.15 * np.abs(scores).max()
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            ax.set(xlabel=f"component {2 * u + 1}", ylabel=f"component {2 * u + 2}")
            ax.set_title(f"circle {u + 1}: k = {frequencies[u]}", fontsize=labels.SMALL)
        bar = figure.colorbar(drawn, ax=row[1], aspect=15, pad=0.02, ticks=[0, 0.5, 1])
        bar.set_label("k · token mod p (turns)", fontsize=labels.SMALL)
        bar.ax.tick_params(**style.TICKS)
        image = row[2].imshow(logit, origin="lower", cmap="viridis", interpolation="nearest", rasterized=True)
        row[2].set(xlabel="a − b mod p", ylabel="a + b mod p")
        row[2].set_title("correct logit", fontsize=labels.SMALL)
        bar = figure.colorbar(image, ax=row[2], aspect=15, pad=0.02)
        bar.ax.tick_params(**style.TICKS)
        row[0].annotate(
            name if len(name) > 1 else f"model {name}", (0, 1), (-34, 18), xycoords="axes fraction",
            textcoords="offset points", weight="bold", fontsize=9,
        )  # fmt: skip
    return figure


def table(names: np.ndarray, attention_rates: np.ndarray, models: Sequence[Model]) -> str:
    """A Markdown table of networks, ours and theirs side by side, by falling gradient symmetricity.

    Args:
        names: Of the networks, [M].
        attention_rates: α of each, [M]; nan where it has none.
        models: The networks; `ours` and `theirs` have the columns' measures, and of four circles [4] `clock` and `pizza`;
            `ours` has `circle_frequency` too.
    """
    heads = ["gradient symmetricity", "distance irrelevance", "(incorrect logit)", "circularity", "norm", "accuracy"]
    keys = [name.replace(" ", "_") for name in heads]
    keys[2] = "distance_irrelevance_incorrect"
    lines = [
        "Released networks of Zhong et al. 2023: ours / the authors' (–: not evaluated by them).\n",
        f"| model | kind | α | circuit | {' | '.join(heads)} | circles: frequency, clock / theirs, pizza / theirs (%) |",
        "|---" * (len(heads) + 5) + "|",
    ]
    for i in np.argsort([-model.ours["gradient_symmetricity"] for model in models]):
        model, rate = models[i], attention_rates[i]
        circuit = model.circuit if model.solves else "none: does not solve the task"
        cells = [names[i], model.kind, "–" if np.isnan(rate) else f"{rate:.3f}", circuit]
        cells += [_pair(model.ours[key], model.theirs[key], 5) for key in keys]
        lines.append(f"| {' | '.join([*cells, '; '.join(_circle(model, u) for u in range(4))])} |")
    return "\n".join(lines) + "\n"


def table_of_groups(
    runs: np.ndarray, n_key: np.ndarray, n_key_theirs: np.ndarray, fve: np.ndarray, fve_theirs: np.ndarray
) -> str:
    """A Markdown table of runs on groups: the number of key irreps and the share of logits explained, ours and theirs."""
    lines = [
        "\nRuns of Chughtai et al. 2023: share of logits explained, Σ similarity² by us from the published similarities.\n",
        "| run | key irreps, ours / theirs | logit FVE, ours / theirs |",
        "|---|---|---|",
    ]
    for run, n, theirs, share, published in zip(runs, n_key, n_key_theirs, fve, fve_theirs, strict=True):
        lines.append(f"| {run} | {n} / {theirs} | {share:.5f} / {published:.5f} |")
    return "\n".join(lines) + "\n"


def _pair(ours: float, theirs: float, digits: int) -> str:
    return f"{ours:.{digits}f} / {'–' if np.isnan(theirs) else f'{theirs:.{digits}f}'}"


def _circle(model: Model, u: int) -> str:
    if np.isnan(model.ours["clock"][u]):
        return "–"
    shares = [_pair(100 * model.ours[key][u], 100 * model.theirs[key][u], 2) for key in ("clock", "pizza")]
    return f"{model.ours['circle_frequency'][u]}: {', '.join(shares)}"
