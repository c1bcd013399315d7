"""All claims of a page: what is wrong with them as stated, and families of tests."""

from collections.abc import Sequence
from typing import Any

from toylab import claims as package
from toylab.claims.claim import SPENT, Claim

ALPHA = 0.05


def wrong(claim: Claim) -> str:
    """What is wrong with a claim as stated, in a few words; "" if nothing is."""
    if not callable(claim.quantity):
        return f"the quantity of {claim.name!r} is no function of measures"
    if claim.ledger not in ("replication", "finding", "check"):
        known = "a claim is a replication, a finding or a check of released weights, all else is a test"
        return f"the ledger of {claim.name!r} is {claim.ledger!r}: {known}"
    if claim.ledger == "check" and not hasattr(claim.kind, "slack"):
        return f"the check {claim.name!r} has a kind that judges runs: give Identity, with a slack for rounding"
    if claim.ledger != "finding":
        if claim.source is None or not claim.source.where or not claim.source.says:
            lacks = f"the {claim.ledger} {claim.name!r} does not say where its source says it, and what"
            return f"{lacks}: give Source(paper, where, says)"
        if claim.fidelity.degree != "exact" and not claim.fidelity.different:
            return f"the set-up of {claim.name!r} is {claim.fidelity.degree}, and it is not said what is different"
    if not hasattr(claim.kind, "outcome"):
        return f"the kind of {claim.name!r} is {claim.kind!r}: give one of toylab.claims.kinds, or one like them"
    if what := claim.kind.check():
        return f"the kind of {claim.name!r} cannot be: {what}"
    looks = claim.looks
    if len(looks) not in SPENT or list(looks) != sorted(set(looks)):
        return f"the looks of {claim.name!r} are {looks}: give one to three ascending numbers of values"
    if claim.sequential and looks[0] < claim.kind.least:
        return f"{claim.name!r} is judged from {looks[0]} values on, and its kind needs {claim.kind.least}"
    if claim.family and not claim.kind.tests:
        return f"{claim.name!r} is of the family {claim.family!r}, and its kind makes no test that could be corrected"
    for name, quantity in claim.variants.items():
        if not callable(quantity):
            return f"the variant {name!r} of {claim.name!r} is no function of measures"
    return ""


def corrected(claims: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Judged claims with the tests of each family corrected by Holm's method. What is not significant then is undecided."""
    found = [dict(claim) for claim in claims]
    for family in {claim.get("family") for claim in found} - {"", None}:
        members = [claim for claim in found if claim.get("family") == family and claim.get("p") is not None]
        if not members:
            continue
        significant, adjusted = package.intervals.holm([claim["p"] for claim in members], ALPHA)
        for claim, is_so, p in zip(members, significant, adjusted, strict=True):
            claim["p"] = float(f"{p:.6g}")
            if claim["verdict"] == "agrees" and not is_so:
                claim["verdict"] = "undecided"
                claim["reason"] = f"Of the {len(members)} tests of {family} it is not significant: Holm's p is {p:.2g}."
    return found
