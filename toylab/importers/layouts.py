"""The layouts by name, and the forms that each may have."""

from typing import Literal, get_args

from toylab.importers import toys
from toylab.importers.bridge import BRIDGE
from toylab.importers.hugging_face import GPT2, NEOX
from toylab.importers.lens import GROUPED, LENS, UNIVERSAL_LENS
from toylab.importers.naming import printable_value
from toylab.importers.pairs import LINEAR, UNIVERSAL
from toylab.importers.rules import Form
from toylab.importers.transformers import PIZZA, PROGRESS

Layout = Literal[
    "toylab", "transformer_lens", "transformer_bridge", "progress_measures", "pizza", "universality", "toy_models",
    "gpt2", "gpt_neox",
]  # fmt: skip

FORMS: dict[str, tuple[Form, ...]] = {
    "toylab": toys.OWN,
    "transformer_lens": (LENS, GROUPED),
    "transformer_bridge": BRIDGE,
    "progress_measures": (PROGRESS,),
    "pizza": (PIZZA, *LINEAR),
    "universality": (UNIVERSAL, UNIVERSAL_LENS),
    "toy_models": toys.TOY_MODELS,
    "gpt2": GPT2,
    "gpt_neox": NEOX,
}


def forms_of(layout: str) -> tuple[Form, ...]:
    if not isinstance(layout, str) or layout not in FORMS:
        raise ValueError(f"layout is {printable_value(layout)}: it must be one of {', '.join(get_args(Layout))}.")
    return FORMS[layout]
