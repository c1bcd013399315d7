"""A source opened: which net its arrays are the weights of, and how they become params."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp

from toylab.base import Params
from toylab.importers import buffers, checks, recipes, toys
from toylab.importers.files import arrays_of
from toylab.importers.layouts import FORMS, forms_of, named
from toylab.importers.rules import Arrays, Fit, Form, Settings, fit
from toylab.importers.settings import check_fields
from toylab.importers.vocabulary import order_of, reordered
from toylab.models import Net


@dataclass(frozen=True)
class Choice:
    """Which arrays of a source are meant, as `load` has it; `ignore`: a tuple of keys."""

    ignore: Any = ()
    prefix: str = ""
    within: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.ignore, str) or not isinstance(self.ignore, Collection):
            raise ValueError(f"ignore is {self.ignore!r}: it must be a list of keys.")
        object.__setattr__(self, "ignore", tuple(map(str, self.ignore)))
        if not isinstance(self.prefix, str):
            raise ValueError(f"prefix is {self.prefix!r}: it must be a text.")


@dataclass(frozen=True)
class Opened:
    """A source with its net. Other sources of the same shapes become params of this net by the same `converted`."""

    net: Net
    weights: Arrays  # by the source's keys
    converted: Callable[[Arrays], Arrays]  # to params in NumPy
    keys: Mapping[str, Collection[str]]  # of the source, from which each param is made
    said: Settings  # settings that the source brought along
    unused: tuple[str, ...] = ()  # keys whose arrays are all 0, and are no params of the net
    doubtful: tuple[str, ...] = ()  # keys that no shape holds to what a mapping of one's own says of them
    together: bool = False  # whether a param is made of all arrays

    def params(self, weights: Arrays) -> Params:
        return checks.fitting(self.net, {name: jnp.asarray(x) for name, x in self.converted(weights).items()})

    def ordered(self, vocabulary: Sequence[int] | None) -> "Opened":
        """The same with another order of the vocabulary: see `load`."""
        if vocabulary is None:
            return self
        order = order_of(vocabulary, self.net)
        return replace(self, converted=lambda weights: reordered(self.converted(weights), order))


def opened(source: Any, layout: Any, given: Settings, choice: Choice, whole: bool = False) -> Opened:
    """Opens a source.

    Args:
        source, layout: as of `load`.
        choice: of its arrays.
        given: settings, which take precedence over those in the source.
        whole: keeps arrays that are all 0 and that the net could do without.
    """
    forms = forms_of(layout)
    arrays, found = weights_of(source, layout, choice)
    given = found | dict(given)
    if isinstance(layout, Mapping):
        return _by_recipe(forms[0], checks.present(arrays), given, found)
    given = buffers.said(forms, {key: array.shape for key, array in arrays.items()}) | given
    arrays, beside = buffers.apart(forms, arrays, given)
    arrays = checks.present(arrays)
    if layout == "toy_models":
        arrays = checks.instance(arrays, given)
    shapes = {key: array.shape for key, array in arrays.items()}
    suited = [form for form in forms if form.suits(given)] or forms
    best = min((fit(form, shapes, given) for form in suited), key=lambda found: found.n_problems)
    if best.n_problems and layout == "toylab" and "module" in given:
        return _of_module(arrays, given, found)
    if best.n_problems:
        looks = checks.hint(FORMS, layout, best, shapes) or checks.prefixed(forms, best, shapes)
        raise ValueError(f"source does not fit layout {layout} ({best.form.what}): {best.problems()}{looks}.")
    if layout != "toylab":  # its fields are those of the module in config, see toys.typed
        check_fields(given, best.form.fields, best.form.traits(best.parts, given))
    weights = {key: checks.values(key, arrays[key]) for key in best.axes}
    best = best if whole else checks.without_zeros(best, weights)
    net = best.form.net(best.sizes, best.parts, given).check()
    buffers.check(net, beside)
    keys = {name: rule.keys(best.n_layers, best.sizes) for rule in best.rules for name in rule.names}
    unused, made = tuple(sorted(set(weights) - set(best.axes))), partial(_converted, best, net, given)
    return Opened(net, weights, made, keys, found, unused, together=best.form.together)


def weights_of(
    source: Any, layout: Any, choice: Choice, keys: Collection[str] | None = None, strict: bool = True
) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a source that are meant, by keys without the prefix, and its settings; or those of `keys`, and maybe
    others. `strict`: of all arrays, what is to be ignored must be there."""
    wanted = None if keys is None else {choice.prefix + key for key in keys}
    arrays, found = arrays_of(source, named(layout), choice.ignore, choice.within, wanted)
    ignore = choice.ignore if strict and keys is None else set(choice.ignore) & set(arrays)
    return checks.bare(checks.declared(arrays, ignore), choice.prefix), found


def _read(best: Fit, weights: Arrays) -> Arrays:
    """What those rules make whose arrays are all there."""
    arrays: Arrays = {}
    for rule in best.rules:
        if weights.keys() >= set(rule.keys(best.n_layers, best.sizes)):
            arrays |= rule.read(weights, best.n_layers, best.sizes)
    return arrays


def _converted(best: Fit, net: Net, given: Settings, weights: Arrays) -> Arrays:
    arrays = _read(best, weights)
    return checks.as_params(arrays | best.form.implied(net, arrays, given))


def _by_recipe(form: Form, arrays: Arrays, given: Settings, said: Settings) -> Opened:
    """What a mapping of one's own makes of the arrays, as a source of layout toylab."""
    shapes = {key: array.shape for key, array in arrays.items()}
    best = fit(form, shapes, given)
    if best.n_problems:
        raise ValueError(f"source does not fit your mapping: {best.problems()}.")
    recipes.check_sizes(best)
    weights = {key: checks.values(key, array) for key, array in arrays.items()}
    read = partial(_read, best)
    try:
        inner = opened(read(weights), "toylab", toys.fields_of(given, best.sizes), Choice(), whole=True)
    except ValueError as error:
        raise ValueError(f"by your mapping, {error}") from error
    keys = {name: rule.keys(best.n_layers, best.sizes) for rule in best.rules for name in rule.names}
    doubtful = recipes.open_to_doubt(best, shapes)
    return Opened(inner.net, weights, lambda weights: inner.converted(read(weights)), keys, said, doubtful=doubtful)


def _of_module(arrays: Arrays, given: Settings, said: Settings) -> Opened:
    net = module_net({key: array.shape for key, array in arrays.items()}, given)
    weights = {key: checks.values(key, array) for key, array in arrays.items()}
    return Opened(net, weights, checks.as_params, {key: [key] for key in weights}, said)


def module_net(shapes: Mapping[str, tuple[int, ...]], given: Settings) -> Net:
    """A net of any module of toylab. All of its fields are in the config."""
    module = toys.module_of(given, Net)
    known = toys.typed(module, given, max((max(shape, default=1) for shape in shapes.values()), default=1))
    toys.require_all(module, known)
    return Net.of(module, **known).check()
