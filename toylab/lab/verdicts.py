"""The verdicts of a page: its claims judged, and what was fixed of them before confirming seeds were trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab import lab, store, sweep
from toylab.claims import frozen
from toylab.claims.counts import held
from toylab.claims.page import corrected
from toylab.lab import Measures, Page, Part, Scale
from toylab.records import notes

FILE = "frozen.json"
NOT_HERE = "not at this scale"
Judged = list[dict[str, Any]]


def judge(page: Page, measures: Measures, under: str = "", folder: Path | None = None) -> Judged:
    """Judges every claim of the parts that were measured.

    Args:
        page: whose claims.
        measures: of the page.
        under: as in `Claim.judge`.
        folder: of the page, whose frozen.json says which claims were fixed before; None if there is none.

    Returns:
        The claims as claims.json has them, also those that were fixed and are on the page no more.
    """
    fixed, record = (read(folder), notes.page_record(folder)) if folder else ({}, {})
    found: Judged = []
    names = [claim.name for part in lab.parts(page).values() for claim in part.claims]
    for name, part, own in lab.present(page, measures):
        seeds = None if part.imported else np.unique(own.get("config/seed", [])).tolist()
        confirmed = [seeds is None or frozen.confirmed(fixed.get(claim.name), seeds) for claim in part.claims]
        judged = [
            {**claim.judge(own, under), "confirmed": one} for claim, one in zip(part.claims, confirmed, strict=True)
        ]
        if any(one["verdict"] == NOT_HERE for one in judged) and (larger := _larger(page, name, part, record)):
            for claim, one in zip(part.claims, judged, strict=True):
                if one["verdict"] == NOT_HERE:
                    one["command"] = f"{larger} {claim.options}".rstrip()
        found += judged
    return [*corrected(found), *frozen.withdrawn(names, fixed, _before(folder))]


def _larger(page: Page, name: str, part: Part, record: Mapping[str, Any]) -> str:
    """The command that trains a part at the page's scale paper; "" where that trains no other runs than those measured."""
    scale = (record.get("parts", {}).get(name, {}) if name else record).get("scale", "")
    here = part.configs.get(scale)
    if (
        part.imported
        or here is None
        or set(map(sweep.run_name, part.configs["paper"])) <= set(map(sweep.run_name, here))
    ):
        return ""
    return f"python run_sweep.py {lab.name_of(page)} --scale paper{name and f' --part {name}'}"


def fixed_of(page: Page, scale: Scale) -> dict[str, dict[str, str]]:
    """What is fixed of each claim of a page at a scale, by the claim's name."""
    return {
        claim.name: frozen.fixed(claim, _training(part, scale))
        for part in lab.parts(page).values()
        for claim in part.claims
    }


def _training(part: Part, scale: Scale) -> dict[str, Any]:
    if part.imported:
        return {}
    return {"stop function": part.stop[scale], "last save": str(int(np.asarray(part.saves[scale])[-1]))}


def check(page: Page, scale: Scale, folder: Path) -> None:
    """Raises ValueError, in a sentence, where a claim is another than the one that was fixed under its name."""
    fixed = {name: one for name, one in read(folder).items() if one.get("scale") == scale}
    if fixed and (what := frozen.changed(fixed_of(page, scale), fixed)):
        raise ValueError(f"the page {lab.name_of(page)}: {what}.")


def fix(page: Page, scale: Scale, folder: Path, seeds: Mapping[str, Sequence[int]], made: Mapping[str, str]) -> None:
    """Writes what is fixed of the claims whose confirming seeds are about to be trained.

    A record is of the scale that is run; one of another scale gives way.

    Args:
        page, scale: to be run.
        folder: of the page.
        seeds: of the runs, by part.
        made: when and by which commit, for the record.
    """
    before, now = read(folder), fixed_of(page, scale)
    after = before
    for name, part in lab.parts(page).items():
        if frozen.confirming(seeds.get(name, ())):
            here = {"scale": scale, "part": name, **made}
            own = {claim.name: {**now[claim.name], **here} for claim in part.claims}
            of_part = {claim: one for claim, one in before.items() if (one["part"], one["scale"]) == (name, scale)}
            after = after | frozen.added(own, of_part, seeds[name])
    if after != before:
        store.write_json(folder / FILE, after)


def read(folder: Path) -> frozen.Frozen:
    """frozen.json of a page's folder; nothing where there is none."""
    path = folder / FILE
    return dict(store.read_json(path)) if path.is_file() else {}


def _before(folder: Path | None) -> Judged:
    path = folder / "claims.json" if folder else None
    return list(store.read_json(path)["claims"]) if path and path.is_file() else []


def summary(name: str, claims: Sequence[Mapping[str, Any]]) -> str:
    """A page's row in the list of claims: its verdicts, and the claims that do not agree."""
    rest = [f"{claim['name']} ({claim['verdict']})" for claim in claims if claim["verdict"] != "agrees"]
    return f"| [{name}](results/{name}/claims.md) | {held(claims)} | {lab.cell('; '.join(rest) or '–')} |"
