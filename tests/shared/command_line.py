"""The command line in this process: its settings given back, its refusals, what it leaves."""

import contextlib
import os

import jax
import pytest

import run_sweep

PAGE = ["grokking", "--scale", "smoke"]
SMOKE = [*PAGE, "--lane", "1"]


@contextlib.contextmanager
def settings_kept():
    """The command line sets how jax multiplies and what XLA does: the other tests keep their own."""
    precision = jax.config.jax_default_matmul_precision
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
        yield
    jax.config.update("jax_default_matmul_precision", precision)


@pytest.fixture(autouse=True)
def own_settings():
    with settings_kept():
        yield


def tree(folder):
    """What lies below: names, and contents but of locks and their owners."""
    paths, held = sorted(folder.rglob("*")), ("lock", "owner.json")
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() and p.name not in held else None for p in paths}


def refused(arguments, capfd, status=2):
    """The one line that it says on stderr."""
    capfd.readouterr()
    assert run_sweep.main([str(argument) for argument in arguments]) == status
    said = capfd.readouterr()
    assert said.err.endswith("\n") and said.err.count("\n") == 1 and len(said.err) < 600, said.err
    return said.err
