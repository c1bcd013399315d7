"""Rules by which the arrays of a layout become params and back: one table for each layout, used in both directions.

A rule describes one array, axis by axis: `"d_model (n_heads d_head) -> n_heads d_head d_model"` is a matrix whose
columns are the heads side by side. A prime distinguishes axes of the same size: `"d_mlp' d_mlp -> d_mlp d_mlp'"`. Sizes
are determined from all arrays together, so an array that does not fit the others can be named. A rule with several names
cuts an array into as many params: `"W_Q W_K W_V"` along the axis 3 of `"d_model (3 n_heads d_head) -> 3 n_heads …"`.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from toylab.importers.naming import listed, printable
from toylab.importers.settings import Fields, Settings
from toylab.models import Net

Arrays = dict[str, np.ndarray]
Sizes = dict[str, int]


@dataclass(frozen=True)
class Rule:
    """`key` of the source ↔ `name` of toylab. "{}" in a key runs over the layers, or over `over`, stacked as first axis;
    "{head}" over heads, stacked as the next. "{last}" is the number of layers: what follows them in a Sequential.

    Several names, apart by spaces: the first axis of a layer's array on toylab's side is cut into so many."""

    key: str
    name: str
    axes: str
    parts: tuple[str, ...] = ()  # required where all of these parts are there
    over: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return self.name.split()

    @property
    def places(self) -> list[str]:
        """What of a key runs: the first axes of a param."""
        return [place for place in ("{}", "{head}") if place in self.key]

    def own_axes(self) -> list[list[str]]:
        """The axes of each param: the layers' or `over`'s, heads' that are arrays of their own, then the array's."""
        sizes = {"{}": str(len(self.over)) if self.over else "n_layers", "{head}": "n_heads"}
        ours = self.sides()[1]
        return [[sizes[place]] for place in self.places] + (ours[1:] if len(self.names) > 1 else ours)

    def keys(self, n_layers: int, sizes: Sizes) -> list[str]:
        found = [self.key.replace("{last}", str(n_layers)).replace("{last+1}", str(n_layers + 1))]
        for place in self.places:
            values = range(sizes.get("n_heads", 1)) if place == "{head}" else self.over or range(n_layers)
            found = [key.replace(place, str(value)) for key in found for value in values]
        return found

    def pattern(self) -> re.Pattern[str]:
        """Of the keys, with the groups `at` and `head`."""
        key = re.escape(self.key).replace(r"\{\}", r"(?P<at>\w+)")
        return re.compile(key.replace(r"\{head\}", r"(?P<head>\w+)"))

    def sides(self) -> tuple[list[list[str]], list[list[str]]]:
        return _sides(self.axes)

    def read(self, arrays: Arrays, n_layers: int, sizes: Sizes) -> Arrays:
        """The params by name."""
        theirs, ours = self.sides()
        found = [_rearranged(arrays[key], theirs, ours, sizes) for key in self.keys(n_layers, sizes)]
        value = np.stack(found) if self.places else found[0]
        if "{head}" in self.places:
            value = value.reshape(-1, sizes["n_heads"], *found[0].shape)
        cut = np.moveaxis(value, len(self.places), 0) if len(self.names) > 1 else [value]
        return {name: np.ascontiguousarray(part) for name, part in zip(self.names, cut, strict=True)}

    def write(self, params: Arrays, n_layers: int, sizes: Sizes) -> Arrays:
        theirs, ours = self.sides()
        values, stacked = [params[name] for name in self.names], len(self.places)
        value = np.stack(values, axis=stacked) if len(values) > 1 else values[0]
        keys, each = self.keys(n_layers, sizes), value.reshape(-1, *value.shape[stacked:])
        return {key: _rearranged(array, ours, theirs, sizes) for key, array in zip(keys, each, strict=True)}

    def zeros(self, n_layers: int, sizes: Sizes) -> Arrays:
        shape = [math.prod(_size(axis, sizes) for axis in group) for group in self.sides()[0]]
        return {key: np.zeros(shape, np.float32) for key in self.keys(n_layers, sizes)}


@cache
def _sides(axes: str) -> tuple[list[list[str]], list[list[str]]]:
    theirs, ours = (
        [group.strip("()").split() for group in re.findall(r"\([^)]*\)|\S+", side)] for side in axes.split("->")
    )
    return theirs, ours


@dataclass(frozen=True)
class Form:
    """One architecture of a layout: its arrays, and the net that they are the weights of."""

    what: str
    rules: tuple[Rule, ...]
    net: Callable[[Sizes, frozenset[str], Settings], Net]
    settings: Callable[[Net], dict[str, Any]]  # of a net: what its arrays do not say
    fields: Fields  # every field that a config of the layout may have
    traits: Callable[[frozenset[str], Settings], frozenset[str]] = lambda parts, given: (
        frozenset()
    )  # see settings.Field
    buffers: tuple[str, ...] = ()  # keys of arrays that are no weights: buffers.py
    hollow: tuple[str, ...] = ()  # keys of weights that are no buffers, but for a config that says attn_only
    droppable: str = ""  # a part that is left out where all of it is 0, and written as 0
    implied: Callable[[Net, Arrays, Settings], Arrays] = lambda net, arrays, given: {}  # params that no array says
    together: bool = False  # whether a param is made of all arrays
    told: Callable[[Sizes, Settings], Sizes] = lambda sizes, given: {}  # sizes of axes that lie together in the arrays
    absent: tuple[str, ...] = ()  # params that the layout has not: 0, or they are not written
    written: bool = True  # whether `save` writes it
    suits: Callable[[Settings], bool] = lambda given: True  # whether a config is of it: what arrays cannot tell
    rows: Mapping[str, str] = field(default_factory=dict)  # buffers whose number of rows is a setting


@dataclass
class Fit:
    """How the arrays of a source, or params, fit a form."""

    form: Form
    sizes: Sizes
    n_layers: int
    parts: frozenset[str]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)

    @property
    def n_problems(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.misshapen)

    def problems(self) -> str:
        named = {"missing": self.missing, "extra": self.extra, "misshapen": self.misshapen}
        return "; ".join(f"{name} {listed(keys, each=160)}" for name, keys in named.items() if keys)

    @property
    def rules(self) -> list[Rule]:
        return [rule for rule in self.form.rules if set(rule.parts) <= self.parts]

    @property
    def axes(self) -> dict[str, list[list[str]]]:
        """Of each array of the source, by key."""
        return {key: rule.sides()[0] for rule in self.rules for key in rule.keys(self.n_layers, self.sizes)}


def fit(form: Form, shapes: Mapping[str, tuple[int, ...]], given: Settings = MappingProxyType({})) -> Fit:
    """The sizes of `form` in a source of these shapes, and every key that is missing, extra or misshapen."""
    patterns = [(rule.pattern(), rule) for rule in form.rules]
    counts = {"at": {1}, "head": {1}}
    parts: set[str] = set()
    for key in shapes:
        for pattern, rule in patterns:
            if (found := pattern.fullmatch(key)) is None:
                continue
            for place, value in found.groupdict().items():
                if value.isdecimal() and int(value) < len(shapes) and not (place == "at" and rule.over):
                    counts[place].add(int(value) + 1)
            parts |= set(rule.parts) if len(rule.parts) == 1 else set()
    heads = {"n_heads": max(counts["head"])} if any("{head}" in rule.places for rule in form.rules) else {}
    result = Fit(form, heads, max(counts["at"]), frozenset(parts))
    axes = result.axes
    result.sizes = {"n_layers": result.n_layers, **_solved(axes, shapes), **heads}
    if told := form.told(result.sizes, given):
        result.sizes = _solved(axes, shapes, result.sizes | told) | result.sizes | told
    result.missing, result.extra = sorted(set(axes) - set(shapes)), sorted(set(shapes) - set(axes))
    result.misshapen = _misshapen(axes, shapes, result.sizes)
    return result


def fit_params(form: Form, shapes: Mapping[str, tuple[int, ...]]) -> Fit:
    """The same for toylab's params, by their names: what `save` writes."""
    parts = {rule.parts[0] for rule in form.rules if len(rule.parts) == 1 and set(rule.names) & set(shapes)}
    result = Fit(form, {}, 0, frozenset(parts))
    axes = {name: rule.own_axes() for rule in result.rules for name in rule.names}
    result.sizes = _solved(axes, shapes)
    result.n_layers = result.sizes.setdefault("n_layers", 0)
    result.missing, result.extra = sorted(set(axes) - set(shapes)), sorted(set(shapes) - set(axes))
    result.misshapen = _misshapen(axes, shapes, result.sizes)
    return result


