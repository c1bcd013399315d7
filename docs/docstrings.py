"""Docstrings as Markdown: they are plain text for `help()`, with formulas in Unicode, and the site shows them as that.

griffe reads the Google sections (Args, Returns, Raises) and mkdocstrings renders them. This extension (mkdocs.yml) does to
their prose what neither of them can: formulas in Unicode become sub- and superscripts (W_E, p^{3/2}, Σ_{j≠y}), which need
no script, font or network, as KaTeX and MathJax would, and `help()` stays readable. No character of a formula is taken for
markup. Names beside what they are become tables, other aligned columns stay aligned. hooks.py uses it for the experiments'
heads, too.
"""

import html
import re
import textwrap
from typing import Any

import griffe

# A letter (with its accent), a named function or a bracket, and what hangs below: an index or two; below a capital also a
# word. `d_model` is a name. What stands behind ^ is always above.
LETTER = r"(?<![\w`])(?:[^\W\d_][\u0300-\u036f′]*|cos|sin|log|max|min|argmax|mean|std|in|out|tok)"
BASE = rf"(?:{LETTER}|(?<=[)\]‖|])|(?<=</su[bp]>)|(?<=\S)(?=_\{{))"
WORD = r"(?<=\b[A-Zα-ω]_)[A-Za-z]{2,9}|(?<=\bb_)(?:in|out|mid|enc|dec)|(?<=\b[a-z]_)(?:clean|corrupt)"
INDEX = rf"[−-]?(?:[^\W\d_]|\d+|[i-n]{{2}}|{WORD})(?![A-Za-z0-9_])|[†⊤∞]|(?<=[ΣΠ∫]_)[a-z]+"
BELOW = re.compile(rf"(?P<base>{BASE})(?P<mark>_)(?:\{{(?P<group>[^{{}}]*)\}}|(?P<single>{INDEX}))")
ABOVE = re.compile(r"(?P<base>(?<=\S))(?P<mark>\^)(?:[{(](?P<group>[^{}()]*)[})]|(?P<single>[−-]?(?:\w+|[†⊤∞])))")
CODE = re.compile(r"(`+)(.+?)\1", re.S)
MATHEMATICS = re.compile(r"[_^]\{|[Σ√‖∂∇π²−·⟨]")  # no code has these
ALIGNED = re.compile(r"\S {3,}\S")
NAMED = re.compile(r"(\w.*?) {2,}(\S.*)")


class AsMarkdown(griffe.Extension):
    """Every docstring, once its object is complete."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        self.on_object(obj=pkg)  # griffe does not count it among the objects

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        old = obj.docstring
        if old and not isinstance(old, Written):
            where = {"lineno": old.lineno, "endlineno": old.endlineno, "parent": old.parent}
            obj.docstring = Written(old.value, **where, parser=old.parser, parser_options=old.parser_options)


class Written(griffe.Docstring):
    """A docstring whose prose is Markdown, section by section; names and types of arguments stay as griffe read them."""

    def parse(self, *arguments: Any, **options: Any) -> list[griffe.DocstringSection]:
        sections = super().parse(*arguments, **options)
        for section in sections:
            if isinstance(section.value, str):
                section.value = markdown(section.value)
            elif isinstance(section.value, list):
                for item in section.value:
                    if isinstance(item, griffe.DocstringElement):
                        item.description = markdown(item.description)
        return sections


def markdown(text: str) -> str:
    """A plain docstring as Markdown: paragraphs with their formulas, aligned or indented ones as they stand."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", text.strip("\n")))


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    columns = sum(bool(ALIGNED.search(line)) for line in lines)
    if columns >= 2 and (table := _names(lines)):
        return table
    if columns >= 2 or (lines[0].startswith("    ") and len(lines) > 1):
        return "\n".join(["```text", *lines, "```"])
    if all(line.startswith("    ") for line in lines):
        kind = "text" if MATHEMATICS.search(text) else "python"
        return "\n".join([f"```{kind}", *(line[4:] for line in lines), "```"])
    return formulas(text)


def _names(lines: list[str]) -> str:
    """Two columns, names and what they are, as a table; below a line of its own if there is one; "" for other columns."""
    above = [] if "  " in lines[0] else [formulas(lines[0]), ""]
    rows: list[list[str]] = []
    for line in textwrap.dedent("\n".join(lines[bool(above) :])).split("\n"):
        if (found := NAMED.match(line)) and not ALIGNED.search(found[2]):
            rows.append([f"`{found[1]}`", found[2]])
        elif rows and line.startswith("    "):
            rows[-1][1] += " " + line.strip()
        else:
            return ""
    return "\n".join([*above, "| | |", "|---|---|", *(f"| {name} | {formulas(what)} |" for name, what in rows)])


def formulas(text: str) -> str:
    """Prose with sub- and superscripts; what stands in backticks stays code, unless it is a formula."""
    out, at = [], 0
    for found in CODE.finditer(text):
        code = f"<code>{_prose(found[2])}</code>" if MATHEMATICS.search(found[2]) else found[0]
        out += [_prose(text[at : found.start()]), code]
        at = found.end()
    return "".join([*out, _prose(text[at:])])


def _prose(text: str) -> str:
    """No character of a formula is markup."""
    text = re.sub(r"([\\*\[\]#|])", r"\\\1", html.escape(text, quote=False))
    while (lifted := ABOVE.sub(_lift, BELOW.sub(_lift, text))) != text:  # again for x_i^2_j
        text = lifted
    return re.sub(r"(?<!\\)_", r"\\_", text)


def _lift(found: re.Match[str]) -> str:
    tag = "sub" if found["mark"] == "_" else "sup"
    inner = found["group"] if found["group"] is not None else found["single"]
    return f"{found['base']}<{tag}>{inner}</{tag}>"
