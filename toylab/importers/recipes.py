"""Layouts of one's own: a mapping from the keys of a source to toylab's names with their axes, `"fc.weight": "W_in: d_mlp
d_model -> d_model d_mlp"`, in the notation of rules.py."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from toylab.importers.naming import Refusal, listed, printable, printable_value
from toylab.importers.rules import Fit, Form, Rule, Sizes
from toylab.importers.settings import Settings, whole

AXIS = r"(?:[A-Za-z_]\w*'?|[1-9]\d*)"
SIDE = rf"(?:{AXIS}|\({AXIS}(?: {AXIS})*\))"
RULE = re.compile(rf"([A-Za-z_]\w*(?: [A-Za-z_]\w*)*): ({SIDE}(?: {SIDE})*)(?: -> ({SIDE}(?: {SIDE})*))?")
EXAMPLE = '"NAME: AXES" or "NAME: THEIR AXES -> OURS", such as "W_in: d_mlp d_model -> d_model d_mlp"'


def recipe(layout: Mapping[str, str]) -> Form:
    """The form of a mapping. Its net is that of layout toylab."""
    if not layout:
        raise ValueError("layout is an empty mapping: it must have a rule for each array.")
    rules = tuple(_rule(key, text) for key, text in layout.items())
    names = Counter(name for rule in rules for name in rule.names)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise ValueError(f"layout has {listed(twice)} twice: each name must stand in one rule.")

    def told(sizes: Sizes, given: Settings) -> Sizes:
        asked = {axis.rstrip("'") for rule in rules for group in rule.sides()[0] for axis in group}
        return {axis: whole(given, axis, 1, 1 << 30, "a size") for axis in sorted(asked & set(given))}

    return Form("your mapping", rules, _no_net, lambda net: {}, {}, told=told)


def _no_net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Any:
    raise AssertionError("a mapping gives arrays by toylab's names, and layout toylab their net")


def _rule(key: Any, text: Any) -> Rule:
    found = RULE.fullmatch(" ".join(text.split())) if isinstance(text, str) else None
    if not isinstance(key, str) or found is None:
        raise ValueError(f"layout has {printable_value(text)} for {printable(key)}: it must be {EXAMPLE}.")
    name, theirs, ours = found[1], found[2], found[3] or found[2]
    several = re.search(r"\{([^{}]+(?:,[^{}]+)+)\}", key)  # "embed_{a,b}.weight": two arrays, stacked
    over = tuple(several[1].split(",")) if several else ()
    if re.search(r"(^| )1( |$)", ours):  # the axis of a single layer
        first = re.match(r"\([^)]*\)|\S+", theirs)[0]  # type: ignore[index]
        theirs = f"(1 {first.strip('()')}){theirs.removeprefix(first)}"
    rule = Rule(key.replace(several[0], "{}") if several else key, name, f"{theirs} -> {ours}", over=over)
    before, after = (Counter(axis for group in side for axis in group) for side in rule.sides())
    if before != after or max(before.values()) > 1:
        raise ValueError(
            f"layout has {printable_value(text)} for {printable(key)}: both sides must have the same axes, each once "
            "(a second one of the same size with a prime, as d_mlp')."
        )
    if len(rule.names) > 1 and rule.sides()[1][0] != [str(len(rule.names))]:
        raise ValueError(
            f"layout has {printable_value(text)} for {printable(key)}: of {len(rule.names)} names the first axis of ours "
            f"must be {len(rule.names)}."
        )
    return rule


def unsaid(fit: Fit) -> list[str]:
    """The axes of a fit whose size is known from no array."""
    axes = {axis.rstrip("'") for groups in fit.axes.values() for group in groups for axis in group}
    return sorted(axis for axis in axes if not axis.isdecimal() and axis not in fit.sizes)


def check_sizes(fit: Fit) -> None:
    """Raises Refusal where a size is not known."""
    if lacking := unsaid(fit):
        raise Refusal(
            f"no array says {listed(lacking)} of your mapping: give what is not known of axes that lie together, "
            f"config={{{lacking[-1]!r}: …}}."
        )


def open_to_doubt(fit: Fit, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The keys of arrays that their shapes do not hold to their rule: two axes have one size, or several lie together."""
    doubtful = [
        key
        for key, groups in fit.axes.items()
        if len(set(shapes[key])) < len(shapes[key])
        or any(len([axis for axis in group if axis != "1"]) > 1 for group in groups)
    ]
    return tuple(sorted(doubtful))