def _solved(
    axes: Mapping[str, list[list[str]]], shapes: Mapping[str, tuple[int, ...]], known: Sizes | None = None
) -> Sizes:
    """The size that most arrays give an axis; where they differ, the one that leaves the fewest misshapen."""
    known = known or {}
    votes: dict[str, Counter[int]] = {}
    for key, groups in axes.items():
        shape = shapes.get(key, ())
        for group, size in zip(groups, shape, strict=False) if len(shape) == len(groups) else ():
            fixed = math.prod(_size(axis, known) for axis in group if _known(axis, known))
            named = [axis.rstrip("'") for axis in group if not _known(axis, known)]
            if len(named) == 1 and size % fixed == 0:  # of (n_heads d_head) no size follows
                votes.setdefault(named[0], Counter())[size // fixed] += 1
    sizes = {axis: count.most_common(1)[0][0] for axis, count in votes.items()}
    for axis in (axis for axis, count in votes.items() if len(count) > 1):
        options = [size for size, _ in votes[axis].most_common(8)]
        sizes[axis] = min(options, key=lambda size: len(_misshapen(axes, shapes, sizes | {axis: size})))
    return sizes


def _known(axis: str, sizes: Sizes) -> bool:
    return axis.isdecimal() or axis.rstrip("'") in sizes


def _size(axis: str, sizes: Sizes) -> int:
    return int(axis) if axis.isdecimal() else sizes[axis.rstrip("'")]


def _misshapen(axes: Mapping[str, list[list[str]]], shapes: Mapping[str, tuple[int, ...]], sizes: Sizes) -> list[str]:
    found = []
    for key, groups in axes.items():
        if key not in shapes:
            continue
        known = all(_known(axis, sizes) for group in groups for axis in group)
        wanted = [math.prod(_size(axis, sizes) for axis in group) for group in groups] if known else None
        if len(shapes[key]) != len(groups) or (wanted is not None and list(shapes[key]) != wanted):
            names = ", ".join("·".join(group) for group in groups)
            found.append(
                f"{printable(key)} {list(shapes[key])} where [{names}]{f' = {wanted}' if wanted else ''} is wanted"
            )
    return found


def _rearranged(array: np.ndarray, before: list[list[str]], after: list[list[str]], sizes: Sizes) -> np.ndarray:
    axes = [axis for group in before for axis in group]
    order = [axes.index(axis) for group in after for axis in group]
    apart = array.reshape([_size(axis, sizes) for axis in axes]).transpose(order)
    return np.ascontiguousarray(apart.reshape([math.prod(_size(axis, sizes) for axis in group) for group in after]))
