"""Analyses that are not over yet, on disk: where the stage analyze is stopped, or its machine dies, the next one goes on.

What runs gave lies in the folder of their group, in `analyses/`, a file for those of half a minute. It is of use to the
same code, params and configs alone. When all measures of the page are written it is removed.
"""

import contextlib
import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.lab import Arrays

FOLDER = "analyses"  # in that of a group
SECONDS = 30.0  # of computing that are written at a time
RUNS, KEY = "runs", "key"


class Unfinished:
    """What the analyses of a group gave so far, run by run.

    found    by run, arrays by name
    """

    def __init__(self, group: Path, code: str) -> None:
        """
        Args:
            group: its folder.
            code: changes where that of the analyses does; "" where it is not known, so that nothing is kept.
        """
        self.folder, self.code = group / FOLDER, code
        self.new: dict[int, tuple[str, Arrays]] = {}
        self.since = time.perf_counter()
        self.found = dict(self._read()) if code else {}

    def _read(self) -> Iterator[tuple[int, tuple[str, Arrays]]]:
        for path in sorted(self.folder.glob("*.npz")) if self.folder.is_dir() else []:
            with contextlib.suppress(store.StoreError, KeyError, ValueError):  # damaged: it is computed again
                arrays = store.read_arrays(path)
                runs, keys = arrays.pop(RUNS), arrays.pop(KEY)
                for i, (run, key) in enumerate(zip(runs, keys, strict=True)):
                    yield int(run), (str(key), {name: value[i] for name, value in arrays.items()})

    def of(self, run: int, key: str) -> Arrays | None:
        """What a run gave, if that is of the same key."""
        there, arrays = self.found.get(run, ("", {}))
        return arrays if self.code and there == key else None

    def add(self, run: int, key: str, arrays: Arrays) -> None:
        """Keeps what a run gave; it is written with that of others after half a minute.

        Raises:
            StoreError: where it cannot be written.
        """
        if not self.code:
            return
        self.new[run] = key, arrays
        if time.perf_counter() - self.since >= SECONDS:
            self.write()

    def write(self) -> None:
        """Writes what is new."""
        if self.new:
            store.make_folder(self.folder, 0)
            runs, (keys, each) = list(self.new), zip(*self.new.values(), strict=True)
            stacked: Arrays = {name: np.stack([arrays[name] for arrays in each]) for name in each[0]}
            name = f"{time.time_ns():020d}.npz"
            store.write_arrays(self.folder / name, {**stacked, RUNS: np.array(runs), KEY: np.array(keys)})
        self.new, self.since = {}, time.perf_counter()

    def key(self, config: Config, params: Arrays, names: Sequence[str]) -> str:
        """What determines the results of a run: code, config, analyses and the params [T, …]. "" where nothing is kept."""
        if not self.code:
            return ""
        whole = hashlib.sha256(repr((self.code, cfg.canonical(config), list(names))).encode())
        for leaf in jax.tree.leaves(config):
            whole.update(np.asarray(leaf).tobytes())
        for name, value in sorted(params.items()):
            whole.update(repr((name, value.shape, value.dtype.str)).encode())
            whole.update(np.ascontiguousarray(value).data)
        return whole.hexdigest()


def remove(runs: Path) -> None:
    """Removes what was kept of the groups of a sweep. What cannot be removed is left there."""
    for folder in runs.glob(f"*/{FOLDER}"):
        shutil.rmtree(folder, ignore_errors=True)
