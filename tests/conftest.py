"""Fixtures: where the reference data lies."""

import locale
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before jax starts. Tests compile much and compute little: the default level takes a fifth longer. Of the processes that
# share the tests each keeps to a core of its own; with threads on all cores they would wait for each other.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


if locale.getpreferredencoding(False).lower() not in ("utf-8", "utf8"):  # toylab itself writes UTF-8 in any locale
    pytest.exit("The tests read UTF-8 and this locale says otherwise: set PYTHONUTF8=1.", returncode=4)

settings.register_profile("same", derandomize=True, deadline=None)  # the same examples everywhere, however slow
settings.load_profile("same")


@pytest.fixture(scope="session")
def float16() -> None:
    """For what computes in float16, which XLA cannot on processors before 2012 (without F16C)."""
    import jax

    try:
        jax.numpy.ones(1).astype("float16")
    except jax.errors.JaxRuntimeError:
        pytest.skip("XLA has no float16 on this processor")


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with weights and published numbers to test against; never copied into the repository."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "reference"
    folder = Path(os.environ.get("TOYLAB_REFERENCE", beside))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder} (set TOYLAB_REFERENCE)")
    return folder
