"""Sweeps on disk of groups that nobody trained, made in a millisecond each, to measure what many groups cost.

Every group is whole: a manifest, and chunks with measures, params and a resume point, digests included. Arrays are those of
one group that is written once; other groups have links to its files, and configs, names and records of their own.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.records import binding
from toylab.store import durable
from toylab.store.chunk import FILES, file_digests
from toylab.store.files import seal
from toylab.tasks import ModularArithmetic

MEASURES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
PLAN = {"lane": 1, "segment": 1, "chunk": 1}


def canonical() -> dict[str, Any]:
    """The config of every run but for its seed."""
    net = Net.of(ModularMLP, d_vocab=31, d_vocab_out=31, d_model=16, d_mlp=32)
    return dict(cfg.canonical(cfg.check(Config(ModularArithmetic(p=31, n_train=384), net, AdamW()))))


def make(sweep: Path, n_groups: int, n_runs: int = 1, n_points: int = 10, n_chunks: int = 1) -> None:
    """Writes a finished sweep.

    Args:
        sweep: its folder, which is made.
        n_groups: how many groups it has.
        n_runs: of each group.
        n_points: of each run.
        n_chunks: in which these lie; it divides `n_points`. 0: the groups are begun, and have no point yet.
    """
    first = canonical()
    durable.make(sweep)
    template = sweep / "template"
    saves = list(range(0, 10 * n_points, 10))
    groups: dict[str, int] = {}
    for number in range(n_groups):
        configs = [{**first, "seed": number * n_runs + run} for run in range(n_runs)]
        about = {"configs": configs, "saves": saves, "plan": PLAN, "keep": None, "probes": [], "stop": None}
        about |= {"started_from": None}
        if n_chunks and not number:
            _write(template, about, n_chunks)
        name = f"{number:03d}-{cfg.digest_of(configs[0])[:10]}"
        groups[name] = n_runs
        _copy(template, sweep / name, about)
    shutil.rmtree(template, ignore_errors=True)
    record = {
        "schema": store.SCHEMA,
        "group_size": n_runs,
        "command": "",
        "n_runs": n_groups * n_runs,
        "groups": groups,
    }
    store.write_json(sweep / "sweep.json", {**record, "saves": saves}, sealed=True)


def _write(folder: Path, about: dict[str, Any], n_chunks: int) -> None:
    durable.make(folder)
    saves, n_runs = about["saves"], len(about["configs"])
    each = len(saves) // n_chunks
    for end in range(each, len(saves) + 1, each):
        values = np.ones((n_runs, each), np.float32)
        items: dict[str, dict[str, np.ndarray]] = {
            "measures": {name: values for name in MEASURES},
            "traj": {"W": np.ones((n_runs, each, 8), np.float32)},
            "state": {"W": np.ones((n_runs, 8), np.float32)},
        }
        info = {
            "points": end,
            "steps": saves[end - each : end],
            "ended": [False] * n_runs,
            "lengths": [end] * n_runs,
            "diverged": [None] * n_runs,
        }
        store.write_chunk(folder, saves[end - 1], items, info)


def _copy(template: Path, folder: Path, about: dict[str, Any]) -> None:
    """The template's chunks as those of other runs."""
    os.mkdir(folder)  # not synced: it is thrown away
    steps = store.chunks(template) if template.is_dir() else []
    group = binding.group_info(about) if steps else {}
    for step in steps:
        chunk, source = folder / str(step), template / str(step)
        shutil.copytree(source, chunk, copy_function=os.link)
        path = chunk / "info" / "metadata"
        info = {**store.read_json(source / "info" / "metadata", sealed=True), binding.GROUP: group}
        for own, record in ((path, info), (chunk / FILES, None)):
            own.unlink()
            own.write_text(json.dumps(seal(file_digests(chunk) if record is None else record)), "utf-8")
    (folder / "manifest.json").write_text(json.dumps(seal({"schema": store.SCHEMA, **about})), "utf-8")
