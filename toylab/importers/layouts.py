"""The layouts by name, and the forms that each may have."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from toylab.importers import toys
from toylab.importers.bridge import BRIDGE
from toylab.importers.decoders import GROK, MAMAY
from toylab.importers.dictionaries import SAE_LENS
from toylab.importers.hugging_face import GPT2, NEOX
from toylab.importers.lens import GROUPED, LENS, UNIVERSAL_LENS
from toylab.importers.naming import printable_value
from toylab.importers.pairs import LINEAR, UNIVERSAL
from toylab.importers.recipes import recipe
from toylab.importers.rules import Form
from toylab.importers.transformers import PIZZA, PROGRESS, PROGRESS_ATTENTION

Layout = Literal[
    "toylab", "transformer_lens", "transformer_bridge", "progress_measures", "pizza", "universality", "grok",
    "danielmamay_grokking", "sae_lens", "toy_models", "gpt2", "gpt_neox",
]  # fmt: skip

FORMS: dict[str, tuple[Form, ...]] = {
    "toylab": toys.OWN,
    "transformer_lens": (LENS, GROUPED),
    "transformer_bridge": BRIDGE,
    "progress_measures": (PROGRESS, PROGRESS_ATTENTION),
    "pizza": (PIZZA, *LINEAR),
    "universality": (UNIVERSAL, UNIVERSAL_LENS),
    "grok": GROK,
    "danielmamay_grokking": MAMAY,
    "sae_lens": SAE_LENS,
    "toy_models": toys.TOY_MODELS,
    "gpt2": GPT2,
    "gpt_neox": NEOX,
}


def named(layout: Any) -> str:
    return layout if isinstance(layout, str) else "a mapping of your own"


def forms_of(layout: Any) -> tuple[Form, ...]:
    if isinstance(layout, Mapping):
        return (recipe(layout),)
    if not isinstance(layout, str) or layout not in FORMS:
        raise ValueError(
            f"layout is {printable_value(layout)}: it must be one of {', '.join(get_args(Layout))}, or a mapping."
        )
    return FORMS[layout]
