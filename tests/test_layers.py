"""Imports point one way: who may import whom, read from the syntax tree of every file. What is not listed is forbidden,
under TYPE_CHECKING and inside functions too. Everything may import base, and a folder's files each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "base": "",
    "annotations": "",
    "narrow": "",
    "indices": "",
    "shapes": "annotations narrow",
    "losses": "shapes indices",
    "cayley": "",
    "optim": "",
    "protocol": "",
    "configs": "protocol",
    "durable": "",
    "plots": "durable",
    "store": "durable",
    "models": "indices protocol",
    "tasks": "losses indices shapes cayley",
    "analysis": "losses indices shapes narrow cayley",
    "train": "losses",
    "importers": "models durable",
    "lanes": "train configs",
    "plan": "memory lanes train",
    "binding": "store configs",
    "history": "binding store train",
    "manifest": "binding plan lanes store configs",
    "told": "manifest store",
    "sizes": "memory train store",
    "group": "sizes binding manifest plan lanes history train store configs durable",
    "selection": "",
    "source": "history manifest configs",
    "records": "source selection history manifest store configs",
    "table": "records store",
    "sweep": "binding told table records group manifest plan lanes history train store configs durable",
    "cluster": "sweep manifest told store",
    "processes": "sweep binding manifest told store durable",
    "company": "cluster processes sweep",
    "watch": "sweep durable",
    "status": "binding manifest told store",
    "events": "sweep",
    "memory": "lanes train configs",
    "grids": "configs",
    "describe": "grids configs",
    "stated": "lab",
    "rehearsal": "lab stages sweep train configs",
    "job": "describe grids lab stages stated rehearsal sizes sweep store configs",
    "preview": "job memory status manifest plan sweep store configs",
    "lab": "analysis",
    "stages": "lab sweep told analysis store configs train plots",
    "experiments": "cayley lab grids sweep analysis importers plots tasks models optim losses",
    "run_sweep": "experiments describe job preview lab stages watch events status sweep company analysis store configs",
    "toylab": "base train losses optim configs grids tasks models analysis sweep store lab stages",  # its public names
    "benchmarks": "run_sweep experiments lab stages sweep group plan lanes train store configs analysis tasks models optim"
    " losses shapes",
}
ONLY_IN = {
    "flax.nnx": "models",
    "orbax": "store",
    "pyarrow": "store benchmarks",
    "matplotlib": "plots experiments",
    "PIL": "plots",
    "ray": "cluster",
    "tensorboardX": "events",
    "torch": "benchmarks importers",
    "argparse": "run_sweep benchmarks",
    "importlib.import_module": "run_sweep",  # the experiment's name on the command line
    "pickle": "",
    "cloudpickle": "",
    "dill": "",
}
NEVER_IN = {"jax": "plots"}


def imported(source: str, path: Path) -> set[str]:
    """Dotted names, `from` imports down to the name: "flax.nnx", "toylab.base.Config"."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            above = path.parts[: len(path.parts) - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def layer(name: str) -> str | None:
    """The layer a dotted name belongs to; None for other people's packages."""
    first, *rest = name.split(".")
    if first == "toylab":
        return rest[0] if rest and rest[0] in MAY_IMPORT else "toylab"
    return first if first in MAY_IMPORT else None


def violations(source: str, path: Path) -> list[str]:
    own = layer(".".join(path.with_suffix("").parts).replace("toylab.__init__", "toylab"))
    if own is None or (own == "toylab" and path != Path("toylab/__init__.py")):
        return [f"{path} is in no layer: list it in MAY_IMPORT"]
    found = []
    for name in sorted(imported(source, path)):
        other = layer(name)
        if other not in (None, own, "base", *MAY_IMPORT[own].split()) or (own == "base" and other):
            found.append(f"{path} imports {name}: {own} may not import {other}")
        for package, places in ONLY_IN.items():
            within = name == package or name.startswith(f"{package}.") or package.startswith(f"{name}.")
            if within and own not in places.split():
                found.append(f"{path} imports {name}: only in {places or 'no file at all'}")
        found += [
            f"{path} imports {name}: never in {places}"
            for package, places in NEVER_IN.items()
            if name.split(".")[0] == package and own in places.split()
        ]
    return found


def files() -> list[str]:
    found = [path for folder in ("toylab", "experiments", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in [*found, *ROOT.glob("*.py")])


@pytest.mark.parametrize("path", files())
def test_imports_point_one_way(path):
    assert violations((ROOT / path).read_text(), Path(path)) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("toylab/base.py", "from toylab import losses"),
        ("toylab/base.py", "from toylab.base import Config"),
        ("toylab/analysis/heads.py", "from toylab.store import read_json"),
        (
            "toylab/analysis/heads.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toylab import train",
        ),
        ("toylab/analysis/heads.py", "def f():\n    import toylab.tasks.modular"),
        ("toylab/analysis/heads.py", "from ..train import step"),
        ("toylab/analysis/heads.py", "from .. import tasks"),
        ("toylab/models/relu.py", "from toylab.tasks import ModularArithmetic"),
        ("toylab/tasks/hmm.py", "from toylab import models as m"),
        ("toylab/train.py", "from toylab.sweep import run"),
        ("toylab/train.py", "from toylab import Config"),
        ("toylab/train.py", "import toylab"),
        ("toylab/sweep.py", "import experiments.grokking"),
        ("toylab/lab.py", "import matplotlib.pyplot as plt"),
        ("toylab/train.py", "from flax import nnx"),
        ("toylab/train.py", "import flax"),
        ("toylab/sweep.py", "from orbax import checkpoint"),
        ("toylab/sweep.py", "import pyarrow.parquet as pq"),
        ("toylab/plots/curves.py", "import jax.numpy as jnp"),
        ("toylab/plots/curves.py", "from jax import Array"),
        ("toylab/sweep.py", "import argparse"),
        ("toylab/sweep.py", "from importlib import import_module"),
        ("toylab/store.py", "import pickle"),
        ("toylab/models/relu.py", "from torch import nn"),
        ("toylab/helpers.py", "import math"),
        ("experiments/grokking.py", "from toylab.store import read_json"),
        ("setup.py", "import math"),
    ],
)
def test_a_forbidden_import_is_found(path, source):
    assert len(violations(source, Path(path))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("toylab/models/relu.py", "from flax import nnx\nfrom toylab.models.mlp import ModularMLP\nfrom . import mlp"),
        ("toylab/analysis/heads.py", "from ..losses import cross_entropy\nfrom toylab.base import Run"),
        ("toylab/optim.py", "from flax import struct\nimport importlib.metadata"),
        ("toylab/__init__.py", "from toylab.train import step"),
        (
            "experiments/grokking.py",
            "import matplotlib\nfrom experiments import superposition\nfrom toylab.lab import Claim",
        ),
        ("run_sweep.py", "import argparse, importlib\nfrom toylab import lab"),
    ],
)
def test_an_allowed_import_is_not(path, source):
    assert violations(source, Path(path)) == []


def test_the_layers_have_no_cycle():
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        free = [
            name for name, below in MAY_IMPORT.items() if name not in order and set(below.split()) <= {*order, "base"}
        ]
        assert free, f"a cycle among {sorted(set(MAY_IMPORT) - set(order))}"
        order += free
