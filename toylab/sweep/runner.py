"""`run`: trains a sweep, group by group.

configs → families (one compile) → groups (one folder, one lock) → lanes (vmap) → chunks of saved points. Training of one
group is in group.py. Configs are divided into groups in grouping.py, and runs into lanes in lanes.py.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import numerics, store, train
from toylab.base import Config, State
from toylab.records import notes
from toylab.records.manifest import FAILED, SWEEP
from toylab.records.manifest import read as read_manifest
from toylab.records.reader import Group, Sweep, folders, has_run, load, params_at
from toylab.records.table import write_table
from toylab.sweep.group import Interrupted, Progress, run_group
from toylab.sweep.grouping import MAX_RUNS, begin, groups, groups_in, run_name, same_sweep
from toylab.sweep.growth import saved_steps
from toylab.sweep.lanes import compiled
from toylab.sweep.manifest import Spec
from toylab.sweep.plan import Plan, environment
from toylab.sweep.progress import Wanted, reporting
from toylab.sweep.sizes import recorded

__all__ = [
    "FAILED", "SWEEP", "Failed", "Group", "Interrupted", "Plan", "Progress", "Spec", "Sweep", "begin", "bytes_needed",
    "compiled", "environment", "folders", "groups", "groups_in", "has_run", "load", "log_then_linear", "params_at",
    "raise_failures", "record_failure", "run", "run_group", "run_name", "same_sweep", "saved_steps", "shapes",
    "write_table",
]  # fmt: skip


def log_then_linear(first: int, last: int, n: int) -> np.ndarray:
    """Steps at which to save: 0, then from `first` in constant ratio, then evenly spaced to `last`.

    The two parts meet where their gaps are equal. A quarter of the points is in the part with constant ratio.

    Args:
        first: the first step after 0.
        last: the last step.
        n: about how many steps, at least 4.

    Returns:
        Ascending whole numbers; a few fewer than n where rounding makes some equal.
    """
    if not 0 < first < last or n < 4:
        raise ValueError(f"log_then_linear({first}, {last}, {n}): it needs 0 < first < last and n of at least 4.")
    n_log = max(n // 4, 2)
    n_linear = max(n - n_log - 1, 1)
    low, high = float(first), float(last)
    for _ in range(60):  # bisect for the knee, where both gaps agree
        knee = (low * high) ** 0.5
        log_gap = knee * (1 - (first / knee) ** (1 / (n_log - 1)))
        low, high = (knee, high) if log_gap < (last - knee) / n_linear else (low, knee)
    points = np.concatenate([[0], np.geomspace(first, knee, n_log), np.linspace(knee, last, n_linear + 1)])
    return np.unique(np.round(points).astype(int))


class Failed(store.StoreError):
    """Some groups could not be trained. The others are finished."""


def run(
    configs: Sequence[Config],
    spec: Spec,
    folder: str | Path,
    *,
    plan: Plan | None = None,
    lane: int | None = None,
    group_size: int | None = None,
    command: str = "",
    report: Wanted = "auto",
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Trains every group of a sweep into `folder/<group>/`, one after another. Call it again to resume, or with more
    configs or saved steps: what is there stays as it is, and only what is new is trained.

    A group that fails leaves a failed.json in its folder. The other groups are trained, and Failed is raised at the end.

    Args:
        configs: one for each run; for a sweep that was begun all of its runs, and any new ones.
        spec: what is saved, and when runs end. Steps between those of a sweep that was begun are trained again from the
            nearest state that it has kept, in the environment in which it was begun.
        folder: of the sweep.
        plan: fixes width, segment and chunk of every group; otherwise they are measured.
        lane: fixes the width alone. Without it, groups of the same shapes take the width measured for the first of them.
        group_size: the most runs in a group.
        command: what to type to resume, for sweep.json and messages.
        report: called with the Progress after each segment. By default bars are shown on a terminal, and in Jupyter
            with ipywidgets; None shows nothing.
        interrupted: called after each segment; when it returns true, training stops after the points in hand.

    Raises:
        Failed: at the end, if some groups could not be trained.
        Interrupted: after `interrupted` returned true.
        Refused: where `folder` holds other runs, or its groups have another size than `group_size`; and where more steps
            cannot be saved with the bits of a sweep begun with them.
    """
    folder = Path(folder)
    named = begin(configs, folder, group_size, command, saves=spec.saves)
    widths: dict[Any, int] = {}
    failures = {}
    cause: Exception | None = None
    with numerics.alike(), reporting(report) as shown:
        for name, members in named.items():
            alike = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(shapes(members[0])))
            width = lane or widths.get(alike)
            if not lane and width and (width > 2 * len(members) or (folder / name / "manifest.json").exists()):
                width = None  # most of a lane would be padding, or the group has a width already
            try:
                run_group(members, spec, folder / name, plan=plan, lane=width, report=shown, interrupted=interrupted)
            except (store.StoreError, Interrupted):
                raise
            except Exception as error:
                failures[name], cause = record_failure(folder / name, error), error
            else:
                notes.forget_failure(folder / name)
                widths[alike] = read_manifest(folder / name)["plan"]["lane"]
    raise_failures(folder, failures, len(named), command, cause)


