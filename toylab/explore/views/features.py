"""Features of ReLU models of sparse features, as the views of superposition read them.

Rows are features: W [n, m] of a `ToyModel`, W_in and W_out [n, m] of an untied one, or these with an axis of instances in
front. Where there are no weights, a measure such as `arrangement/W` [t, n, m], which has them at every point, does as well,
and an analysis of the last point, which is shown at every step and says so.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jax import Array

from toylab.analysis.superposition import geometry
from toylab.explore.declaring import Choice, Control, Controls, Whole
from toylab.explore.moment import Moment

MOST = 400  # features of a matrix n × n
MEASURED = ("features/dimensionality", "represented/dimensionality")  # D_i, as the analyzers of `geometry` give it
NAMED = 20  # features whose numbers are written beside them
NOT_FINITE = "; weights are not finite"


@dataclass(frozen=True)
class Features:
    """The features of a run at a point."""

    W: np.ndarray
    """[n, m]: rows are features. All nan where some entry is not finite."""
    b: np.ndarray | None
    """[n], where there are biases."""
    name: str
    """Of the matrix."""
    late: bool = False
    """Whether they are those of the last point, whatever the step."""

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.W).all())

    @property
    def note(self) -> str:
        """What a title says of weights that are nan or inf."""
        return ("; of the last point" if self.late else "") + ("" if self.finite else NOT_FINITE)

    def take(self, function: Callable[..., Array], *shape: int) -> np.ndarray:
        """A function of W, nan where W is not finite."""
        return np.asarray(function(self.W)) if self.finite else np.full(shape, np.nan)


def matrices(moment: Moment) -> list[str]:
    """The matrices whose rows are features: params, else measures, else analyses of the last point; [] where none is."""
    shapes = {name: shape for name, shape in moment.shapes.items() if len(shape) in (2, 3)}
    if "W" in shapes:
        return ["W"]
    if not {"W_E", "W_U"} & moment.shapes.keys() and "W_in" in shapes and shapes.get("W_out") == shapes["W_in"]:
        return ["W_in", "W_out"]
    return (_measured(moment) or _final(moment))[:1] if expected(moment) else []


def _measured(moment: Moment) -> list[str]:
    return [name for name, values in moment.recording.measures.items() if name.endswith("/W") and values.ndim == 4]


def _final(moment: Moment) -> list[str]:
    return [name for name, values in moment.recording.final.items() if name.endswith("/W") and values.ndim == 3]


def expected(moment: Moment) -> bool:
    """Whether the network is one of sparse features."""
    if moment.net is not None:
        return hasattr(moment.net, "n_features") and not hasattr(moment.net, "d_mlp")
    return "net.n_features" in moment.recording.columns and "net.d_mlp" not in moment.recording.columns


def fits(moment: Moment) -> str | None:
    """As of `view`."""
    if matrices(moment):
        return ""
    return (moment.recording.no_params or "W is not recorded.") if expected(moment) else None


def fits_pairs(moment: Moment) -> str | None:
    """As of `view`, for what compares every feature with every other."""
    why = fits(moment)
    if why == "" and (n := size(moment)[0]) > MOST:
        return f"it compares every feature with every other: there are {n}, and at most {MOST} are shown."
    return why


def size(moment: Moment) -> tuple[int, int]:
    """n and m."""
    n, m = _shape(moment)[-2:]
    return n, m


def controls(moment: Moment) -> dict[str, Control]:
    """Which matrix, and which instance, where there are several."""
    names, shape = matrices(moment), _shape(moment)
    found: dict[str, Control] = {}
    if len(names) > 1:
        found["which"] = Choice("Weights", names, names[0])
    if len(shape) == 3:
        found["instance"] = Whole("Instance", 0, shape[0] - 1, 0)
    return found


def plane_controls(moment: Moment) -> Controls:
    """As `controls`, and the axes of the plane, where there are more than two dimensions."""
    found, (_, m) = controls(moment), size(moment)
    if m > 2:
        found["axes"] = Choice("Axes", ("principal", "chosen"), "principal")
        found["across"] = Whole("Dimension across, of chosen axes", 0, m - 1, 0)
        found["up"] = Whole("Dimension up, of chosen axes", 0, m - 1, 1)
    return found


def read(moment: Moment, which: str = "", instance: int = 0) -> Features:
    """The features at a point.

    Raises:
        ValueError: For a matrix or an instance that is not there.
    """
    names = matrices(moment)
    name = which or names[0]
    if name not in names:
        raise ValueError(f"weights are {name!r}: they must be one of {', '.join(names)}.")
    W, b = (_array(moment, one) for one in (name, f"{name.removesuffix('W')}b" if "/" in name else "b"))
    if W is None:
        raise ValueError(f"{name} is not there at this point.")
    late = name not in moment.shapes and not moment.has(name)
    if W.ndim == 3:
        if not 0 <= instance < len(W):
            raise ValueError(f"instance is {instance}: it must lie in 0 to {len(W) - 1}.")
        W, b = W[instance], b[instance] if b is not None and b.ndim == 2 else b
    W = W if np.isfinite(W).all() else np.full(W.shape, np.nan, W.dtype)
    return Features(W, b if b is not None and b.shape == W.shape[:1] else None, name.rpartition("/")[2], late)


def principal_axes(moment: Moment, which: str = "", instance: int = 0) -> tuple[np.ndarray, int]:
    """[2, m]: the two directions in which the features lie most at the run's last finite point, the first two right
    singular vectors of W with the largest entry of each positive; and the step of that point.

    They are the same for every step, so that a picture neither turns nor flips between steps.
    """
    last = int(moment.steps[-1])
    return moment.kept(("principal axes", which, instance, last), lambda: _principal_axes(moment, which, instance))


def _principal_axes(moment: Moment, which: str, instance: int) -> tuple[np.ndarray, int]:
    for place in range(len(moment.steps) - 1, -1, -1):
        point = moment.other(place)
        found = read(point, which, instance)
        if found.finite:
            axes = np.linalg.svd(found.W, full_matrices=True)[2][:2]
            signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
            return axes * np.where(signs == 0, 1, signs)[:, None], point.step
    return np.eye(2, size(moment)[1]), int(moment.steps[0])


def importances(moment: Moment, n: int) -> np.ndarray | None:
    """[n]: what the features count in the loss, where they do not all count the same."""
    found = np.asarray(getattr(moment.task, "importance", 1.0))
    return found if found.shape == (n,) and np.ptp(found) > 0 else None


def dimensionality(W: np.ndarray) -> np.ndarray:
    """D_i [..., n] of finite W [..., n, m]; of many features by the form that needs no matrix n × n."""
    return np.asarray((geometry.dimensionality if W.shape[-2] <= MOST else geometry.sample_dimensionality)(W))


def over_steps(moment: Moment) -> np.ndarray | None:
    """D_i [t, n] at the points of the run, of what was measured; None where nothing tells of it."""
    for name in MEASURED:  # and no others: training samples have a dimensionality too
        if moment.has(name):
            return moment.over_steps(name)
    names = _measured(moment) if expected(moment) else []
    return moment.kept(("D_i", len(moment.steps)), lambda: _each(moment.over_steps(names[0]))) if names else None


def _each(W: np.ndarray) -> np.ndarray:
    finite = np.isfinite(W).all(axis=(1, 2), keepdims=True)
    return np.where(finite[..., 0], dimensionality(np.where(finite, W, 0)), np.nan)


def _shape(moment: Moment) -> tuple[int, ...]:
    name = matrices(moment)[0]
    if name in moment.shapes:
        return moment.shapes[name]
    return moment.recording.measures[name].shape[2:] if moment.has(name) else moment.recording.final[name].shape[1:]


def _array(moment: Moment, name: str) -> np.ndarray | None:
    if name in moment.shapes:
        return np.asarray(moment.params[name], np.float32)
    if moment.has(name):
        return np.asarray(moment.now(name), np.float32)
    final = moment.recording.final.get(name) if "/" in name else None
    return None if final is None else np.asarray(final[moment.run], np.float32)
