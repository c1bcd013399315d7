"""What analyzers gave, kept on disk: a file for each analyzer, run and chunk, with the points that were computed."""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab import store
from toylab.store import caches, durable
from toylab.store.files import replaced

Arrays = dict[str, np.ndarray]
LIMIT = 1_000_000_000  # bytes of all files; the oldest go first
PREFIX, POINTS = "analysis-", "points"


def key(*parts: str) -> str:
    """One name for what all these texts determine."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Kept:
    """Files in the folder of caches, as ~/.cache/toylab/explore. TOYLAB_CACHE names another folder, or is off. Nothing
    raises: what cannot be kept, or is damaged, is computed again."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.folder = caches.folder("explore", os.environ if environment is None else environment)
        self.problem = ""

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{PREFIX}{name}.npz"

    def read(self, name: str) -> dict[int, Arrays]:
        """The points that a file has, by their places in the chunk."""
        path = self._path(name)
        try:
            if path is None or not path.exists():
                return {}
            arrays = store.read_arrays(path)
            points = arrays.pop(POINTS)
            if (
                points.ndim != 1
                or points.dtype.kind != "i"
                or any(len(value) != len(points) for value in arrays.values())
            ):
                return {}
            os.utime(path)
        except (store.StoreError, OSError, KeyError, TypeError):  # damaged: computed again, and written anew
            return {}
        return {int(p): {name: value[i] for name, value in arrays.items()} for i, p in enumerate(points)}

    def write(self, name: str, points: Mapping[int, Arrays]) -> None:
        """Keeps points [one each] under a name, in place of what was there."""
        path = self._path(name)
        if path is None or not points or self.problem:
            return
        places = sorted(points)
        arrays: dict[str, Any] = {own: np.stack([points[p][own] for p in places]) for own in points[places[0]]}
        arrays[POINTS] = np.array(places, np.int64)

        def write(beside: Path) -> None:
            with beside.open("wb") as file:
                np.savez(file, **{store.NAMES: np.array(sorted(arrays)), **arrays})

        try:
            durable.make(path.parent)
            replaced(path, write)
        except (store.StoreError, OSError) as error:
            why = store.first_line(error)
            self.problem = (
                f"{path.parent}: what is computed is not kept ({why}); {caches.VARIABLE} may name another folder."
            )

    def trim(self, limit: int = LIMIT) -> None:
        """Removes the files that were not used for longest, until there are at most so many bytes."""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            files = [(path.stat(), path) for path in self.folder.glob(f"{PREFIX}*.npz")]
            files.sort(key=lambda one: one[0].st_mtime, reverse=True)
            held = 0
            for found, path in files:
                held += found.st_size
                if held > limit:
                    path.unlink(missing_ok=True)