def record_failure(folder: Path, error: Exception) -> str:
    """Writes a group's failed.json; returns the error in one line."""
    line = f"{type(error).__name__}: {store.first_line(error)}"
    done = store.chunks(folder)
    trace = "".join(traceback.format_exception(error))
    store.write_json(
        folder / FAILED,
        {"error": line, "kind": type(error).__name__, "step": done[-1] if done else None, "traceback": trace},
    )
    return line


def raise_failures(
    folder: Path, failures: Mapping[str, str], n_groups: int, command: str = "", cause: Exception | None = None
) -> None:
    """Raises Failed if any group failed; the message says which and why, what is safe, and what to type.

    Args:
        folder: of the sweep.
        failures: the errors in one line, by group.
        n_groups: of the sweep.
        command: what to type to go on.
        cause: from which Failed is raised if there is a single failure.
    """
    if failures:
        reasons = "; ".join(f"{name}: {line}" for name, line in failures.items())
        n_others = n_groups - len(failures)
        others = f"The other {n_others} are finished, and what" if n_others else "What"
        again = f", then: {command}" if command else " and run the same again"
        raise Failed(
            f"{len(failures)} of {n_groups} groups of {folder} failed ({reasons}). {others} these had committed is "
            f"kept; their {FAILED} has the details. Mend the cause{again}."
        ) from (cause if len(failures) == 1 else None)


def bytes_needed(configs: Sequence[Config], spec: Spec, group_size: int | None = None) -> int:
    """The most bytes that a sweep takes on disk.

    Slow runs make a chunk of every saved point, and about every eighth chunk keeps its resume point.
    """
    families = cfg.families(configs)
    states = {family: shapes(members[0]) for family, members in families.items()}
    largest = max(families, key=lambda family: _n_bytes(states[family]))
    measured = _bytes_measured(families[largest][0], spec)
    n_points, total = len(spec.saves), 0
    n_states = min(n_points // store.EVERY + store.NEWEST + 2, n_points)
    for family, members in families.items():
        state, n_runs = states[family], len(members)
        kept = {name: leaf for name, leaf in state.params.items() if spec.keep is None or name in spec.keep}
        total += n_runs * (n_points * (_n_bytes(kept) + measured) + n_states * _n_bytes(state))
        total += -(-n_runs // (group_size or MAX_RUNS)) * n_points * store.AROUND
    return total


def _bytes_measured(config: Config, spec: Spec) -> int:
    """Bytes of a run's measures and probes at one point."""
    try:
        found = recorded(config, spec.probes, spec.keep)
    except Exception:  # its group will fail when it is trained, the others will not
        return 0
    return _n_bytes((found.measures, found.probes))


def shapes(config: Config) -> State:
    """The state of a run as shapes, without computing it."""
    return jax.eval_shape(train.init, config)


def _n_bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
