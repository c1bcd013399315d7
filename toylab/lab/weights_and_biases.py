"""Measures in Weights & Biases, a run there for each run here (extra `wandb`)."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab.base import Config
from toylab.sweep import Progress
from toylab.sweep.progress import is_over

EXTRA = "--wandb needs its extra: pip install 'toylab[wandb]'."


def check() -> None:
    """Raises ValueError if the extra is not installed, or nobody is logged in where runs would be sent."""
    try:
        import wandb
    except ImportError:
        raise ValueError(EXTRA) from None
    if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
        raise ValueError("--wandb finds no login: run `wandb login` first, or set WANDB_MODE=offline and sync later.")


class Runs:
    """A `report` that logs each run's new points after every segment.

    The step is that of training, the config has the fields of the run's own, by the same names. A run is opened when its
    group begins, and finished when the group does. All its points are logged then, also those of before a kill: Weights &
    Biases drops those that it has. What fails there stops nothing here; it is printed once.
    """

    def __init__(self, project: str, page: str, part: str, configs: Sequence[Config], folder: Path) -> None:
        """
        Args:
            project: in Weights & Biases.
            page: whose runs these are, the group of theirs.
            part: of the page; "" where there are none.
            configs: of its runs.
            folder: of the page, which gets a folder wandb. The same runs in another folder are other runs.
        """
        self.project, self.page, self.part, self.folder = project, page, part, folder
        canonical = [cfg.canonical(config) for config in cfg.checked(configs)]
        self.fields = {cfg.digest_of(one)[:10]: cfg.flat(one) for one in canonical}
        self.open: dict[tuple[str, str], Any] = {}  # (group, run) → the run there
        self.done: dict[tuple[str, str], int] = {}  # number of points that are logged
        self.failed = False

    def __call__(self, progress: Progress) -> None:
        if self.failed:
            return
        try:
            self._log(progress)
        except Exception as error:  # of the network, or of Weights & Biases
            self._give_up(error)

    def _log(self, progress: Progress) -> None:
        names = sorted(name for name, value in progress.measures.items() if value.ndim == 2)
        for r, run in enumerate(progress.runs):
            key = progress.group, run
            if key not in self.open and self.done.get(key) == len(progress.steps):
                continue  # finished
            there = self.open.get(key) or self._opened(key)
            for at in range(self.done.get(key, 0), len(progress.steps)):
                values = {name: float(progress.measures[name][r, at]) for name in names}
                known = {name: value for name, value in values.items() if np.isfinite(value)}
                if known and progress.steps[at] >= there.step:
                    there.log(known, step=progress.steps[at])
            self.done[key] = len(progress.steps)
            if progress.diverged and progress.diverged[r] is not None:
                there.summary["diverged"] = progress.diverged[r]
            if is_over(progress):
                self.open.pop(key).finish()

    def _opened(self, key: tuple[str, str]) -> Any:
        import wandb

        _, run = key
        place = "/".join([str(self.folder.absolute()), self.part, run])
        self.open[key] = wandb.init(
            project=self.project,
            group="/".join(filter(None, (self.page, self.part))),
            id=f"{run}-{hashlib.sha256(place.encode()).hexdigest()[:8]}",
            name=run,
            config=_plain(self.fields.get(run, {})),
            dir=self.folder,
            resume="allow",
            reinit="create_new",  # the runs of a group are open side by side
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        return self.open[key]

    def close(self, error: BaseException | None = None) -> None:
        """Finishes the runs that are open: with exit code 0 where training was not broken off by an error."""
        for there in self.open.values():
            try:
                there.finish(exit_code=0 if error is None else 1)
            except Exception as failed:
                self._give_up(failed)
        self.open.clear()

    def _give_up(self, error: Exception) -> None:
        if not self.failed:
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"Weights & Biases fails, and is told nothing more ({what}): training goes on.", file=sys.stderr)
        self.failed = True


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
