"""The three stages of a lab page. Each can be run alone.

train    configs → runs/ (toylab.sweep.run; here is its `spec` and the page's manifest)
analyze  runs/ → measures.npz, runs.parquet, claims.json, claims.md
draw     measures.npz → figures/
"""

import contextlib
import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toylab import configs as cfg
from toylab import lab, store, sweep
from toylab.base import Config
from toylab.claims import table
from toylab.lab import Measures, Page, Part, Scale, asked, code, pages, summary, unfinished, verdicts, wall
from toylab.lab.measuring import measures_of
from toylab.records import notes, passes

Configs = Mapping[str, Sequence[Config]]  # by part
Files = Mapping[str, Mapping[str, Path]]  # of imported networks: by part, then by name


def spec(part: Part, scale: Scale, **start: Any) -> sweep.Spec:
    """What a part's runs record and when they end. `start`: initial params, as in `Spec`."""
    return sweep.Spec(
        saves=[int(step) for step in part.saves[scale]],
        stop=part.stop[scale],
        probes=part.probes,
        keep=part.keep,
        **start,
    )


def write_manifest(
    folder: Path, page: Page, scale: Scale, configs: Configs, command: str, commit: str, imported: Files | None = None
) -> None:
    """Writes a page's manifest.json: what was run, at which commit and in which environment, so that it can be run again.

    It has one record, or one for each part of a page of several. `config` is that of the first run, `runs` has each run's
    differences from it, as numbers of `values` (`notes.changes_of`). A group has the `seconds` of its training, where
    log.txt has them. The record of imported networks has the digests of
    their files, not their place.

    Args:
        folder: of the page.
        page, scale: what was run.
        configs: by part that was trained.
        command, commit: for the record.
        imported: files by part and name.
    """
    path = folder / "manifest.json"
    before = notes.page_record(folder)
    made = {"scale": scale, "command": command, "commit": commit}
    took = wall.seconds(folder / "log.txt")
    of_part = {part: {group: s for (own, group), s in took.items() if own == part} for part in configs}
    records = {
        part: {**made, **_of_runs(folder / "runs" / part, members, of_part[part])} for part, members in configs.items()
    }
    for part, files in (imported or {}).items():
        old = before.get("parts", {}).get(part, {}) if part else before
        new = {**made, "command": _placeless(command), **_of_files(files)}
        again = all(old.get(key) == new[key] for key in new if key != "command")
        records[part] = {key: old[key] for key in new} if again else new  # measured again: made as it was
    manifest: dict[str, Any] = {"experiment": lab.name_of(page), "page": page.__name__}
    if "" in records:
        manifest |= records[""]
    else:
        manifest["parts"] = before.get("parts", {}) | records
    store.write_json(path, manifest)


def check_folder(folder: Path, page: Page) -> None:
    """Raises ValueError where a page's folder is that of another page of the same name."""
    record = notes.page_record(folder)
    built_in = pages.built_in()
    name = lab.name_of(page)
    before = record.get("page") or (pages.own_name(built_in[name]) if record and name in built_in else page.__name__)
    if before != page.__name__:
        raise ValueError(
            f"{folder} is of the page {before}, not of {page.__name__}: give --out another folder, or rename the page."
        )


def _of_runs(runs: Path, members: Sequence[Config], took: Mapping[str, float]) -> dict[str, Any]:
    groups = {group.name: group for group in sweep.load(runs, params=False)}
    return {
        "config": (first := cfg.canonical(members[0])),
        **notes.packed_changes({sweep.run_name(one): cfg.changes(first, cfg.canonical(one)) for one in members}),
        "groups": {
            name: {key: group.manifest[key] for key in ("plan", "environment", "stop", "started_from")}
            | ({"seconds": took[name]} if name in took else {})
            | {"saves": passes.all_saves(group.manifest)}
            for name, group in groups.items()
        },
    }


def _placeless(command: str) -> str:
    """A command without the folder of the weights, which differs between machines."""
    words = shlex.split(command)
    return shlex.join("weights=FOLDER" if word.startswith("weights=") else word for word in words)


def _of_files(files: Mapping[str, Path]) -> dict[str, Any]:
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return {"models": digests, "environment": sweep.environment()}


def is_recorded(folder: Path, part: str, members: Sequence[Config]) -> bool:
    """Whether manifest.json has a record of these runs of a part ("" is the only part of a page), saved as they are now."""
    record = notes.page_record(folder)
    record = record.get("parts", {}).get(part, {}) if part else record
    if set(record.get("runs", ())) != {sweep.run_name(config) for config in members}:
        return False
    groups = {group.name: group for group in sweep.load(folder / "runs" / part, params=False)}
    there = record.get("groups", {})
    return all(there.get(name, {}).get("saves") == passes.all_saves(group.manifest) for name, group in groups.items())


