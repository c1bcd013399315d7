"""The claims of a page with their verdicts, and its figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import Column, CustomJS, Div, Select

from toylab.claims import table
from toylab.explore.plots.frames import escaped, plain

MARKS = {"agrees": "✓", "differs": "✗", "direction only": "↗", "undecided": "?", "not at this scale": "–"}
HEAD = ("verdict", "claim", "ours", "rule", "source")


class Claims:
    """A table of claims; a claim opens the figure that fits it best, where the page has figures."""

    def __init__(self) -> None:
        self.table = Div(text="", sizing_mode="stretch_width", css_classes=["claims"])
        self.figure = Select(title="Figure", options=[("", "none")], value="", width=300, visible=False)
        self.picture = Div(text="", sizing_mode="stretch_width")
        code = """
            const address = select.value
            const [, name] = select.options.find(([own]) => own === address) ?? ["", ""]
            const safe = name.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`)
            picture.text = address === "" ? "" : `<img alt="${safe}" src="${address}">`
        """
        args = {"select": self.figure, "picture": self.picture}
        self.figure.js_on_change("value", CustomJS(args=args, code=code))
        self.model = Column(children=[self.table, self.figure, self.picture], sizing_mode="stretch_width")

    def fill(self, claims: Sequence[Mapping[str, Any]], figures: Mapping[str, str]) -> None:
        """Puts these claims and figures, addresses by name, in place of those that are there."""
        options = [("", "none"), *((address, plain(name)) for name, address in figures.items())]
        if self.figure.options != options:
            self.figure.update(options=options, value="", visible=bool(figures))
        rows = "".join(self._row(claim, figures) for claim in claims)
        head = "".join(f'<th scope="col">{one}</th>' for one in HEAD)
        said = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        text = said if claims else "<p>This page has no judged claims.</p>"
        if self.table.text != text:
            self.table.text = text

    def _row(self, claim: Mapping[str, Any], figures: Mapping[str, str]) -> str:
        verdict = str(claim.get("verdict", "–"))
        source = claim.get("source")
        source = source if isinstance(source, Mapping) else {}
        name = escaped(claim.get("name", "–"))
        if figures:
            name = f'<a href="{figures[closest(str(claim.get("name")), list(figures))]}" target="_blank">{name}</a>'
        where = ", ".join(str(source[part]) for part in ("paper", "where") if source.get(part))
        if source.get("says"):
            where += f": {source['says']}" + (f" (n = {source['n']})" if source.get("n") else "")
        reason = f"<br><small>{escaped(claim['reason'])}</small>" if claim.get("reason") else ""
        number = list(MARKS).index(verdict) if verdict in MARKS else 2
        mark = f'<span class="verdict v{number}">{MARKS.get(verdict, "")}</span>'
        cells = (
            f"{mark} {escaped(verdict)}{reason}",
            name,
            *map(escaped, (_ours(claim), claim.get("rule", "–"), where or "–")),
        )
        return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _ours(claim: Mapping[str, Any]) -> str:
    """Value, interval and n; what is not there is left out."""
    try:
        return table.ours(claim)
    except (KeyError, TypeError, ValueError):
        return "–"


def closest(name: str, figures: Sequence[str]) -> str:
    """The figure whose name has most words of the claim's; of several the first."""
    words = {word[:5] for word in name.lower().replace("_", " ").replace(":", " ").split()}
    shared = [len(words & {word[:5] for word in one.lower().replace("_", " ").split()}) for one in figures]
    return figures[shared.index(max(shared))]
