"""Any weights: a param as a heat map or as bars, its singular values, the norms of all of them."""

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from toylab.analysis import norms as of_params
from toylab.explore.declaring import Choice, Controls, Whole, view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Bars, Heatmap, Lines, Picture

MOST = 512  # cells of a heat map along an axis; beyond it blocks are averaged
MOST_SINGULAR = 1024  # singular values that are computed, within the time of a frame
VECTORS = ("b_", "ln")  # beginnings of names whose last axis alone is the param's own
NORMS = "weights/norm/"

_norms = jax.jit(of_params.weight_norms)


# --- one param


def _named(moment: Moment, name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """The axes of a param before its own, by name: of which one entry is looked at."""
    own = 1 if name.startswith(VECTORS) else 2
    lead = shape[:-own] if len(shape) > own else ()
    n_layers, n_heads = (getattr(moment.net, field, None) for field in ("n_layers", "n_heads"))
    for i, n in enumerate(lead):
        of_layers = i == 0 and n == n_layers
        of_heads = i > 0 and n == n_heads and lead[0] == n_layers
        yield ("layer" if of_layers else "head" if of_heads else f"axis {i}"), n


def _shown(moment: Moment) -> list[str]:
    """The params that have entries, in their order."""
    return [name for name, shape in moment.shapes.items() if 0 not in shape]


def _controls(moment: Moment) -> Controls:
    names = _shown(moment)
    most: dict[str, int] = {}
    for name in names:
        for axis, n in _named(moment, name, moment.shapes[name]):
            most[axis] = max(most.get(axis, 1), n)
    axes = {axis.replace(" ", "_"): Whole(axis, 0, n - 1, 0) for axis, n in most.items() if n > 1}
    return {"param": Choice("param", names, names[0]), **axes}


def _axes(moment: Moment) -> set[str]:
    """Names of the controls that a param may have."""
    named = [_named(moment, name, moment.shapes[name]) for name in _shown(moment)]
    return {axis.replace(" ", "_") for axes in named for axis, _ in axes}


def _has_params(moment: Moment) -> str:
    return "" if _shown(moment) else moment.recording.no_params or "No weights are recorded."


@view("weights", family="weights", title="Weights", fits=_has_params, controls=_controls)
def weights(moment: Moment, param: str, **entries: int) -> list[Picture]:
    """A matrix as a heat map with its singular values, a vector as bars. Of a param with more axes one entry along each of
    the first is shown: of a layer, a head."""
    if param not in _shown(moment):
        raise ValueError(f"param is {param!r}: it must be one of {', '.join(_shown(moment))}.")
    if unknown := sorted(set(entries) - _axes(moment)):
        raise ValueError(f"{', '.join(unknown)}: the axes are {', '.join(sorted(_axes(moment))) or 'none'}.")
    value, chosen = moment.params[param], []
    if np.iscomplexobj(value):
        raise ValueError(f"{param} is complex: a heat map shows real numbers.")
    for axis, n in _named(moment, param, moment.shapes[param]):
        at = entries.get(axis.replace(" ", "_"), 0)
        if at not in range(n):
            raise ValueError(
                f"{axis} is {at}: {param} has {n} along it, so it must be a whole number from 0 to {n - 1}."
            )
        value = value[int(at)]
        chosen += [f"{axis} {at}"] if n > 1 else []
    value = np.asarray(value, np.float32)
    name = f"{param}, {', '.join(chosen)}" if chosen else param
    norm = float(_norms({param: value})[param])
    if value.ndim < 2:
        title = f"{name}: {value.size} entries, norm {norm:.3g}"
        return [Bars(value.reshape(-1), title, x="entry", y="weight")]
    rows, columns = value.shape
    return [
        _map(value, f"{name}: {rows:,} × {columns:,}"),
        Bars(
            _singular(value),
            f"Singular values; Frobenius norm {norm:.3g}{_beyond(value)}",
            x="number, by size",
            y="singular value",
        ),
    ]


def _map(value: np.ndarray, title: str) -> Heatmap:
    """A heat map with at most MOST cells along an axis, each the mean of a block where there are more entries."""
    sizes = [-(-n // MOST) for n in value.shape]
    if sizes == [1, 1]:
        return Heatmap(value, title, x="column", y="row")
    for axis, size in enumerate(sizes):
        starts = np.arange(0, value.shape[axis], size)
        counts = np.diff([*starts, value.shape[axis]])
        value = np.add.reduceat(value, starts, axis=axis) / counts.reshape(-1, *[1] * (1 - axis))
    names = [[str(i * size) for i in range(n)] for n, size in zip(value.shape, sizes, strict=True)]
    title = f"{title}, means of {sizes[0]} × {sizes[1]}"
    return Heatmap(value, title, x="column", y="row", rows=names[0], columns=names[1])


def _singular(value: np.ndarray) -> np.ndarray:
    """By falling size; nan where the matrix is not finite, or larger than `_beyond` lets be."""
    if not np.isfinite(value).all() or _beyond(value):
        return np.full(min(*value.shape, MOST_SINGULAR), np.nan)
    return np.linalg.svd(value, compute_uv=False)


def _beyond(value: np.ndarray) -> str:
    return f"; beyond {MOST_SINGULAR:,} values not computed" if min(value.shape) > MOST_SINGULAR else ""


# --- all norms


def _measured(moment: Moment) -> Mapping[str, str]:
    """Param → the measure of its norm."""
    names = [name for name in moment.recording.measures if name.startswith(NORMS)]
    return {name.removeprefix(NORMS): name for name in names}


def _has_norms(moment: Moment) -> str:
    return "" if _measured(moment) else _has_params(moment)


@view("norms", family="weights", title="Norms of all weights", fits=_has_norms)
def norms(moment: Moment) -> Picture:
    """The Frobenius norm of each param and of all together: over the steps where it is measured, else at this step."""
    if measured := _measured(moment):
        lines = {param: moment.over_steps(name) for param, name in measured.items()}
        title = "Norms of the weights through training"
        return Lines(moment.steps, lines, title, x_label="step", y_label="norm √Σw²", at=moment.step)
    if "total" in moment.shapes:
        raise ValueError("A param is itself named total, as the norm of all together is.")
    found = jax.device_get(_norms({name: jnp.asarray(moment.params[name]) for name in _shown(moment)}))
    names = [*_shown(moment), "total"]
    return Bars(
        np.array([found[name] for name in names]), "Norms of the weights", x="param", y="norm √Σw²", names=names
    )