def analyze(
    page: Page,
    configs: Configs,
    folder: Path,
    report: Callable[[str], None],
    batch_size: int = 16,
    weights: Path = Path(),
    imported: Files | None = None,
    named: Sequence[str] = (),
    scale: Scale | None = None,
) -> list[dict[str, Any]]:
    """The stage analyze: writes measures.npz, runs.parquet, claims.json and claims.md; and a summary of runs with other
    values than the page's own (summary.py).

    Args:
        page: whose analyses and claims are used.
        configs: by part that was trained. Other parts keep their measures.
        folder: of the page.
        report: gets messages.
        batch_size: points that are analyzed at once.
        weights: the folder of imported networks.
        imported: their files, by part and name. They are measured, and models.md is written.
        named: fields that were set to other values than the page's.
        scale: whose runs are the page's own; None where no summary is wanted.

    Returns:
        The judged claims.

    Raises:
        StoreError: where runs are missing, or nothing can be written.
    """
    path, imported, parts = folder / "measures.npz", imported or {}, lab.parts(page)
    others_stay = path.exists() and set(parts) - {*configs, *imported}
    kept = dict(read_measures(folder)) if others_stay else {}
    for part in (*configs, *imported):
        start = f"{part}/" if part else ""
        kept = {name: value for name, value in kept.items() if not name.startswith(start)}
        if others := parts[part].imported:
            found = others.measure(weights, list(imported[part]))
            store.write_text(folder / "models.md", others.table(Measures(found)))
        else:
            own = folder / "runs" / part
            found = measures_of(parts[part], configs[part], own, report, batch_size, code.digest(page))
        kept |= {start + name: value for name, value in found.items()}
    measures = Measures(kept)
    store.write_arrays(path, measures)
    for part in configs:
        unfinished.remove(folder / "runs" / part)
    if configs:
        write_table(page, folder, measures)
    off = {
        name: asked.off(members, parts[name].configs[scale], named) if scale else None
        for name, members in configs.items()
    }
    summarised = summary.write(page, measures, off, named, folder).get("parts", {})
    claims = verdicts.judge(page, measures, asked.under(configs, named), folder)
    of_part = {claim.name: name for name in summarised for claim in parts[name].claims if summarised[name]["off"]}
    for claim in claims:
        if claim["name"] in of_part:
            claim["off"] = summarised[of_part[claim["name"]]]["off"]
    if scale and configs:
        asked.mark_other_ends(claims, parts, scale, sweep.folders(folder / "runs"))
    store.write_json(folder / "claims.json", {"experiment": lab.name_of(page), "claims": claims})
    store.write_text(folder / "claims.md", table.markdown(claims))
    return claims


def write_table(page: Page, folder: Path, measures: Measures | None = None) -> None:
    """Writes runs.parquet from runs/, with the analyses in measures.npz if they are of the same runs and points."""
    if measures is None:
        measures = Measures({})
        if (folder / "measures.npz").exists():
            with contextlib.suppress(store.Damaged):  # the stage analyze writes both anew
                measures = read_measures(folder)
    analyzed = {name: measures.part(name) for name in lab.parts(page)}
    sweep.write_table(folder / "runs", folder / "runs.parquet", analyzed)


def read_measures(folder: Path) -> Measures:
    """The measures in measures.npz. Raises Damaged, with what to do, where they cannot be read."""
    try:
        return Measures(store.read_arrays(folder / "measures.npz"))
    except store.Damaged as error:
        raise store.Damaged(f"{error}. Run the stage analyze again, of all parts: it writes it anew.") from error


def draw(
    page: Page, folder: Path, report: Callable[[str], None] = print, parts: Sequence[str] | None = None
) -> list[Path]:
    """The stage draw: writes a .png for each figure, a .gif for an animation.

    If a figure cannot be drawn from these runs, that is reported, and an older figure of that name is removed.

    Args:
        page: whose figures are drawn.
        folder: of the page.
        report: gets messages.
        parts: only the figures of these parts; None for all.

    Returns:
        The paths of the figures.
    """
    from toylab.plots import style

    measures = read_measures(folder)
    summaries = summary.read(folder).get("parts", {})
    drawn = []
    for part_name, part, own in lab.present(page, measures):
        of_summary = partial(_of_summary, part, summaries.get(part_name))
        figures: dict[str, Callable[[Measures], Any]] = {
            **part.figures,
            f"summary_{part_name}" if part_name else "summary": of_summary,
        }
        for name, figure in figures.items() if parts is None or part_name in parts else ():
            path = folder / "figures" / name
            try:
                if (made := figure(own)) is None:  # no summary, or one that has none
                    path.with_name(f"{name}.png").unlink(missing_ok=True)
                    continue
                path = path.with_name(f"{name}{style.suffix(made)}")
                drawn.append(style.save(made, path))
            except OSError as error:
                what, mend = store.first_line(error), store.remedy(error.errno or 0)
                raise store.StoreError(
                    f"{path} could not be written ({what}): {mend} and run the stage draw again."
                ) from error
            except Exception as error:  # it is possible for the page's own runs, not for all others
                report(f"{name} cannot be drawn of these runs ({lab.sentence(error)}).")
                for suffix in (".png", ".gif"):
                    path.with_name(f"{name}{suffix}").unlink(missing_ok=True)
    return drawn + _forest(folder)


def _of_summary(part: Part, record: dict[str, Any] | None, measures: Measures) -> Any:
    from toylab.lab import summary_figures

    return summary_figures.figure(part, measures, record) if record else None


def _forest(folder: Path) -> list[Path]:
    """The forest plot of the judged claims, if some can be drawn."""
    from toylab.plots import forest, style

    path = folder / "claims.json"
    claims = store.read_json(path)["claims"] if path.is_file() else []
    return [style.save(forest.forest(claims), folder / "figures" / "forest.png")] if forest.drawable(claims) else []
