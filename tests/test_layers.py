"""Imports point one way: which package may import which, read from the syntax tree of every file. What is not listed is
forbidden, under TYPE_CHECKING and inside functions too. A package's files may import each other, without a cycle."""

import ast
import importlib
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# what one run is, and its whole dynamics
CORE = "base protocol checking platforms configs fields classes meanings train losses optim display numerics"
MAY_IMPORT = {
    "shapes": "",
    "core": "shapes",
    "tasks": "core shapes",
    "models": "core shapes",
    "store": "",
    "records": "core store analysis",
    "sweep": "core store records",
    "launch": "core store records sweep",
    "analysis": "core shapes tasks",
    "importers": "core store models records",
    "record": "core store models records importers",
    "plots": "store",
    "claims": "",
    "lab": "core store records sweep analysis plots claims",
    "explore": "core store records analysis tasks claims lab importers",
    "experiments": "core tasks models sweep analysis importers plots lab claims",
    "cli": "core store records sweep launch lab claims explore toylab",  # of toylab itself its version
    "run_sweep": "cli",  # and toylab/__main__.py
    "toylab": "",  # the package itself: its stub, which names what is public
    "benchmarks": "shapes core tasks models store record records importers sweep analysis plots lab "
    "experiments explore cli run_sweep",
}
ONLY_IN = {
    "flax.nnx": "models",
    "orbax": "store",
    "pyarrow": "store benchmarks",
    "matplotlib": "plots experiments",
    "PIL": "plots",
    "ray": "launch",
    "tensorboardX": "lab",
    "wandb": "lab",
    "torch": "benchmarks importers",
    "xarray": "records lab",  # lab for annotations
    "pandas": "records lab",
    "statsmodels": "claims",
    "bokeh": "explore",
    "tornado": "explore",
    "argparse": "cli benchmarks",
    "importlib.import_module": "lab records",  # a page, a class of a manifest, the explorer that is above, by its name
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
    """The package a dotted name belongs to; None for other people's."""
    first, *rest = name.split(".")
    if name.startswith("toylab.experiments"):
        return "experiments"
    if name == "toylab.__main__":
        return "run_sweep"
    if first == "toylab" and rest:
        return "core" if rest[0] in CORE.split() else rest[0] if rest[0] in MAY_IMPORT else "toylab"
    return first if first in MAY_IMPORT else None


def violations(source: str, path: Path) -> list[str]:
    own = layer(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    if own is None or (own == "toylab" and path.stem != "__init__"):
        return [f"{path} is in no package: list it in CORE or MAY_IMPORT"]
    found = []
    for name in sorted(imported(source, path)):
        other = layer(name)
        if other not in (None, own, *MAY_IMPORT[own].split()):
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
        ("toylab/base.py", "from toylab import tasks"),
        ("toylab/losses.py", "from toylab.models import Net"),
        ("toylab/shapes/checks.py", "from toylab.base import Config"),
        ("toylab/analysis/attention/heads.py", "from toylab.store import read_json"),
        (
            "toylab/analysis/attention/heads.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toylab import sweep",
        ),
        ("toylab/analysis/attention/heads.py", "def f():\n    import toylab.models.relu"),
        ("toylab/analysis/attention/heads.py", "from ...records import load"),
        ("toylab/analysis/attention/heads.py", "from ... import models"),
        ("toylab/models/relu.py", "from toylab.tasks import ModularArithmetic"),
        ("toylab/tasks/hmm.py", "from toylab import models as m"),
        ("toylab/train.py", "from toylab.sweep import run"),
        ("toylab/train.py", "from toylab import Config"),
        ("toylab/train.py", "import toylab"),
        ("toylab/sweep/runner.py", "import toylab.experiments.grokking"),
        ("toylab/lab/page.py", "import matplotlib.pyplot as plt"),
        ("run_sweep.py", "from toylab.lab import pages"),
        ("toylab/train.py", "from flax import nnx"),
        ("toylab/train.py", "import flax"),
        ("toylab/sweep/runner.py", "from orbax import checkpoint"),
        ("toylab/sweep/runner.py", "import pyarrow.parquet as pq"),
        ("toylab/plots/curves.py", "import jax.numpy as jnp"),
        ("toylab/plots/curves.py", "from jax import Array"),
        ("toylab/sweep/runner.py", "import argparse"),
        ("toylab/sweep/runner.py", "from importlib import import_module"),
        ("toylab/store.py", "import pickle"),
        ("toylab/models/relu.py", "from torch import nn"),
        ("toylab/helpers.py", "import math"),
        ("experiments/grokking/grokking.py", "from toylab.store import read_json"),
        ("setup.py", "import math"),
    ],
)
def test_a_forbidden_import_is_found(path, source):
    assert len(violations(source, Path(path))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("toylab/models/relu.py", "from flax import nnx\nfrom toylab.models.mlp import ModularMLP\nfrom . import mlp"),
        ("toylab/analysis/attention/heads.py", "from ...losses import cross_entropy\nfrom toylab.base import Run"),
        ("toylab/optim.py", "from flax import struct\nimport importlib.metadata"),
        ("toylab/sweep/runner.py", "from toylab.sweep import lanes\nfrom . import grids"),
        (
            "experiments/grokking/grokking.py",
            "import matplotlib\nfrom toylab.experiments import superposition\nfrom toylab.lab import Part",
        ),
        ("toylab/cli/run.py", "import argparse\nfrom toylab import lab"),
    ],
)
def test_an_allowed_import_is_not(path, source):
    assert violations(source, Path(path)) == []


