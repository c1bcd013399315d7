"""What all tests share: where the reference data lies, one cache of compiled programs, and no more memory than needed."""

import ctypes
import gc
import locale
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import jax
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

# Of the processes that share the tests each keeps to a core of its own; with threads on all cores they would wait for each
# other.
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
threadpool_limits(1, user_api="blas")  # as numerics.py has it where sweeps are trained and analyzed

if locale.getpreferredencoding(False).lower() not in ("utf-8", "utf8"):  # toylab itself writes UTF-8 in any locale
    pytest.exit("The tests read UTF-8 and this locale says otherwise: set PYTHONUTF8=1.", returncode=4)

settings.register_profile("same", derandomize=True, deadline=None)  # the same examples everywhere, however slow
settings.load_profile("same")


FULL, MORE = 1 << 30, 1 << 28  # bytes
LIMIT = pytest.StashKey[int]()
STATM = Path("/proc/self/statm")
COMPILED = pytest.StashKey[str]()  # the folder with the compiled programs of this session
CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # XLA's own would print to stderr
}


def pytest_configure(config: pytest.Config) -> None:
    """What one process of this session has compiled no other compiles again: workers and commands inherit the folder. A
    folder that the environment names is taken and kept: the next session then compiles nothing that has not changed."""
    if hasattr(config, "workerinput"):
        return
    os.environ.setdefault("XLA_FLAGS", " ".join(flags(config.option.markexpr)))
    for name, value in CACHE.items():
        os.environ.setdefault(name, value)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.stash[COMPILED] = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="toylab-compiled-")


def flags(selected: str) -> list[str]:
    """How XLA compiles, before jax starts. Tests compile much and compute little. The fast ones are compiled unoptimised
    and by XLA's older emitter of loops, in a third of the time. The slow ones are compiled almost as a user's are."""
    if selected != "not slow":
        return ["--xla_backend_optimization_level=1"]
    known = version("jaxlib").startswith("0.10.")  # an XLA that does not know a flag aborts
    emitter = ["--xla_cpu_use_fusion_emitters=false"] if known else []
    return ["--xla_backend_optimization_level=0", *emitter]


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(COMPILED, None):
        del os.environ["JAX_COMPILATION_CACHE_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Compiled programs are dropped once the process has grown to `FULL`, and by `MORE` since they last were: kept, those
    of all tests fill gigabytes. What is needed again comes from the session's cache."""
    if "jax" in sys.modules and resident() > item.config.stash.get(LIMIT, FULL):
        sys.modules["jax"].clear_caches()
        gc.collect()
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # glibc gives freed memory back only when asked
        item.config.stash[LIMIT] = max(FULL, resident() + MORE)


def resident() -> int:
    """The bytes of memory that this process has; 0, so that nothing is dropped, where the system does not tell."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0


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


@pytest.fixture
def no_precision():
    """No precision of products is set, as the command line sets one for the process."""
    before = jax.config.jax_default_matmul_precision
    jax.config.update("jax_default_matmul_precision", None)
    yield
    jax.config.update("jax_default_matmul_precision", before)
