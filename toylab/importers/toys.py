"""Layouts of the toy models of superposition, and toylab's own names."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from toylab import models
from toylab.importers.lens import LENS_RULES
from toylab.importers.naming import Refusal, printable_value
from toylab.importers.rules import Form, Rule, Sizes
from toylab.importers.settings import Settings, chosen, harmless, read, require, same, stated
from toylab.models import BiasedTransformer, ModularMLP, Net, PizzaLinear, ToyModel, Transformer, fields
from toylab.models.handbuilt import Handbuilt

TOY = ("hidden", "output")
TOY_FIELDS = {  # Config and Model of the released notebook, which has one output, ReLU, and no activation before it
    **read("toylab's own: linear or relu", *TOY),
    **read("which of the models that are trained side by side", "instance"),
    **read("a size, held against the arrays", "n_features", "n_hidden"),
    **harmless("the array has as many as it has", "n_instances"),
    **harmless("how it was trained", "feature_probability", "importance", "device"),
}


def _toy(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    for name in ("n_features", "n_hidden"):
        stated(given, name, sizes[name])
    kinds = {"linear": "linear", "relu": "relu"}
    hidden, output = chosen(given, "hidden", kinds, "linear"), chosen(given, "output", kinds, "relu")
    fields: dict[str, Any] = {name: sizes[name] for name in ("n_features", "n_hidden")}
    return Net.of(ToyModel, **fields, hidden=hidden, output=output, bias="bias" in parts)


def _toy_settings(net: Net) -> dict[str, Any]:
    return {name: getattr(net, name) for name in TOY}


def _toy_form(*bias: str) -> Form:
    rules = [Rule("W", "W", "n_features n_hidden -> n_features n_hidden")]
    rules += [Rule(key, "b", "n_features -> n_features") for key in bias]
    parts = frozenset({"bias"} if bias else ())
    return Form(
        "toy model", tuple(rules), lambda sizes, _, given: _toy(sizes, parts, given), _toy_settings,
        TOY_FIELDS, together=True,  # W says how many instances are side by side
    )  # fmt: skip


TOY_MODELS = (_toy_form("b_final"), _toy_form("b"), _toy_form())


def _same(axes: str, *names: str, parts: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    return tuple(Rule(name, name, f"{axes} -> {axes}", parts) for name in names)


def _stacked(rule: Rule) -> Rule:
    """A rule of TransformerLens' layout, whose orientation is toylab's, for arrays that have their layers stacked."""
    ours = rule.axes.split("->")[1].strip()
    axes = f"n_layers {ours}" if "{}" in rule.key else ours
    return Rule(rule.name, rule.name, f"{axes} -> {axes}", rule.parts)


def module_of(given: Settings, default: type) -> type:
    name = given.get("module", default.__name__)
    name = name if isinstance(name, str) else printable_value(name)
    known = [name for name in models.__all__ if name != "Net"]
    if name not in known:
        raise Refusal(f"config.module is {printable_value(name)}: it must be one of {', '.join(known)}.")
    return getattr(models, name)


def fields_of(given: Settings, sizes: Sizes) -> dict[str, Any]:
    """A config without sizes that arrays show, or with those that are fields of the module that it names."""
    own = {name: value for name, value in given.items() if name not in sizes}
    known = fields(module_of(given, Transformer)) if "module" in given else {}
    return own | {name: size for name, size in sizes.items() if name in known}


def _own(default: type, found: dict[str, Any]) -> Any:
    """A net of the module that config names, or of this one: sizes and fields from the arrays, the others from config."""

    def net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
        known: dict[str, Any] = {**sizes, **found}
        if default is Transformer:
            known |= {"layer_norm": "norm" in parts} | ({} if "mlp" in parts else {"d_mlp": 0, "activation": "relu"})
        module = module_of(given, BiasedTransformer if "biases" in parts else default)
        known = {name: value for name, value in known.items() if name in fields(module)}
        known |= typed(module, given, max(sizes.values()))
        require_all(module, known)
        return Net.of(module, **known)

    return net


def typed(module: type, given: Settings, largest: int) -> dict[str, Any]:
    """The fields of a module that config gives: of their types, and no size beyond the arrays' where they would be made."""
    found = {name: value for name, value in given.items() if name != "module"}
    for name, value in found.items():
        hint = fields(module)[name][0] if name in fields(module) else Any
        whole, known = isinstance(value, int) and not isinstance(value, bool), get_args(hint)
        whole = whole and abs(value) < 1 << 63  # what floats and arrays can hold
        fits = {int: whole, float: whole or isinstance(value, float), bool: isinstance(value, bool)}.get(hint, True)
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(hint)
        if not fits or (get_origin(hint) is Literal and not any(same(value, one) for one in known)):
            raise Refusal(
                f"config.{name} is {printable_value(value)}: it must be {wanted or 'one of ' + ', '.join(map(str, known))}."
            )
        if hint is int and issubclass(module, Handbuilt) and value > largest:  # which is made to be compared
            raise Refusal(f"config.{name} is {value}: no axis of the arrays has more than {largest}.")
    return found