def test_what_is_installed_imports_nothing_by_a_name_that_only_the_repository_has():
    """Pages are installed as toylab.experiments: `from experiments` works where the repository's root is on the path."""
    found = []
    for path in files():
        for node in (
            ast.walk(ast.parse((ROOT / path).read_text())) if path.startswith(("toylab/", "experiments/")) else ()
        ):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            found += [(path, name) for name in names if name.split(".")[0] in ("experiments", "tests", "benchmarks")]
    assert found == []


def test_the_layers_have_no_cycle():
    TopologicalSorter({name: below.split() for name, below in MAY_IMPORT.items()}).prepare()


def test_no_file_imports_itself_by_way_of_others():
    names = {".".join(Path(path).with_suffix("").parts).removesuffix(".__init__"): Path(path) for path in files()}

    def known(name):
        name = name.replace("toylab.experiments", "experiments")
        if f"benchmarks.{name.partition('.')[0]}" in names:  # scripts, which import each other by their bare names
            return f"benchmarks.{name.partition('.')[0]}"
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name

    graph = {
        module: {known(name) for name in imported((ROOT / path).read_text(), path)} - {module, ""}
        for module, path in names.items()
    }
    TopologicalSorter(graph).prepare()


def test_a_cycle_is_found():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


STUBS = sorted((ROOT / "toylab").rglob("__init__.pyi"))


@pytest.mark.parametrize("stub", STUBS, ids=[".".join(path.parent.relative_to(ROOT).parts) for path in STUBS])
def test_a_package_names_what_is_in_it(stub):
    """Every module of it, and nothing that is not there."""
    package = importlib.import_module(".".join(stub.parent.relative_to(ROOT).parts))
    modules = {path.stem for path in stub.parent.glob("*.py") if not path.stem.startswith("_")}
    assert modules | {path.parent.name for path in stub.parent.glob("*/__init__.py")} <= set(package.__all__)
    for name in package.__all__:
        getattr(package, name)


def test_importing_toylab_is_light():
    """Neither jax nor what draws and saves is loaded before it is used."""
    heavy = ("jax", "flax", "numpy", "matplotlib", "orbax", "pyarrow", "ray", "torch")
    loaded = f"import sys, toylab; print(*sorted({{name.split('.')[0] for name in sys.modules}} & set({heavy})))"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    reading = f"from toylab.sweep import run, load; {loaded}"
    done = subprocess.run([sys.executable, "-c", reading], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"jax", "flax", "numpy"}


def test_a_page_loads_matplotlib_when_it_draws():
    page = "import sys; from toylab.experiments.grokking import grokking; print('matplotlib' in sys.modules)"
    drawn = "from toylab.plots import curves; curves.learning; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{page}; {drawn}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]


def test_the_wheel_has_every_package():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = [".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "toylab").rglob("__init__.py")]
    pages = [".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "experiments").rglob("__init__.py")]
    assert sorted(listed) == sorted([*there, *(f"toylab.{name}" for name in pages)])
