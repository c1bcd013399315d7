"""Trains one group of runs to completion into a folder: chunks of saved points, stop conditions, resuming."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from toylab import store
from toylab.base import Config
from toylab.records import passes
from toylab.store import durable
from toylab.sweep.manifest import Spec, drop_pass, read_or_decide, record_narrowing
from toylab.sweep.memory import is_out_of_memory
from toylab.sweep.plan import Plan
from toylab.sweep.sizes import param_shapes
from toylab.sweep.training import Interrupted, Progress, Training
from toylab.sweep.walk import Unlike

__all__ = ["Interrupted", "Progress", "run_group"]


def run_group(
    configs: Sequence[Config],
    spec: Spec,
    folder: Path,
    *,
    plan: Plan | None = None,
    lane: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Trains one group of runs to completion into `folder`.

    It may be called again after any interruption. Training then resumes from the last commit, and the bits of the results
    are those of an uninterrupted training. If the device runs out of memory, training resumes from the last commit with
    lanes of half the width.

    Args:
        configs: checked configs of one family.
        spec: what is saved, and when runs end.
        folder: of the group.
        plan: fixes width, segment and chunk; otherwise they are measured once and kept in the manifest.
        lane: fixes the width alone.
        report: called with the Progress after each segment.
        interrupted: called after each segment; when it returns true, the points in hand are committed and training stops.

    Raises:
        Interrupted: after `interrupted` returned true.
        Refused: where `folder` holds other runs.
        InUse: where another process trains the group.
    """
    store.check_name(folder)
    durable.make(folder)
    left = [path for place in (folder, *folder.glob("pass-*")) if place.is_dir() for path in store.broken(place)]
    with store.locked(folder) as mine:
        store.clear(left)
        if not store.chunks(folder):
            param_shapes(configs[0])
        manifest, notes = read_or_decide(configs, spec, folder, plan, lane)
        group: Training | None = None
        while True:
            try:
                group = Training(configs, spec, folder, manifest, notes)
                return group.train(report, interrupted, mine)
            except Unlike:
                drop_pass(folder, manifest)
                raise
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                done = store.chunks(passes.each(folder, manifest)[-1][0])
                notes = [record_narrowing(folder, manifest, max(done, default=None), error)]
            group = None  # frees its arrays on the device