SHAPED = (
    "inputs",
    "output_matrix",
    "embedding",
    "tied",
    "decoder_bias",
    "bias",
    "layer_norm",
)  # told by arrays or inputs
FUNCTION = ("attention_rate", "k", "rotary_dim")  # numbers on which the function depends, not the start alone


def require_all(module: type, known: Mapping[str, Any]) -> None:
    """Of a module's fields those that make another function of the same arrays."""
    wanted = {}
    for name, (hint, _) in fields(module).items():
        if name in FUNCTION:
            wanted[name] = "a number"
        elif name not in SHAPED and (hint is bool or get_origin(hint) is Literal):
            wanted[name] = "true or false" if hint is bool else " or ".join(map(str, get_args(hint)))
    require(known, wanted)


def settings_of_net(net: Net) -> dict[str, Any]:
    return {"module": net.module.__name__, **dict(net.sizes), **{k: float(v) for k, v in net.leaves.items()}}


def _form(module: type, *rules: Rule, **found: Any) -> Form:
    return Form(module.__name__, rules, _own(module, found), settings_of_net, {})


E_VOCAB, U_MLP = "d_vocab d_model", _same("d_mlp d_vocab_out", "W_U")
MID = (*_same("d_mlp' d_mlp", "W_mid"), *_same("d_mlp", "b_mid"))
OWN = (
    _form(Transformer, *map(_stacked, LENS_RULES)),
    _form(ModularMLP, *_same(f"2 {E_VOCAB}", "W_E"), *_same("2 d_model d_mlp", "W_in"), *U_MLP),
    _form(ModularMLP, *_same(E_VOCAB, "W_E"), *_same("2 d_model d_mlp", "W_in"), *U_MLP, embedding="shared"),
    _form(ModularMLP, *_same("2 d_vocab d_mlp", "W_in"), *U_MLP, embedding="none"),
    _form(
        PizzaLinear, *_same(E_VOCAB, "W_E"), *_same("d_model d_mlp", "W_in"), *_same("d_mlp", "b_in"), *U_MLP,
        kind="alpha",
    ),
    _form(
        PizzaLinear, *_same(E_VOCAB, "W_E"), *_same("2 d_model d_mlp", "W_in"), *_same("d_mlp", "b_in"), *U_MLP,
        kind="delta",
    ),
    _form(
        PizzaLinear, *_same(E_VOCAB, "W_E"), *_same("d_model d_mlp", "W_in"), *_same("d_mlp", "b_in"), *MID, *U_MLP,
    ),  # beta or gamma
    _form(ToyModel, *_same("n_features n_hidden", "W"), *_same("n_features", "b")),
    _form(ToyModel, *_same("n_features n_hidden", "W"), bias=False),
)  # fmt: skip
