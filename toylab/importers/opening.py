"""A source opened: which net its arrays are the weights of, and how they become params."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp

from toylab.base import Params
from toylab.importers import buffers, checks, toys
from toylab.importers.files import arrays_of
from toylab.importers.layouts import FORMS, forms_of
from toylab.importers.rules import Arrays, Fit, Settings, fit
from toylab.importers.settings import check_fields
from toylab.models import Net


@dataclass(frozen=True)
class Opened:
    """A source with its net. Other sources of the same shapes become params of this net by the same `converted`."""

    net: Net
    weights: Arrays  # by the source's keys
    converted: Callable[[Arrays], Arrays]  # to params in NumPy
    keys: Mapping[str, Collection[str]]  # of the source, from which each param is made
    said: Settings  # settings that the source brought along
    unused: tuple[str, ...] = ()  # keys whose arrays are all 0, and are no params of the net

    def params(self, weights: Arrays) -> Params:
        return checks.fitting(self.net, {name: jnp.asarray(x) for name, x in self.converted(weights).items()})


def opened(source: Any, layout: str, given: Settings, ignore: Collection[str] = (), whole: bool = False) -> Opened:
    """Opens a source.

    Args:
        source, layout, ignore: as of `load`.
        given: settings, which take precedence over those in the source.
        whole: keeps arrays that are all 0 and that the net could do without.
    """
    forms = forms_of(layout)
    arrays, found = weights_of(source, layout, ignore)
    given = found | dict(given)
    arrays, beside = buffers.apart(forms, arrays)
    arrays = checks.present(arrays)
    if layout == "toy_models":
        arrays = checks.instance(arrays, given)
    shapes = {key: array.shape for key, array in arrays.items()}
    best = min((fit(form, shapes) for form in forms), key=lambda found: found.n_problems)
    if best.n_problems and layout == "toylab" and "module" in given:
        return _of_module(arrays, given, found)
    if best.n_problems:
        looks = checks.hint(FORMS, layout, best, shapes) or checks.prefixed(forms, best, shapes)
        raise ValueError(f"source does not fit layout {layout} ({best.form.what}): {best.problems()}{looks}.")
    if layout != "toylab":  # its fields are those of the module in config, see toys.typed
        check_fields(given, best.form.fields, best.form.traits(best.parts, given))
    weights = {key: checks.values(key, arrays[key]) for rule in best.rules for key in rule.keys(best.n_layers)}
    best = best if whole else checks.without_zeros(best, weights)
    net = best.form.net(best.sizes, best.parts, given).check()
    buffers.check(net, beside)
    used = {key for rule in best.rules for key in rule.keys(best.n_layers)}
    keys = {rule.name: rule.keys(best.n_layers) for rule in best.rules}
    return Opened(net, weights, partial(_converted, best, net), keys, found, tuple(sorted(set(weights) - used)))


def ignored(ignore: Collection[str]) -> list[str]:
    """The keys to ignore, as texts."""
    if isinstance(ignore, str) or not isinstance(ignore, Collection):
        raise ValueError(f"ignore is {ignore!r}: it must be a list of keys.")
    return [str(key) for key in ignore]


def weights_of(
    source: Any, layout: str, ignore: Collection[str], keys: Collection[str] | None = None
) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a source without those that are ignored, and its settings; or those of `keys`, and maybe others."""
    arrays, found = arrays_of(source, layout, ignore, keys)
    return checks.declared(arrays, ignore if keys is None else set(ignore) & set(arrays)), found


def _converted(best: Fit, net: Net, weights: Arrays) -> Arrays:
    """Params of those rules whose arrays are all there."""
    there = [rule for rule in best.rules if weights.keys() >= set(rule.keys(best.n_layers))]
    arrays = {rule.name: rule.read(weights, best.n_layers, best.sizes) for rule in there}
    return checks.as_params(arrays | best.form.implied(net, arrays))


def _of_module(arrays: Arrays, given: Settings, said: Settings) -> Opened:
    """A net of any module of toylab. All of its fields are in the config."""
    module = toys.module_of(given, Net)
    known = toys.typed(module, given, max(max(x.shape, default=1) for x in arrays.values()))
    toys.require_all(module, known)
    net = Net.of(module, **known).check()
    weights = {key: checks.values(key, array) for key, array in arrays.items()}
    return Opened(net, weights, checks.as_params, {key: [key] for key in weights}, said)
