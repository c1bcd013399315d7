"""`Net`: any `nnx.Module` as a pure pair init/apply over a flat dict of named arrays. The one bridge to flax.

A model is a module whose constructor takes its fields by keyword, and `rngs`. Fields annotated `float` are leaves of the
config, which a sweep may vary within one compile; all others (sizes, flags, closed Literals) are static. Its parameters
are `nnx.Param`s; its call is `(x, patch=None, full=True) -> (output, cache)`. After a merge the leaves stand on the module
as attributes under their own names.
"""

import difflib
import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from flax import nnx, struct
from jax import Array

from toylab.base import Cache, Params, Patch, static
from toylab.meanings import documented
from toylab.models.biased import BiasedTransformer
from toylab.models.constructors import fields, is_model
from toylab.models.decoder import FeatureDecoder
from toylab.models.dense import CentredDense, Dense, DiagonalNet
from toylab.models.exemplars import ExemplarTransformer
from toylab.models.factors import FactoredMatrix
from toylab.models.handbuilt import FractionOfPrevious, Histogram, InductionMachine, Reverse
from toylab.models.mlp import ModularMLP
from toylab.models.neox import NeoXTransformer
from toylab.models.pizza import PizzaLinear, PizzaTransformer
from toylab.models.postnorm import PostNormTransformer
from toylab.models.relu import ToyModel, UntiedToyModel
from toylab.models.sae import JumpReLUAutoencoder, SparseAutoencoder
from toylab.models.summed import SumDecoder
from toylab.models.tied import TiedMLP
from toylab.models.transformer import Transformer
from toylab.protocol import check_pair

__all__ = [
    "BiasedTransformer",
    "CentredDense",
    "Dense",
    "DiagonalNet",
    "ExemplarTransformer",
    "FactoredMatrix",
    "FeatureDecoder",
    "FractionOfPrevious",
    "Histogram",
    "InductionMachine",
    "JumpReLUAutoencoder",
    "ModularMLP",
    "NeoXTransformer",
    "Net",
    "PizzaLinear",
    "PizzaTransformer",
    "PostNormTransformer",
    "Reverse",
    "SparseAutoencoder",
    "SumDecoder",
    "TiedMLP",
    "ToyModel",
    "Transformer",
    "UntiedToyModel",
]


