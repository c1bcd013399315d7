"""Which layouts the keys of a source fit: `guess(source)`. Nothing is loaded, and what arrays do not say is not assumed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toylab.importers import buffers, checks, safetensors
from toylab.importers.files import kind_of, settings_of, shapes_of
from toylab.importers.layouts import FORMS
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.opening import Choice, module_net
from toylab.importers.rules import Fit, Form, Settings, fit
from toylab.importers.settings import Lacking, check_fields

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Guess:
    """How a source fits one layout."""

    layout: str
    what: str
    """The network of the layout that fits best."""
    prefix: str = ""
    """What `load` must be told as `prefix`."""
    missing: tuple[str, ...] = ()
    """Keys that the layout has and the source lacks."""
    extra: tuple[str, ...] = ()
    """Keys of the source that the layout has not."""
    misshapen: tuple[str, ...] = ()
    """Keys whose array has another shape, each with both shapes."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Settings that the arrays do not say and no config said: name → values."""
    refused: str = ""
    """The sentence by which `load` would refuse the config."""

    @property
    def fits(self) -> bool:
        """Whether all keys are there with their shapes, and no others."""
        return not (self.missing or self.extra or self.misshapen)

    @property
    def ready(self) -> bool:
        """Whether `load(source, layout, prefix=…)` needs nothing else."""
        return self.fits and not self.needs and not self.refused

    def __str__(self) -> str:
        start = f"{'fits' if self.fits else 'is near'} {self.layout} ({self.what})"
        start += f" with prefix={self.prefix!r}" if self.prefix else ""
        parts = {"missing": self.missing, "extra": self.extra, "misshapen": self.misshapen}
        said = [f"{name} {listed(keys, each=160)}" for name, keys in parts.items() if keys]
        if self.needs:
            said.append(f"config must say {', '.join(f'{name} ({values})' for name, values in self.needs.items())}")
        return f"{start}: {'; '.join(said + [self.refused] * bool(self.refused)) or 'nothing else is needed'}"


class Guesses(tuple[Guess, ...]):
    """The layouts that fit, the best first, then those that nearly do; `print` gives a line for each."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no layout has most of these keys"


def guess(
    source: str | Path | Mapping[str, Any],
    *,
    config: Mapping[str, Any] | str | Path | None = None,
    ignore: Collection[str] = (),
    within: str = "",
) -> Guesses:
    """Which layouts the keys and shapes of a source fit, and what each would still need.

    Square arrays do not tell how they lie, and what the arrays do not say is listed, not assumed: take the layout whose
    code wrote the source, and check the loaded network with `load(…, probe=…)`.

    Args:
        source, config, ignore, within: as of `load`. Of `.safetensors` and `.npz` files the headers alone are read.

    Returns:
        The guesses, by the number of keys that do not fit; layouts that have less than half of the keys are left out.

    Raises:
        ValueError: in one sentence, where the source cannot be read.
    """
    choice = Choice(ignore, "", within)
    stated = _stated(source)
    shapes, found = shapes_of(source, stated, choice.ignore, choice.within)
    given = found | settings_of(config)
    if not shapes:
        raise Refusal("source holds no arrays.")
    prefixes = ["", *checks.shared_prefixes(shapes)]
    guesses = []
    for layout in [stated] if stated in FORMS else FORMS:
        tried = [_guessed(layout, shapes, prefix, given) for prefix in prefixes]
        n_problems, best = min(tried, key=lambda one: one[0])
        if best.fits or 2 * (len(best.extra) + len(best.misshapen)) <= len(shapes):
            guesses.append((n_problems, best))
    return Guesses(best for _, best in sorted(guesses, key=lambda one: (not one[1].fits, one[0])))


def _stated(source: Any) -> str:
    """The layout that a file of `save` says it has; "" where none does."""
    try:
        path = Path(source) if isinstance(source, str | Path) else None
        if path is None or not path.is_file() or kind_of(path) != ".safetensors":
            return ""
        return safetensors.shapes(path)[1].get("layout", "")
    except (OSError, ValueError):  # which shapes_of says in its own words
        return ""


def _guessed(layout: str, shapes: Shapes, prefix: str, given: Settings) -> tuple[int, Guess]:
    """The number of keys that do not fit, and the guess."""
    bare = checks.bare(shapes, prefix)
    given = buffers.said(FORMS[layout], bare) | dict(given)
    forms = [form for form in FORMS[layout] if form.suits(given)] or FORMS[layout]
    kept = {key: shape for key, shape in bare.items() if not buffers.is_buffer(tuple(forms), key, given)}
    needs: dict[str, str] = {}
    if layout == "toy_models" and len(stack := kept.get("W", ())) == 3:
        kept = {key: shape[1:] if shape[:1] == stack[:1] else shape for key, shape in kept.items()}
        needs = {"instance": f"0 to {stack[0] - 1}"} if "instance" not in given and stack[0] > 1 else {}
    best = min((fit(form, kept, given) for form in forms), key=lambda found: found.n_problems)
    if best.n_problems and layout == "toylab" and "module" in given:
        return _of_module(kept, given, prefix)
    more, refused, what = _wanted(layout, best, given) if not best.n_problems else ({}, "", best.form.what)
    missing, extra = (tuple(map(printable, keys)) for keys in (best.missing, best.extra))
    found = Guess(layout, what, prefix, missing, extra, tuple(best.misshapen), needs | more, refused)
    return best.n_problems, found


def _wanted(layout: str, best: Fit, given: Settings) -> tuple[dict[str, str], str, str]:
    """Settings that are lacking, or the sentence that refuses those that are given; and what the network is."""
    form: Form = best.form
    try:
        if layout != "toylab":
            check_fields(given, form.fields, form.traits(best.parts, given))
        net = form.net(best.sizes, best.parts, given).check()
        return {}, "", net.module.__name__ if layout == "toylab" else form.what
    except Lacking as error:
        return error.wanted, "", form.what
    except ValueError as error:
        return {}, str(error), form.what


def _of_module(shapes: Shapes, given: Settings, prefix: str) -> tuple[int, Guess]:
    """The guess for params of a module that the config names."""
    what = printable(given["module"])
    try:
        problems = checks.unfit(module_net(shapes, given), shapes)
    except Lacking as error:
        return 0, Guess("toylab", what, prefix, needs=error.wanted)
    except ValueError as error:
        return 0, Guess("toylab", what, prefix, refused=str(error))
    missing, extra, misshapen = (tuple(problems[name]) for name in ("missing", "extra", "misshapen"))
    found = Guess("toylab", what, prefix, tuple(map(printable, missing)), tuple(map(printable, extra)), misshapen)
    return len(missing) + len(extra) + len(misshapen), found
