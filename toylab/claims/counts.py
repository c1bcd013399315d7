"""How many judged claims there are of each verdict. It imports nothing, so that lists of pages come at once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Verdict = Literal["agrees", "direction only", "undecided", "differs", "not at this scale"]
VERDICTS: tuple[Verdict, ...] = ("agrees", "direction only", "undecided", "differs", "not at this scale")
NOT_APPLICABLE = "not applicable"  # to runs with other values than the page's
PLURAL = {"agrees": "agree", "differs": "differ"}


def counts(claims: Iterable[Mapping[str, Any]], ledger: str = "replication") -> dict[str, int]:
    """How many claims of a ledger have each verdict.

    Claims of one event count once, with the one of their verdicts that stands last in `VERDICTS`. Withdrawn claims do
    not count.
    """
    order = {verdict: i for i, verdict in enumerate((*VERDICTS, NOT_APPLICABLE))}
    of_event: dict[str, str] = {}
    for claim in claims:
        if claim["ledger"] == ledger and not claim.get("withdrawn"):
            event = claim.get("event") or f"claim {claim['name']}"
            of_event[event] = max(of_event.get(event, claim["verdict"]), claim["verdict"], key=lambda one: order[one])
    found = Counter(of_event.values())
    return {verdict: found[verdict] for verdict in order if found[verdict]}


def counted(found: Mapping[str, int]) -> str:
    """Counts in words: "7 agree, 2 direction only, 1 undecided"."""
    return (
        ", ".join(f"{n} {verdict if n == 1 else PLURAL.get(verdict, verdict)}" for verdict, n in found.items())
        or "none"
    )


def held(claims: Sequence[Mapping[str, Any]]) -> str:
    """All claims of a page in words: "7 agree, 2 undecided; of our own findings 1 agrees"."""
    words = [counted(counts(claims))] if counts(claims) else []
    if findings := counts(claims, "finding"):
        words.append(f"of our own findings {counted(findings)}")
    if checks := counts(claims, "check"):
        words.append(f"of checks on released weights {counted(checks)}")
    return "; ".join(words) or "no claims"


def headline(pages: Iterable[Sequence[Mapping[str, Any]]]) -> str:
    """All claims of several pages in a sentence: "Of 120 findings that papers state 90 agree, 20 undecided, 10 differ."

    Our own findings follow, never added to the papers', and claims that were judged and then withdrawn.
    """
    pages = list(pages)
    sums = {"replication": Counter[str](), "finding": Counter[str]()}
    for claims in pages:
        for ledger, found in sums.items():
            found.update(counts(claims, ledger))
    sentences = []
    for ledger, what in (("replication", "findings that papers state"), ("finding", "findings of our own")):
        ordered = {one: sums[ledger][one] for one in (*VERDICTS, NOT_APPLICABLE) if sums[ledger][one]}
        if ordered:
            sentences.append(f"Of {sum(ordered.values())} {what} {counted(ordered)}.")
    if gone := Counter(
        claim["verdict"]
        for claims in pages
        for claim in claims
        if claim.get("withdrawn") and claim["verdict"] in VERDICTS
    ):
        ordered = {one: gone[one] for one in VERDICTS if gone[one]}
        sentences.append(f"Withdrawn after their runs and not counted: {counted(ordered)}.")
    return " ".join(sentences)
