"""Judged claims in Markdown, as claims.md, the docs and `toylab report` show them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toylab.claims.counts import counted, counts

HEAD = ("claim (where)", "paper", "ours", "effect", "set-up", "variants", "verdict")
TITLES = {
    "replication": "What papers state",
    "finding": "What we found, and no paper says",
    "check": "Checks of our analyzers on released weights",
}


def markdown(claims: Sequence[Mapping[str, Any]]) -> str:
    """A table for each ledger, with its counts. They are never added up."""
    parts = [told] if (told := off(claims)) else []
    for ledger, title in TITLES.items():
        members = [claim for claim in claims if claim["ledger"] == ledger]
        if members:
            rows = [f"| {' | '.join(cells(claim, escaped))} |" for claim in members]
            head = f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"
            parts.append("\n".join([f"## {title}: {counted(counts(claims, ledger))}", "", *head, *rows]))
    return "\n\n".join(parts) + "\n"


def off(claims: Sequence[Mapping[str, Any]]) -> str:
    """What stands before claims of runs with other values than those of the page; "" where there are none such."""
    values = dict.fromkeys(claim["off"] for claim in claims if claim.get("off"))
    told = f"Judged off their set-up, with {' or '.join(values)}: no verdict on what the papers state."
    return told if values else ""


def cells(claim: Mapping[str, Any], text: Callable[[str], str] = str) -> list[str]:
    """The cells of a claim's row."""
    source = claim["source"]
    where = f" ({', '.join(part for part in (source['paper'], source['where']) if part)})" if source else ""
    verdict = claim["verdict"] + (f". {claim['reason']}" if claim["reason"] else "")
    if claim.get("command"):
        verdict += f" For an accelerator: `{claim['command']}`."
    if not claim.get("confirmed", True) and claim["n"]:
        verdict += " Exploratory: development seeds."
    if claim.get("seeds"):
        verdict += f" About {claim['seeds']} values would decide."
    found = [claim["name"] + where, paper(claim), ours(claim), effect(claim), setup(claim), multiverse(claim), verdict]
    shown = [text(cell) for cell in found]
    return [f"~~{cell}~~" if claim.get("withdrawn") and cell else cell for cell in shown]


def paper(claim: Mapping[str, Any]) -> str:
    """What the paper says, its n, and the rule."""
    source = claim["source"]
    said = source["says"] if source else ""
    n = f" (n = {source['n']})" if source and source["n"] else ""
    return f"{said}{n}; rule: {claim['rule']}" if said else f"rule: {claim['rule']}"


def ours(claim: Mapping[str, Any]) -> str:
    """Estimate, interval and n."""
    if not claim["n"] or claim.get("estimate") is None:
        return "–" if not claim["n"] else f"n = {claim['n']}"
    unit = f" {claim['unit']}" if claim["unit"] else ""
    interval = "" if claim["shows"] in ("all", "lowest loss") else f" {between(claim['interval'])}"
    dropped = f", the first of {claim['given']}" if claim.get("given") else ""
    return f"{claim['shows']} {number(claim['estimate'])}{interval}{unit}, n = {claim['n']}{dropped}"


def effect(claim: Mapping[str, Any]) -> str:
    """Ours over the paper's, or the share of runs that show it."""
    if claim.get("ratio"):
        return f"×{number(claim['ratio'][0])} {between(claim['ratio'][1:])}"
    if claim.get("share"):
        return f"in {claim['share'][0]:.0%} {between(claim['share'][1:])}"
    return "–"


def setup(claim: Mapping[str, Any]) -> str:
    if claim.get("off"):
        return "off its set-up"
    if claim["ledger"] == "finding" and claim["fidelity"] == "exact":
        return "–"
    return claim["fidelity"] + (f": {claim['different']}" if claim["different"] else "")


def multiverse(claim: Mapping[str, Any]) -> str:
    """Of how many choices, the claim's own with them, the verdict is the same."""
    variants = claim["variants"]
    if not variants or not claim["n"]:
        return "–"
    return f"{1 + sum(verdict == claim['verdict'] for verdict in variants.values())} of {1 + len(variants)}"


def number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def between(interval: Sequence[float | None]) -> str:
    low, high = interval
    if low is None and high is None:
        return "[no interval]"
    return f"[{'−∞' if low is None else number(low)}; {number(high)}]"


def escaped(text: str) -> str:
    return text.replace("|", "\\|")
