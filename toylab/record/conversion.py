"""How the arrays of a foreign network become params: decided at its first point, then the same for all."""

from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from toylab.base import Params
from toylab.importers import checks
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.opening import Choice, opened
from toylab.importers.probe import check_doubtful, check_probe
from toylab.models import Net
from toylab.store import Arrays


class Conversion:
    """From the network's own arrays to params.

    net    the lab's network whose weights they are; None where they keep their own names
    """

    def __init__(
        self, arrays: Arrays, layout: Any, settings: Mapping[str, Any], choice: Choice, probe: Any = None
    ) -> None:
        """Reads the network from the shapes of its arrays, and its settings.

        Args:
            arrays: of its first point.
            layout: of the arrays, as of `importers.load`; None keeps their names.
            settings: what the arrays do not say, as of `importers.load`.
            choice: of its arrays.
            probe: the network's own answer at that point, as of `importers.load`, or None.

        Raises:
            ValueError: as of `importers.load`, where the arrays do not fit the layout.
        """
        self.layout, self.settings = layout, settings
        self.shapes = {key: array.shape for key, array in arrays.items()}
        self.net: Net | None = None
        if layout is None:
            self.weights = list(checks.present(checks.declared(arrays, choice.ignore)))
            _check_names(self.weights)
            return
        finite = {key: _with_zeros(array) for key, array in arrays.items()}
        # Biases that begin as zeros are no other network: all arrays are kept.
        found = opened(finite, layout, settings, choice, whole=True)
        check_doubtful(found.doubtful, probe)
        if probe is not None:
            check_probe(found.net, found.weights, found.params, probe, found.doubtful)
        checks.fitting(found.net, cast(Params, found.converted(found.weights)))  # by their shapes
        self.net, self.converted, self.weights = found.net, found.converted, list(found.weights)

    def __call__(self, arrays: Arrays) -> tuple[Arrays, bool]:
        """The params of a point, and whether all of them are finite.

        Raises:
            Refusal: where its arrays have other names, shapes or dtypes than those of the first point.
        """
        found = {key: array.shape for key, array in arrays.items()}
        if found != self.shapes:
            key = min(key for key in {*found, *self.shapes} if found.get(key) != self.shapes.get(key))
            here, there = (list(one[key]) if key in one else "not there" for one in (found, self.shapes))
            raise Refusal(f"{printable(key)} is {here}, and {there} at the first point: a run is of one network.")
        if self.layout == "toy_models":
            arrays = checks.instance(arrays, self.settings)
        cast = {key: _cast(key, arrays[key]) for key in self.weights}
        finite = all(np.isfinite(array).all() for array in cast.values())
        return cast if self.net is None else self.converted(cast), finite


def _check_names(names: list[str]) -> None:
    if odd := [name for name in names if not name or not name.isprintable()]:
        raise Refusal(f"params has arrays without a printable name ({listed(map(repr, odd))}): give each one.")


def _with_zeros(array: np.ndarray) -> np.ndarray:
    """An array with 0 where it is nan or infinite."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array
    return np.where(np.isfinite(array), array, array.dtype.type(0))


def _cast(key: str, array: np.ndarray) -> np.ndarray:
    """Weights in the dtype of `importers.load`, float32 (float64 where JAX has x64 enabled); nan and inf stay."""
    checked = checks.values(key, _with_zeros(array))
    return array.astype(jax.dtypes.canonicalize_dtype(checked.dtype), copy=False)
