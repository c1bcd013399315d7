"""How numbers are computed on any machine: precision of products, threads of decompositions."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tests.shared.small_pages import small
from toylab import analysis, numerics, sweep
from toylab.base import Run
from toylab.sweep import Spec


@pytest.mark.parametrize("backend, given, wanted", [
    ("gpu", None, "highest"), ("tpu", None, "highest"), ("tpu", "bfloat16", "bfloat16"), ("cpu", None, None),
])  # fmt: skip
def test_accelerators_multiply_in_full_precision_unless_another_is_set(
    no_precision, monkeypatch, backend, given, wanted
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    with jax.default_matmul_precision(given) if given else contextlib.nullcontext(), numerics.full_precision():
        assert jax.config.jax_default_matmul_precision == wanted
        program = jax.jit(jnp.matmul).lower(jnp.ones((2, 2)), jnp.ones((2, 2))).as_text()
        assert ("HIGHEST" in program) == (wanted == "highest")
    assert jax.config.jax_default_matmul_precision is None


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_sweeps_and_analyses_decompose_on_one_thread_and_give_the_others_back(tmp_path):
    """Seen where the functions are traced, which is within `run` and `analyze`."""
    seen = []

    def singular_values(params, run):
        seen.append(threads())
        return {"singular_values": jnp.linalg.svd(params["W"])[1]}

    configs = small(2, seeds=1)
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("this BLAS has no threads to limit")
        spec = Spec(saves=(0, 1), probes={"svd": singular_values})
        sweep.run(configs, spec, tmp_path / "sweep", report=None)
        trained = len(seen)
        run = Run(config={}, data={})
        analysis.analyze(singular_values, {"W": np.ones((1, 1, 3, 3), np.float32)}, run, report=None)
        assert 0 < trained < len(seen) and all(one == {1} for one in seen)
        assert threads() == {2}
