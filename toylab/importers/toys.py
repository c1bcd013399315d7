"""Layouts of the toy models of superposition, and toylab's own names."""

from typing import Any, Literal, get_args, get_origin

from toylab import models
from toylab.importers.rules import Form, Rule, Settings, Sizes
from toylab.importers.settings import chosen
from toylab.importers.transformers import LENS_RULES
from toylab.models import BiasedTransformer, ModularMLP, Net, PizzaLinear, ToyModel, Transformer, fields
from toylab.models.handbuilt import Handbuilt

TOY = ("hidden", "output")


def _toy(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
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
        reads=(*TOY, "instance"),
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
    known = [name for name in models.__all__ if name != "Net"]
    if name not in known:
        raise ValueError(f"config.module is {name!r}: it must be one of {', '.join(known)}.")
    return getattr(models, name)


def _own(default: type, found: dict[str, Any]) -> Any:
    """A net of the module that config names, or of this one: sizes and fields from the arrays, the others from config."""

    def net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
        told: dict[str, Any] = {**sizes, **found}
        if default is Transformer:
            told |= {"layer_norm": "norm" in parts} | ({} if "mlp" in parts else {"d_mlp": 0})
            told |= {} if "positions" in parts else {"positions": "none"}
        module = module_of(given, BiasedTransformer if "biases" in parts else default)
        told = {name: value for name, value in told.items() if name in fields(module)}
        return Net.of(module, **told | typed(module, given, max(sizes.values())))

    return net


def typed(module: type, given: Settings, largest: int) -> dict[str, Any]:
    """The fields of a module that config gives: of their types, and no size beyond the arrays' where they would be made."""
    found = {name: value for name, value in given.items() if name != "module"}
    for name, value in found.items():
        hint = fields(module)[name][0] if name in fields(module) else Any
        whole, known = isinstance(value, int) and not isinstance(value, bool), get_args(hint)
        fits = {int: whole, float: whole or isinstance(value, float), bool: isinstance(value, bool)}.get(hint, True)
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(hint)
        if not fits or (get_origin(hint) is Literal and value not in known):
            raise ValueError(
                f"config.{name} is {value!r}: it must be {wanted or 'one of ' + ', '.join(map(str, known))}."
            )
        if hint is int and issubclass(module, Handbuilt) and value > largest:  # which is made to be compared
            raise ValueError(f"config.{name} is {value}: no axis of the arrays has more than {largest}.")
    return found


def settings_of_net(net: Net) -> dict[str, Any]:
    return {"module": net.module.__name__, **dict(net.sizes), **{k: float(v) for k, v in net.leaves.items()}}


def _form(module: type, *rules: Rule, **found: Any) -> Form:
    return Form(module.__name__, rules, _own(module, found), settings_of_net)


E_VOCAB, U_MLP = "d_vocab d_model", _same("d_mlp d_vocab_out", "W_U")
MID = (*_same("d_mlp' d_mlp", "W_mid"), *_same("d_mlp", "b_mid"))
OWN = (
    _form(Transformer, *map(_stacked, LENS_RULES)),
    _form(ModularMLP, *_same(f"2 {E_VOCAB}", "W_E"), *_same("2 d_model d_mlp", "W_in"), *U_MLP),
    _form(ModularMLP, *_same(E_VOCAB, "W_E"), *_same("2 d_model d_mlp", "W_in"), *U_MLP, embedding="shared"),
    _form(PizzaLinear, *_same(E_VOCAB, "W_E"), *_same("d_model d_mlp", "W_in"), *_same("d_mlp", "b_in"), *U_MLP),
    _form(
        PizzaLinear, *_same(E_VOCAB, "W_E"), *_same("2 d_model d_mlp", "W_in"), *_same("d_mlp", "b_in"), *U_MLP,
        kind="delta",
    ),
    _form(
        PizzaLinear, *_same(E_VOCAB, "W_E"), *_same("d_model d_mlp", "W_in"), *_same("d_mlp", "b_in"), *MID, *U_MLP,
        kind="beta",
    ),
    _form(ToyModel, *_same("n_features n_hidden", "W"), *_same("n_features", "b")),
    _form(ToyModel, *_same("n_features n_hidden", "W"), bias=False),
)  # fmt: skip
