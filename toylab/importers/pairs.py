"""Layouts of networks for two tokens without attention: Zhong et al. 2023's linear models, Chughtai et al. 2023's MLP."""

from typing import Any

from toylab.importers.rules import Form, Rule, Settings, Sizes
from toylab.importers.settings import chosen, stated
from toylab.models import ModularMLP, Net, PizzaLinear

TYPES = {"A": "alpha", "B": "beta", "C": "gamma", "D": "delta"}
SAME = "d_mlp -> d_mlp"


def _linear(what: str, kinds: str, first: str, *deeper: Rule) -> Form:
    """A form of the linear models; a torch Linear's weight is [out, in]."""

    def net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
        stated(given, "d_hidden", sizes["d_mlp"])
        if len(kinds) > 1 and "model_type" not in given:
            raise ValueError(
                "config lacks model_type: models B and C have the same arrays; load(…, config={'model_type': 'B'})."
            )
        kind = chosen(given, "model_type", {kind: TYPES[kind] for kind in kinds}, TYPES[kinds[0]])
        fields: dict[str, Any] = {name: sizes[name] for name in ("d_vocab", "d_vocab_out", "d_model", "d_mlp")}
        return Net.of(PizzaLinear, **fields, kind=kind)

    rules = (
        Rule("embed.weight", "W_E", "d_vocab d_model -> d_vocab d_model"),
        Rule("l1.weight", "W_in", first),
        Rule("l1.bias", "b_in", SAME),
        *deeper,
        Rule("unembed.weight", "W_U", "d_vocab_out d_mlp -> d_mlp d_vocab_out"),
    )
    back = {ours: theirs for theirs, ours in TYPES.items()}
    return Form(what, rules, net, lambda net: {"model_type": back[net.kind]}, reads=("model_type", "d_hidden"))


SECOND = (Rule("l2.weight", "W_mid", "d_mlp' d_mlp -> d_mlp d_mlp'"), Rule("l2.bias", "b_mid", SAME))
LINEAR = (
    _linear("linear model A", "A", "d_mlp d_model -> d_model d_mlp"),
    _linear("linear model B or C", "BC", "d_mlp d_model -> d_model d_mlp", *SECOND),
    _linear("linear model D", "D", "d_mlp (2 d_model) -> 2 d_model d_mlp"),
)


def _mlp(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
    fields: dict[str, Any] = {name: sizes[name] for name in ("d_vocab", "d_vocab_out", "d_model", "d_mlp")}
    return Net.of(ModularMLP, **fields)


UNIVERSAL = Form(
    what="MLP",
    rules=(
        Rule("W_{}", "W_E", "d_vocab d_model -> d_vocab d_model", over=("x", "y")),
        Rule("W", "W_in", "(2 d_model) d_mlp -> 2 d_model d_mlp"),
        Rule("W_U", "W_U", "d_mlp d_vocab_out -> d_mlp d_vocab_out"),
    ),
    net=_mlp,
    settings=lambda net: {},
)
