"""Layouts of networks for two tokens without attention: Zhong et al. 2023's linear models, Chughtai et al. 2023's MLP."""

from typing import Any

from toylab.importers.rules import Form, Rule, Sizes
from toylab.importers.settings import Lacking, Settings, chosen, harmless, read, refused, stated
from toylab.models import ModularMLP, Net, PizzaLinear

TYPES = {"A": "alpha", "B": "beta", "C": "gamma", "D": "delta"}
SAME = "d_mlp -> d_mlp"
TRAINING = "how it was trained"
ZHONG = {  # of a released config: train-main.py and train-linear.py of fjzzq2002/pizza
    **harmless("what it was trained on: networks take tokens", "name", "funcs", "func", "C", "diff_vocab", "eqn_sign"),
    **harmless(TRAINING, "epoch", "batch_size", "lr", "weight_decay", "frac", "runid", "early_stop", "clip"),
}
LINEAR_FIELDS = {
    **ZHONG,
    **read("A, B, C or D; told by the arrays but for B and C", "model_type"),
    **read("a size, held against the arrays", "d_hidden", "n_vocab"),
    **harmless("the width of the code's hidden layer, which model D's embeddings have half of", "d_model"),
}
CHUGHTAI = {  # of cfg.json, rep_theory/utils/config.py of bilal-chughtai/rep-theory-mech-interp
    **harmless("what it was trained on: networks take tokens", "group", "group_parameter", "frac_train"),
    **harmless(TRAINING, "lr", "weight_decay", "betas", "seed", "num_epochs"),
    **harmless("sizes that the arrays have", "layers"),
}


def _linear(what: str, kinds: str, first: str, *deeper: Rule) -> Form:
    """A form of the linear models; a torch Linear's weight is [out, in]."""

    def net(sizes: Sizes, parts: frozenset[str], given: Settings) -> Net:
        stated(given, "d_hidden", sizes["d_mlp"])
        stated(given, "n_vocab", sizes["d_vocab"])
        if len(kinds) > 1 and "model_type" not in given:
            message = (
                "config lacks model_type: models B and C have the same arrays; load(…, config={'model_type': 'B'})."
            )
            raise Lacking(message, {"model_type": "B or C"})
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
    return Form(what, rules, net, lambda net: {"model_type": back[net.kind]}, LINEAR_FIELDS)


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
    fields=CHUGHTAI | refused("these arrays are those of its MLP with ReLU", "model", "OneLayerMLP"),
)
