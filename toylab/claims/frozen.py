"""What is fixed of a claim before its confirming seeds are trained, and how a later change is noticed.

Seeds 0 to 9 are for development, those from 100 on confirm. frozen.json, beside a page's results, has for each claim what
was fixed when its first confirming run was about to be trained, and the seeds. It is only added to.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from toylab.claims.claim import Claim, Degree
from toylab.claims.code import digest

CONFIRMING = 100  # the first seed that confirms
Frozen = dict[str, dict[str, str]]  # claim → what was fixed


def fixed(claim: Claim, training: Mapping[str, Any]) -> dict[str, str]:
    """What is fixed of a claim: its rule and numbers in words, its code by digest.

    Args:
        claim: of a page.
        training: what else decides the values, by name: the stop function, the last saved step.

    Returns:
        Texts by name.

    Raises:
        ValueError: where a function has no source file.
    """
    variants = {name: digest(quantity) for name, quantity in sorted(claim.variants.items())}
    return {
        "kind": f"{type(claim.kind).__name__} {_plain(asdict(claim.kind))}",  # type: ignore[call-overload]
        "ledger": claim.ledger,
        "fidelity": f"{claim.fidelity.degree} {claim.fidelity.different}".strip(),
        "looks": ", ".join(map(str, claim.looks)),
        "quantity": digest(claim.quantity),
        "variants": _plain(variants),
        **{name: value if isinstance(value, str) else digest(value) for name, value in training.items()},
    }


def _plain(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def changed(claims: Mapping[str, dict[str, str]], frozen: Frozen) -> str:
    """A sentence on the first claim that is another than the one that was fixed under its name; "" if there is none.

    A set-up may be said to be farther from the paper's than was thought: that makes no verdict stronger.

    Args:
        claims: what is fixed of the page's claims now, by name.
        frozen: what frozen.json has.
    """
    for name, now in claims.items():
        before = frozen.get(name)
        if before is None:
            continue
        other = [what for what in now if what in before and now[what] != before[what]]
        if "fidelity" in other and _degree(now) > _degree(before):
            other.remove("fidelity")
        if other:
            return (
                f"the claim {name!r} was fixed before its confirming seeds were trained, and its {' and '.join(other)} "
                f"changed since: give the changed claim another name; the old verdict stays, struck through"
            )
    return ""


def _degree(fixed: Mapping[str, str]) -> int:
    """How far the set-up is from the paper's."""
    return get_args(Degree).index(fixed["fidelity"].split()[0])


def added(claims: Mapping[str, dict[str, str]], frozen: Frozen, seeds: Iterable[int]) -> Frozen:
    """frozen.json before these seeds are trained.

    Claims that it has get the seeds. A claim that it does not have is added, unless some of the seeds were trained before
    for another: what was seen cannot confirm.

    Args:
        claims: what is fixed of the page's claims now, by name.
        frozen: what frozen.json has.
        seeds: to be trained.
    """
    asked = set(seeds)
    seen = set().union(*(seeds_of(one) for one in frozen.values()))
    after = {
        name: {**one, "seeds": ranges(seeds_of(one) | asked)} if name in claims else one for name, one in frozen.items()
    }
    if not asked & seen:
        after |= {name: {**now, "seeds": ranges(asked)} for name, now in claims.items() if name not in frozen}
    return after


def confirmed(fixed: Mapping[str, str] | None, seeds: Iterable[int]) -> bool:
    """Whether all measured runs have seeds that confirm and that were trained after the claim was fixed."""
    asked = set(seeds)
    return fixed is not None and confirming(asked) and asked <= seeds_of(fixed)


def ranges(seeds: Iterable[int]) -> str:
    """Seeds in a few words: "100-119, 130"."""
    found: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if found and seed == found[-1][1] + 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in found)


def seeds_of(fixed: Mapping[str, str]) -> set[int]:
    """The seeds for which a claim was fixed."""
    parts = [part.split("-") for part in fixed.get("seeds", "").split(", ") if part]
    return {seed for ends in parts for seed in range(int(ends[0]), int(ends[-1]) + 1)}


def withdrawn(names: Sequence[str], frozen: Frozen, judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Claims that were fixed and are on the page no more, as they were judged last, marked as withdrawn.

    Args:
        names: of the page's claims.
        frozen: what frozen.json has.
        judged: the claims of claims.json as it was.
    """
    return [{**one, "withdrawn": True} for one in judged if one["name"] in frozen and one["name"] not in names]


def confirming(seeds: Iterable[int]) -> bool:
    """Whether all seeds confirm, and there are some."""
    found = list(seeds)
    return bool(found) and min(found) >= CONFIRMING