class Net(struct.PyTreeNode):
    """A network as part of a config: the module's class, its static fields, and its leaves."""

    module: type = static()
    """The class of the network, an nnx.Module."""
    sizes: tuple[tuple[str, Any], ...] = static()
    """The static fields of the module, by name."""
    leaves: dict[str, Any]
    """The fields of the module that a sweep may vary within one compile, by name."""
    clamps: tuple[tuple[str, Callable[[Array, int], Array]], ...] = static(default=())
    """Patches that are in force at every call, by the name of the activation."""

    @classmethod
    def of(cls, module: type, *, clamps: tuple[tuple[str, Any], ...] = (), **given: Any) -> "Net":
        """A network of a module's class.

        `Net.of(Transformer, n_layers=1, d_model=128, init_scale=1.0)`

        Args:
            module: The class.
            clamps: Patches that are in force at every call.
            **given: Its fields; those left out take the module's defaults.
        """
        known = fields(module)
        if unknown := sorted(set(given) - set(known)):
            near = difflib.get_close_matches(unknown[0], known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}."
            raise ValueError(f"net.{unknown[0]} is no field of {module.__name__}: {hint}")
        values = {name: given.get(name, default) for name, (_, default) in known.items()}
        if missing := [name for name, value in values.items() if value is inspect.Parameter.empty]:
            raise ValueError(f"net.{missing[0]} is missing: {module.__name__} needs {', '.join(missing)}.")
        leaves = {name: value for name, value in values.items() if known[name][0] is float}
        sizes = tuple((name, _hashable(value)) for name, value in values.items() if name not in leaves)
        return cls(module=module, sizes=sizes, leaves=leaves, clamps=_hashable(list(clamps)))

    def __getattr__(self, name: str) -> Any:
        """`net.d_model`, `net.init_scale`: the module's fields read as the net's own."""
        if not name.startswith("_"):
            for own in (dict(self.sizes), self.leaves):
                if name in own:
                    return own[name]
        raise AttributeError(f"{type(self).__name__} has no field {name}")

    def module_fields(self) -> dict[str, tuple[Any, Any]]:
        """name → (annotation, value) of the module's fields: how a config reads a net."""
        own = {**dict(self.sizes), **self.leaves}
        return {name: (hint, own[name]) for name, (hint, _) in fields(self.module).items()}

    def with_fields(self, **changes: Any) -> "Net":
        return Net.of(self.module, clamps=self.clamps, **{**dict(self.sizes), **self.leaves, **changes})

    def modules(self) -> dict[str, type]:
        """name → class of the modules that may stand in its place: those here, and those in the file of its own module."""
        places = (vars(sys.modules[self.module.__module__]), {name: globals()[name] for name in __all__})
        found = {name: one for place in places for name, one in place.items() if not name.startswith("_")}
        return {name: one for name, one in found.items() if isinstance(one, type) and is_model(one)}

    def fields_of(self, module: type) -> dict[str, Any]:
        """name → default of the fields of another module; `dataclasses.MISSING` of those that have none."""
        empty = inspect.Parameter.empty
        return {name: MISSING if default is empty else default for name, (_, default) in fields(module).items()}

    def with_module(self, module: type, **given: Any) -> "Net":
        """A network of another module, with the same clamps. The given fields that are texts are read by the config."""
        defaults = {name: default for name, default in self.fields_of(module).items() if default is not MISSING}
        return Net.of(module, clamps=self.clamps, **{**defaults, **given})

    def check(self) -> "Net":
        """Checks the fields, then the module's own rules.

        Sizes are whole and positive, leaves above 0. What is 0 by default (or d_mlp: no MLP) may be 0, and such a leaf
        any finite number. A share (`SHARES` of the module) lies in [0, 1].

        Raises:
            ValueError: For a field that does not fit.
        """
        optional = {"d_mlp", *(name for name, (_, default) in fields(self.module).items() if default == 0)}
        for name, value in self.sizes:
            least = 0 if name in optional else 1
            if isinstance(value, list | dict | set | np.ndarray | Array):
                raise ValueError(f"net.{name} is a {type(value).__name__}: it is static, so a tuple, number or word.")
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise ValueError(f"net.{name} is {value}: it must be at least {least}.")
        for name, value in self.leaves.items():
            if name in getattr(self.module, "SHARES", ()):
                if not 0 <= value <= 1:
                    raise ValueError(f"net.{name} is {value!s}: it must lie in [0, 1].")
            elif not value > 0 and not (name in optional and np.isfinite(value)):
                raise ValueError(f"net.{name} is {value!s}: it must be above 0.")
        for name, function in self.clamps:
            if not callable(function) or "<" in getattr(function, "__qualname__", "<"):
                raise ValueError(
                    f"net.clamps has {function!r} for {name}: it must be a function of a module, by its name."
                )
        if hasattr(self.module, "check"):
            self.module.check(**dict(self.sizes))
        _skeleton(self.module, self.sizes, tuple(self.leaves))
        return self

    def init(self, key: Array) -> Params:
        module = self.module(**dict(self.sizes), **self.leaves, rngs=nnx.Rngs(params=key))
        paths, _ = jax.tree_util.tree_flatten_with_path(nnx.state(module, nnx.Param))
        return {_name(path): leaf for path, leaf in paths}

    def apply(self, params: Params, x: Array, patch: Patch | None = None, *, full: bool = True) -> tuple[Array, Cache]:
        """The network's output on a batch.

        Args:
            params: Its weights.
            x: The batch.
            patch: Functions that change activations, by name; with `full` only.
            full: True: the plain path with its cache, and patches. False: the fast path, output only.

        Returns:
            The output, and the cache.
        """
        if patch and not full:
            raise ValueError("patch needs full=True: the fast path computes only part of the activations.")
        graph, structure, names = _skeleton(self.module, self.sizes, tuple(self.leaves))
        if set(params) != set(names):
            missing, extra = sorted(set(names) - set(params)), sorted(set(params) - set(names))
            raise ValueError(f"params lacks {missing} and has {extra} beyond what {self.module.__name__} takes.")
        module = nnx.merge(graph, jax.tree_util.tree_unflatten(structure, [params[name] for name in names]))
        for name, value in self.leaves.items():
            setattr(module, name, value)
        if self.clamps:
            patch, full = {**dict(self.clamps), **(patch or {})}, True
        found = module(x, patch, full=full)
        check_pair(found, self.module.__name__)
        return found


@lru_cache(maxsize=256)
def _skeleton(module: type, sizes: tuple[tuple[str, Any], ...], leaves: tuple[str, ...]) -> tuple[Any, Any, list[str]]:
    """The module's graph, the structure of its state and the names of its params, from shapes alone."""
    some = dict.fromkeys(leaves, 1.0)  # the leaves set values, never shapes
    try:
        abstract = nnx.eval_shape(lambda: module(**dict(sizes), **some, rngs=nnx.Rngs(params=0)))
    except KeyError as error:
        if "rng" not in str(error).lower():
            raise
        raise ValueError(
            f"net.module {module.__name__} draws from other rngs than params, as Dropout does: the start alone is random."
        ) from None
    graph, state = nnx.split(abstract)
    for path, variable in nnx.to_flat_state(state):
        if not isinstance(variable, nnx.Param):
            raise ValueError(
                f"net.module {module.__name__} holds {'.'.join(map(str, path))}, a {type(variable).__name__}: a net is a"
                " function of its nnx.Params alone, so it has no BatchNorm, Dropout or other state."
            )
    paths, structure = jax.tree_util.tree_flatten_with_path(state)
    return graph, structure, [_name(path) for path, _ in paths]


def _hashable(value: Any) -> Any:
    """Lists as tuples, as JSON and TOML have no other."""
    return tuple(_hashable(inner) for inner in value) if isinstance(value, list | tuple) else value


def _name(path: tuple[Any, ...]) -> str:
    """`W_E`, or `layers.0.kernel` where modules are nested."""
    return ".".join(str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey))


for _kind in __all__:
    documented(globals()[_kind])
