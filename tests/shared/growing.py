"""Sweeps that grow: trained step by step of a story, and compared with one begun whole."""

import contextlib

import numpy as np
from tiny_sweeps import PAIRS

from toylab import sweep
from toylab.sweep import Spec


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
