"""A sweep that is loaded (`toylab.load`, `importers.load_many`) as what is explored, with the runs that are selected."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from toylab import store
from toylab.explore.recording import Arrays
from toylab.explore.recordings.chunks import Chunks
from toylab.explore.recordings.described import Described
from toylab.explore.recordings.given import Given
from toylab.explore.recordings.growing import Growing
from toylab.explore.wording import sentence
from toylab.importers.checkpoints import Checkpoints
from toylab.records import Sweep
from toylab.records.reader import Named
from toylab.records.source import Runs

Read = Callable[[int, int], Arrays]  # row of a run in its source, step → params


def of_sweep(sweep: Sweep) -> Given:
    """The runs of a sweep, to be explored. Params are read chunk by chunk, or checkpoint by checkpoint.

    Args:
        sweep: as `load`, `select` or `importers.load_many` gives it. What is committed later is not seen: open its folder.

    Raises:
        StoreError: where a manifest of the sweep is gone since.
    """
    chunks = Chunks()
    readers = [_reader(source, chunks) for source in sweep.sources]
    places = [(i, int(row)) for i, rows in enumerate(sweep.rows) for row in rows]
    each = [places[at] for at in sweep.order]
    groups = [source.group for source in sweep.sources]
    recorded = [{name: one[0] for name, one in group.recorded.items()} for group in groups]
    tails = {name: value.shape[2:] for group in groups for name, value in {**group.measures, **group.probes}.items()}

    def read(run: int, step: int) -> Arrays:
        source, row = each[run]
        return readers[source](row, step)

    def measure(name: str) -> np.ndarray:
        return sweep.measures[name] if name in sweep.measures else sweep.probes[name]

    described = Described(lambda run: sweep.configs[run])
    names = list(dict.fromkeys(str(source.folder) for source in sweep.sources))
    return Given(
        Path(os.path.commonpath([os.path.abspath(name) for name in names])).name,
        [str(name) for name in sweep.runs],
        sweep.steps,
        valid=sweep.valid,
        shapes=[recorded[source] if sweep.with_params else {} for source, _ in each],
        read=read,
        measures=Named(list(tails), measure),
        tails=tails,
        columns=sweep.columns,
        config=described.config,
        data=described.data,
        messages=lambda: [*map(sentence, sweep.messages), *described.messages],
    )


def _reader(source: Runs, chunks: Chunks) -> Read:
    """Reads a point of a source."""
    if isinstance(source, Checkpoints):

        def of_checkpoint(row: int, step: int) -> Arrays:
            try:
                return dict(source.at(next(point for point in source.points[row] if point.step == step)))
            except (ValueError, store.StoreError) as error:
                raise LookupError(sentence(error)) from error
            except StopIteration:
                raise LookupError(f"{source.runs[row]}: no point is saved at step {step}.") from None

        return of_checkpoint
    group = Growing(source.folder)

    def of_chunk(row: int, step: int) -> Arrays:
        piece, point = group.where(row, step)
        return chunks.at(piece.folder, piece.step, row, point)

    return of_chunk
