"""`Recorder`: a few lines in a training loop of any library, after which its weights are a sweep of the lab."""

import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from toylab import store
from toylab.importers.files import settings_of
from toylab.importers.layouts import Layout, forms_of
from toylab.importers.naming import listed
from toylab.importers.opening import Choice
from toylab.importers.toys import settings_of_net
from toylab.models import Net
from toylab.record import arguments
from toylab.record.conversion import Conversion
from toylab.record.journal import NUMBER, Journal, Points
from toylab.record.weights import host_arrays
from toylab.records import manifest

CHUNK_BYTES, CHUNK_SECONDS = 64e6, 60.0  # what a kill may lose, as in the lab's own plans


class Recorder:
    """Records a training that runs elsewhere, as one run of a sweep in `folder`.

        with Recorder("runs/mine", layout="universality", every=100, name="seed_0", fields={"seed": 0}) as recorder:
            for step in range(10_001):
                recorder(step, net, loss=loss)
                …  # an optimizer step

    `toylab.load("runs/mine")` then gives all runs of the folder as a sweep. Weights are copied at the call, and brought to
    disk by a background thread: at the first point, then about every 64 MB or minute, and at the end. A training that is
    killed loses what came after the newest commit. What is committed is sound, and the same Recorder goes on from there:
    `last_step` says from where.

    A run ends at the first point whose weights are not finite, as the lab's own do: the point is kept, a warning says so,
    and later calls record nothing.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        layout: Layout | Mapping[str, str] | None = None,
        every: int | Sequence[int] = 1,
        config: Net | Mapping[str, Any] | str | Path | None = None,
        name: str = "run",
        fields: Mapping[str, Any] | None = None,
        ignore: Collection[str] = (),
        probe: tuple[Any, Any] | None = None,
        chunk: int | None = None,
    ) -> None:
        """Opens the run, or begins it.

        Args:
            folder: of the sweep. Each of its runs has a folder within, by its name.
            layout: of the weights, as of `importers.load`: they become params of that network, which analyzers know. By
                default they keep their own names, and no network is known.
            every: steps between points, from step 0 on; or the steps at which points are saved, ascending.
            config: settings of the network that its arrays do not say, as of `importers.load`; with the layout toylab also
                the network itself.
            name: of the run in its sweep, as seed_0.
            fields: numbers, texts or flags that tell the run from others of the sweep, as lr and seed: its columns.
            ignore: keys that are no weights.
            probe: (tokens, logits) of the network as it is at the first point, as of `importers.load`. A layout that is a
                mapping of one's own may need it.
            chunk: points of one commit. By default as many as come to 64 MB or in a minute, whichever is less.

        Raises:
            ValueError: where an argument is wrong, in one sentence.
            InUse: where another process records this run.
            Refused: where the folder holds another run of that name, or runs that toylab trained.
        """
        self._every, self._chunk = arguments.every_of(every), arguments.chunk_of(chunk)
        settings = settings_of_net(config) if isinstance(config, Net) else settings_of(config)
        layout = dict(layout) if isinstance(layout, Mapping) else layout
        self._options: tuple[Any, ...] = (layout, settings, Choice(ignore), probe)
        if layout is not None:
            forms_of(layout)
        said = {"name": arguments.name_of(name), **arguments.fields_of(fields or {})}
        self._journal = _opened(Path(folder), name, said)
        self._points, self._last_commit = Points(), float("-inf")
        self._seen = self._before = self.last_step
        self._conversion: Conversion | None = None
        self._closed = False
        for message in self._journal.messages:
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    @property
    def last_step(self) -> int:
        """The step of the newest point; −1 before the first. A training that goes on records the steps after it."""
        steps = self._points.steps or self._journal.steps
        return steps[-1] if steps else -1

    @property
    def diverged(self) -> int | None:
        """The step at which the weights were no longer finite, where the record ends; else None."""
        return self._journal.diverged

    def wants(self, step: int) -> bool:
        """Whether a call at this step records a point. For measures that take time: `if recorder.wants(step): …`.

        It does not where the run has later points, from a process before. A warning says so once.
        """
        step = arguments.step_of(step)
        if step <= self._before:
            warnings.warn(
                f"the run is recorded up to step {self._before} already, and stays as it is: a training that starts anew"
                " needs another name or folder.",
                RuntimeWarning,
                stacklevel=2,
            )
            self._before = -1
        wanted = step % self._every == 0 if isinstance(self._every, int) else step in self._every
        return wanted and step > self.last_step and self.diverged is None

    def __call__(self, step: int, params: Any, /, **measures: Any) -> None:
        """Records a point, if one is wanted at this step; at others nothing is looked at, and no time is lost.

        Args:
            step: of the training, ascending from call to call: the number of updates that the weights have had.
            params: a torch module or its state_dict; an nnx.Module or its state; params of flax.linen; any mapping of
                arrays; or a function that gives one of these. They are copied before this returns.
            **measures: numbers at this step, as loss=…; also arrays and tensors of one number.

        Raises:
            ValueError: where the step does not ascend; where the arrays do not fit the layout, or are of another network
                than before; where a measure is no number, or is new after the first point.
            Refused: where the folder has points of another network.
            StoreError: where a chunk could not be written.
        """
        if self._closed:
            raise ValueError("the recorder is closed: make another with the same folder and name, and it goes on.")
        step = arguments.step_of(step)
        if step <= self._seen:
            raise ValueError(
                f"step is {step}: it must be above {self._seen}, the last one of this run. A training that is begun again"
                " goes on after recorder.last_step; one that starts anew needs another name or folder."
            )
        if self.wants(step):
            self._record(step, params, measures)
        self._seen = step

    def _record(self, step: int, params: Any, measures: Mapping[str, Any]) -> None:
        self._journal.check()
        known = self._measures(step, measures)
        arrays = host_arrays(params)
        conversion = self._conversion or Conversion(arrays, *self._options)
        found, finite = conversion(arrays)
        if self._conversion is None:
            self._journal.begin(conversion.net, found, conversion.layout, step)
            self._conversion, self._names = conversion, list(known)
        self._points.add(step, found, known)
        if not finite:
            warnings.warn(
                f"the run diverged: at step {step} its weights are no longer finite, and its record ends there.",
                RuntimeWarning,
                stacklevel=4,
            )
            self._commit(step)
        elif self._is_full():
            self._commit()

    def _measures(self, step: int, given: Mapping[str, Any]) -> dict[str, float]:
        """The measures of a point: nan where one is not given."""
        found = {name: arguments.number_of(name, value) for name, value in given.items()}
        names = self._journal.measures if self._conversion is None else self._names
        if names is None:
            return found
        if new := sorted(set(found) - set(names)):
            raise ValueError(
                f"{listed(new)} is new at step {step}: before there was {listed(names) or 'no measure'}. Give it from"
                " the first point on, as nan where it is not known."
            )
        return {name: found.get(name, float("nan")) for name in names}

    def _is_full(self) -> bool:
        if self._chunk is not None:
            return len(self._points.steps) >= self._chunk
        return self._points.n_bytes >= CHUNK_BYTES or time.monotonic() - self._last_commit >= CHUNK_SECONDS

    def _commit(self, diverged: int | None = None) -> None:
        points, self._points = self._points, Points()
        self._last_commit = time.monotonic()
        self._journal.commit(points, diverged)

    def commit(self) -> None:
        """Brings all points to disk, and returns when they are there: as before a checkpoint from which training resumes.

        Raises:
            StoreError: where they could not be written.
        """
        if self._points.steps:
            self._commit()
        self._journal.wait()

    def close(self, finished: bool = True) -> None:
        """Commits what is left and gives the run free. `with` does it, too.

        Args:
            finished: whether the training is over, for `toylab status`. It may still be gone on with.

        Raises:
            StoreError: where the last points could not be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._points.steps and not self._journal.failed:
                self._commit()
        finally:
            self._journal.close(finished)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close(finished=error is None)
        except store.StoreError as failed:
            if error is None:
                raise
            error.add_note(str(failed))


def _opened(folder: Path, name: str, said: dict[str, Any]) -> Journal:
    """The run's own folder, in a folder that holds nothing else than such."""
    if (folder / manifest.SWEEP).exists() or store.chunks(folder):
        raise store.Refused(f"{folder} holds runs that toylab trained: give another folder.")
    if (folder / "runs").is_dir():  # there a page has them, and `load` looks there alone
        raise store.Refused(f"{folder} holds a folder runs, where the runs of a page lie: give another folder.")
    try:
        return Journal(folder / f"{NUMBER}-{name}", said)
    except store.Refused as error:
        raise type(error)(str(error).replace("--out leads to", "folder leads to")) from None
