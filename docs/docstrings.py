"""Docstrings as Markdown: they are plain text for `help()`, with formulas in Unicode, and the site shows them as that.

Formulas need no script, font or network: what is written W_E, p^{3/2} or Σ_{j≠y} becomes sub- and superscripts. Aligned
columns stay aligned. A griffe extension (mkdocs.yml), and used by hooks.py for the experiments' heads.
"""

import html
import re
from typing import Any

import griffe

# a letter (with its accent), a named function, a bracket or digit, then what hangs below or above; `d_model` is a name
LETTER = r"(?<![\w`])(?:[^\W\d_][\u0300-\u036f′]*|cos|sin|log|max|min|argmax)"
BASE = rf"(?:{LETTER}|(?<=[)\]‖|])|(?<=\d)(?=\^)|(?<=</su[bp]>)|(?<=\S)(?=[_^]\{{))"
ONE = r"[−-]?(?:[^\W\d_]|\d+)(?![A-Za-z0-9_])|[†⊤∞]|(?<=[ΣΠ∫]_)[a-z]+"
LIFTED = re.compile(rf"(?P<base>{BASE})(?P<mark>[_^])(?:\{{(?P<group>[^{{}}]*)\}}|(?P<single>{ONE}))")
CODE = re.compile(r"(`+)(.+?)\1", re.S)
ALIGNED = re.compile(r"\S {3,}\S")


class AsMarkdown(griffe.Extension):
    """Every docstring, once its object is complete."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring and not getattr(obj.docstring, "is_markdown", False):
            obj.docstring.value = markdown(obj.docstring.value)
            obj.docstring.is_markdown = True  # type: ignore[attr-defined]


def markdown(text: str) -> str:
    """A plain docstring as Markdown: paragraphs with their formulas, aligned or indented ones as they stand."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", text.strip("\n")))


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    columns = sum(bool(ALIGNED.search(line)) for line in lines)
    if columns >= 2 or (lines[0].startswith("    ") and len(lines) > 1):
        return "\n".join(["```text", *lines, "```"])
    if all(line.startswith("    ") for line in lines):
        return "\n".join(["```python", *(line[4:] for line in lines), "```"])
    return formulas(text)


def formulas(text: str) -> str:
    """Prose with sub- and superscripts; what stands in backticks stays code."""
    out, at = [], 0
    for found in CODE.finditer(text):
        out += [_prose(text[at : found.start()]), found.group()]
        at = found.end()
    return "".join([*out, _prose(text[at:])])


def _prose(text: str) -> str:
    """No character of a formula is markup."""
    text = re.sub(r"([\\*\[\]#|])", r"\\\1", html.escape(text, quote=False))
    while (lifted := LIFTED.sub(_lift, text)) != text:  # twice for x_i^2
        text = lifted
    return re.sub(r"(?<!\\)_", r"\\_", text)


def _lift(found: re.Match[str]) -> str:
    tag = "sub" if found["mark"] == "_" else "sup"
    inner = found["group"] if found["group"] is not None else found["single"]
    return f"{found['base']}<{tag}>{inner}</{tag}>"
