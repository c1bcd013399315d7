"""Fixtures: where the reference data lies."""

import os
from pathlib import Path

import pytest

# Tests compile much and compute little. Set before jax starts; the default level takes a fifth longer.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with weights and published numbers to test against; never copied into the repository."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "reference"
    folder = Path(os.environ.get("TOYLAB_REFERENCE", beside))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder} (set TOYLAB_REFERENCE)")
    return folder
