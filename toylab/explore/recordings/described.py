"""The configs of runs as they were written: columns to sort and filter by, and the Config and data of a run."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import store, train
from toylab.base import Config
from toylab.explore.wording import sentence
from toylab.records.rebuilt import config_of
from toylab.records.selection import class_names, column_of

Canonical = Mapping[str, Any] | None
CLASSES = ("type", "module")  # the last names of columns of classes
HELD = 256 << 20  # bytes of the runs' data that are kept
_data = jax.jit(train.data)


def columns_of(configs: Sequence[Canonical]) -> dict[str, np.ndarray]:
    """The scalar fields of canonical configs, an array [R] each: nan or "" where a run lacks one."""
    rows = [{} if one is None else cfg.flat(one) for one in configs]
    names = dict.fromkeys(name for row in rows for name, value in row.items() if _is_scalar(value))
    found = {}
    for name in names:
        values = [row.get(name) for row in rows]
        found[name] = column_of([value if _is_scalar(value) else None for value in values])
    return named(found)


def named(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns, with classes named without their modules."""
    return {
        name: class_names(value) if name.rpartition(".")[2] in CLASSES and value.dtype.kind == "U" else value
        for name, value in columns.items()
    }


def varying(columns: Mapping[str, np.ndarray]) -> list[str]:
    """The names of the columns in which runs differ; two nan do not."""

    def differs(value: np.ndarray) -> bool:
        return len(value) > 1 and len(np.unique(value, equal_nan=True)) > 1

    return [name for name, value in columns.items() if differs(value)]


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


class Described:
    """Runs by their canonical configs, None where one is not known. Configs are rebuilt when they are first asked for."""

    def __init__(
        self,
        canonical: Callable[[int], Canonical],
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Args:
            canonical: the config of a run, by its number.
            ready: called where one cannot be rebuilt, as to import the page whose classes it has.
        """
        self.canonical = canonical
        self.messages: dict[str, None] = {}
        self._ready = ready
        self._configs: dict[int, Config | None] = {}
        self._data: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.RLock()

    def config(self, run: int) -> Config | None:
        with self._lock:
            if run not in self._configs:
                self._configs[run] = self._rebuilt(run)
            return self._configs[run]

    def _rebuilt(self, run: int) -> Config | None:
        if (canonical := self.canonical(run)) is None:
            return None
        try:
            return config_of(canonical)
        except Exception:  # of classes of today, called with what was written once
            self._ready()  # its classes may be those of the page
        try:
            return config_of(canonical)
        except Exception as error:
            self.messages[f"A config is not known here: {sentence(store.first_line(error))}"] = None
            return None

    def data(self, run: int) -> Any:
        """The arrays of a run. The newest are kept."""
        with self._lock:
            if run not in self._data:
                self._data[run] = self._made(run)
            self._data.move_to_end(run)
            sizes = [sum(np.asarray(x).nbytes for x in jax.tree.leaves(own)) for own in self._data.values()]
            while len(sizes) > 1 and sum(sizes) > HELD:
                self._data.popitem(last=False)
                sizes = sizes[1:]
            return self._data[run]

    def _made(self, run: int) -> Any:
        config = self.config(run)
        if config is None or config.task is None:
            return {}
        try:
            return jax.tree.map(np.asarray, _data(config))
        except Exception as error:  # of a task of the user's
            self.messages[f"The data of a run cannot be made: {sentence(store.first_line(error))}"] = None
            return {}
