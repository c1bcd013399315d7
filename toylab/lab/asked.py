"""What was asked of a page beside its own: the values that were set, and whether what was measured is of such runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab import store, sweep
from toylab.base import Config
from toylab.fields import column
from toylab.lab import Measures, Part, Scale

SEEDS = ("seed", "data_seed")
Configs = Mapping[str, Sequence[Config]]  # by part


def under(configs: Configs, named: Sequence[str]) -> str:
    """The fields that were set and their values, as `task.density = 0.2, 0.05`."""
    rows = [cfg.flat(cfg.canonical(config)) for members in configs.values() for config in members]
    texts = []
    for name in named:
        found = dict.fromkeys(_shown(name, row) for row in rows if column(name, row) in row)
        texts.append(f"{name} = {', '.join(list(found)[:8])}{', …' * (len(found) > 8)}")
    return "; ".join(texts)


def _shown(name: str, row: Mapping[str, object]) -> str:
    """The value of a field; of a part the name of its class."""
    value = str(row[column(name, row)])
    return value if name in row else value.rpartition(".")[2]


def check_measured(measures: Measures, folder: Path, configs: Configs, fields: Sequence[str]) -> None:
    """Raises Refused where the measures in a folder are of runs with other values of these fields."""
    for part, members in configs.items():
        asked, own = cfg.columns([cfg.canonical(config) for config in members]), measures.part(part)
        if len(own.get("valid", [])) != len(members):
            other_runs = f"{len(own.get('valid', []))} runs, not {len(members)}"
        else:
            paths = [column(field, asked) for field in fields]
            there = {field: np.unique(own[f"config/{field}"]) for field in paths if f"config/{field}" in own}
            other = [field for field in there if field in asked and not _same(there[field], asked[field])]
            other_runs = "; ".join(
                f"runs with {name} {', '.join(map(str, there[name][:8].tolist()))}" for name in other
            )
        if other_runs:
            raise store.Refused(f"{folder / 'measures.npz'} is of {other_runs}: run the stages before for others.")


def _same(values: np.ndarray, others: np.ndarray) -> bool:
    floats = values.dtype.kind == "f"  # nan where some runs lack the field
    return values.dtype.kind == others.dtype.kind and np.array_equal(values, np.unique(others), equal_nan=floats)


def off(members: Sequence[Config], own: Sequence[Config], named: Sequence[str]) -> str | None:
    """The values with which runs are none of the page's own.

    Args:
        members: of a part, checked (`configs.check`).
        own: the page's own of that part, as they stand in the page.
        named: the fields that were set.

    Returns:
        As `under`, "" where only seeds are others; None where all runs are the page's own.
    """
    known = {cfg.digest(cfg.check(config)) for config in own}  # a page may say 1 where the field is a float
    if all(cfg.digest(config) in known for config in members):
        return None
    return under({"": members}, [name for name in named if name not in SEEDS])


def mark_other_ends(
    claims: Sequence[dict[str, Any]], parts: Mapping[str, Part], scale: Scale, runs: Mapping[str, Path]
) -> None:
    """Says in the judged claims (`off`) where runs were trained to another step than the page's last one.

    Args:
        claims: of a page, judged.
        parts, scale: of the page.
        runs: the folders of the runs, by part.
    """
    for name in set(parts) & set(runs):
        if steps := _other_end(runs[name], int(parts[name].saves[scale][-1])):
            own = {claim.name for claim in parts[name].claims}
            for claim in claims:
                if claim["name"] in own:
                    claim["off"] = "; ".join(filter(None, (claim.get("off"), steps)))


def _other_end(runs: Path, last: int) -> str:
    """The steps up to which a part's runs are trained that neither STOP nor a divergence ended, where they are not the
    page's last one: a claim that a milestone comes, or of the end, is of that."""
    groups = [source.group for source in sweep.load(runs, params=False).sources]
    steps = {int(group.steps[-1]) for group in groups if len(group.steps) and not group.ended.all()}
    return f"steps = {', '.join(f'{step:,}' for step in sorted(steps))}" if steps - {last} else ""
