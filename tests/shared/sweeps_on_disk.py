"""Sweeps on disk without training: groups whose measures are known functions of run and step."""

import json

import numpy as np

from toylab import configs as cfg
from toylab import store
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.records import binding
from toylab.store.chunk import FILES, file_digests
from toylab.store.files import seal
from toylab.tasks import ModularArithmetic


def described(seed=0, weight_decay=0.1, d_model=4):
    """A canonical config."""
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=d_model, d_mlp=16)
    return cfg.canonical(
        cfg.check(Config(ModularArithmetic(p=11, n_train=60), net, AdamW(weight_decay=weight_decay), seed=seed))
    )


def seeds(n, start=0, **fields):
    """n canonical configs that differ in their seed."""
    first = json.dumps(described(**fields))
    return [{**json.loads(first), "seed": start + i} for i in range(n)]


def loss(configs, steps):
    """[R, T]: what the measure `loss` is at a step."""
    return np.array([[config["seed"] + step / 1000 for step in steps] for config in configs], np.float32)


def write_group(sweep, configs, chunks, *, number=0, lengths=None, diverged=None, saves=None, more=()):
    """A group's folder, with a chunk for each list of steps: measures `loss` and those of `more`, and one param W [R, T,
    d_model] of the value of loss. Runs end after `lengths` points."""
    folder = sweep / f"{number:03d}-{cfg.digest_of(configs[0])[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    every = [step for steps in chunks for step in steps]
    lengths = [len(every)] * len(configs) if lengths is None else lengths
    about = {"configs": configs, "saves": saves or every, "plan": {"lane": 1, "segment": 1, "chunk": 1}}
    store.write_json(folder / "manifest.json", {"schema": store.SCHEMA, **about}, sealed=True)
    points = 0
    for steps in chunks:
        values = loss(configs, steps)
        values[np.arange(points, points + len(steps)) >= np.array(lengths)[:, None]] = np.nan
        points += len(steps)
        d_model = dict(configs[0]["net"]["sizes"])["d_model"]
        items = {
            "measures": {"loss": values, **{name: 2 * values for name in more}},
            "traj": {"W": np.repeat(values[..., None], d_model, axis=-1)},
            "state": {"W": values[:, -1]},
        }
        ended = [points >= n for n in lengths] if min(lengths) < len(every) else [False] * len(configs)
        info = {
            "points": points,
            "steps": steps,
            "ended": ended,
            "lengths": [min(n, points) for n in lengths],
            "diverged": diverged or [None] * len(configs),
            "group": binding.group_info(about),
        }
        store.write_chunk(folder, steps[-1], items, info)
    return folder


def as_schema_3(group):
    """Rewrites a group's folder as it was written before schema 4: a plan named its segment `beat`."""
    infos = list(group.glob("*/info/metadata"))
    for path in (group / "manifest.json", *infos):
        record = store.read_json(path, sealed=True)
        record["schema"] = 3
        holder = record["group"] if path in infos else record
        holder["plan"] = {"beat" if name == "segment" else name: value for name, value in holder["plan"].items()}
        path.write_text(json.dumps(seal(record)))
    for chunk in (path.parents[1] for path in infos):
        (chunk / FILES).write_text(json.dumps(seal(file_digests(chunk))))


def outline(sweep, groups, command="python run_sweep.py grokking --seeds 9"):
    """sweep.json, written before the first step."""
    record = {
        "schema": store.SCHEMA,
        "group_size": 256,
        "command": command,
        "n_runs": sum(groups.values()),
        "groups": groups,
    }
    sweep.mkdir(parents=True, exist_ok=True)
    store.write_json(sweep / "sweep.json", record, sealed=True)


def names(configs):
    return [cfg.digest_of(config)[:10] for config in configs]
