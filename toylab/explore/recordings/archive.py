"""An npz whose arrays are read when they are first used, all from the file as it was when it was opened."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab import store
from toylab.explore.wording import sentence
from toylab.store.files import ZIP, open_file

Signature = tuple[int, int, int]


def signature(path: Path) -> Signature | None:
    """What changes where a file is replaced; None where there is none."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None


class Archive(Mapping[str, np.ndarray]):
    """Arrays of an npz that `toylab.store.write_arrays` wrote. Which there are, their shapes and dtypes are read at once.

    shapes, dtypes    by name
    lost              sentences on arrays of which nothing can be read, and which are left out
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            StoreError: where it is not there.
            Damaged: where it is no such file.
            Unread: where it cannot be read now.
        """
        self.path, self.signature = path, signature(path)
        self.made: dict[str, np.ndarray] = {}
        try:
            self._file = open_file(path)
            try:
                if self._file.read(len(ZIP)) != ZIP:
                    raise ValueError("it is no .npz")
                self._file.seek(0)
                self._npz: Any = np.load(self._file, allow_pickle=False)
                self._describe()
            except BaseException:
                self._file.close()
                raise
        except FileNotFoundError:
            raise store.StoreError(f"{path} is not there.") from None
        except Exception as error:  # damage can raise anything
            if store.errors.is_unread(error):
                raise store.errors.Unread(f"{path} cannot be read: {store.first_line(error)}.") from error
            raise store.Damaged(f"{path} is damaged: {sentence(store.first_line(error))}") from error

    def _describe(self) -> None:
        listed = sorted(self._npz[store.NAMES].tolist())
        if sorted({*self._npz.files} - {store.NAMES}) != listed or len(self._npz.files) != len(listed) + 1:
            raise ValueError("arrays are missing from it, or stand in it twice")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype] = {}
        self.lost: list[str] = []
        for name in listed:
            try:
                self.shapes[name], self.dtypes[name] = self._header(name)
            except Exception as error:  # damage can raise anything
                if name.rpartition("/")[2] in ("steps", "valid"):
                    raise
                self.lost.append(f"{name} in {self.path} is damaged: {sentence(store.first_line(error))}")

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        with self._npz.zip.open(f"{name}.npy") as member:
            first = np.lib.format.read_magic(member) == (1, 0)
            read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
            return shape, dtype

    def __getitem__(self, name: str) -> np.ndarray:
        """Raises Damaged where its bytes are not what was written."""
        if name not in self.shapes:
            raise KeyError(name)
        if name not in self.made:
            try:
                self.made[name] = self._npz[name]
            except Exception as error:  # damage can raise anything
                raise store.Damaged(f"{name} in {self.path} is damaged: {sentence(store.first_line(error))}") from error
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
