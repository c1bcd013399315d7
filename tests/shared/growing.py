"""Sweeps that grow: trained step by step of a story, compared with one begun whole, and refused."""

import contextlib

import numpy as np
import pytest
from tiny_sweeps import PAIRS, contents

from toylab import store, sweep
from toylab.sweep import Spec

TENS, FIVES, LONG = tuple(range(0, 61, 10)), tuple(range(0, 61, 5)), tuple(range(0, 91, 5))


def low(measures):
    """STOP of C at step 20 of TENS and at step 15 of FIVES, of B at 30; the others go on."""
    return bool(measures["train_loss"][-1] < 2.0)


def of_disk(folder):
    """The points on disk: chunks without what grows or is thinned out."""
    names = ("sweep.json", "manifest.json")
    return {name: held for name, held in contents(folder).items() if not name.endswith(names) and "/state/" not in name}


def grown(folder, *requests, plan=PAIRS, **spec):
    """Trains each request (configs, saves) into the folder, one after another; returns the sweep and what was told."""
    told: list[str] = []
    for configs, saves in requests:

        def report(progress):
            told.extend(progress.messages)

        sweep.run(configs, Spec(saves=saves, **spec), folder, plan=plan, report=report)
    found = sweep.load(folder)
    for item in (found.params, found.measures, found.probes):
        with contextlib.suppress(ValueError):  # sizes differ
            dict(item)  # read now: the folder may grow
    return found, told


def differences(one, other):
    """In what two sweeps differ: runs, steps, points, columns, and the bits of every array."""
    found = [name for name in ("runs", "steps", "valid", "diverged") if not _equal(*_both(name, one, other))]
    found += [
        name
        for name in one.columns.keys() | other.columns.keys()
        if not _equal(*(s.columns.get(name) for s in (one, other)))
    ]
    for item in ("params", "measures", "probes"):
        a, b = _both(item, one, other)
        found += [
            f"{item}/{name}" for name in {*a} | {*b} if name not in a or name not in b or not _equal(a[name], b[name])
        ]
    return found


def _both(name, one, other):
    return getattr(one, name), getattr(other, name)


def _equal(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return (a.shape, a.dtype) == (b.shape, b.dtype) and a.tobytes() == b.tobytes()


def refused(words, folder, runs, saves, **spec):
    before = of_disk(folder)
    manifest = {path: path.read_bytes() for path in folder.glob("*/manifest.json")}
    with pytest.raises(store.Refused, match=words) as error:
        sweep.run(runs, Spec(saves=saves, **spec), folder, plan=PAIRS)
    assert "\n" not in str(error.value) and before.items() <= of_disk(folder).items()
    assert {path: store.read_json(path, sealed=True)["saves"] for path in manifest} == {
        path: store.read_json(path, sealed=True)["saves"] for path in folder.glob("*/manifest.json")
    }
