import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import HandTask, circuit, cosine_loss, hand_run, mask_of
from hypothesis import given, settings
from hypothesis import strategies as st

from toylab import train
from toylab.analysis import analyze, in_half, norms, together, without
from toylab.analysis.modular import fourier, progress
from toylab.analysis.over_runs import _analyze_slab
from toylab.base import Config, Run
from toylab.models import ModularMLP, Net
from toylab.optim import SGD
from toylab.tasks import ModularArithmetic


def moments(params, run):
    """A cheap analyzer that leans on both arguments."""
    return {
        "sum": (params["W"] * run.data["scale"]).sum(),
        "rows": params["W"].sum(1) + params["b"],
        "big": params["b"] > run.config.seed,
    }


def random_runs(n_runs, n_points):
    rng = np.random.default_rng(n_runs)
    W, b = rng.normal(size=(n_runs, n_points, 2, 3)), rng.normal(size=(n_runs, n_points, 2))
    params = {"W": W.astype(np.float32), "b": b.astype(np.float32)}
    config = Config(HandTask(5), None, None, seed=np.arange(n_runs), data_seed=0)
    return params, Run(config, {"scale": np.arange(1.0, n_runs + 1, dtype=np.float32)})


def one_by_one(fn, params, run):
    n_runs, n_points = params["W"].shape[:2]
    points = []
    for r in range(n_runs):
        one = jax.tree.map(lambda x: x[r] if np.ndim(x) else x, run)  # noqa: B023
        points += [fn(jax.tree.map(lambda x: jnp.asarray(x[r, t]), params), one) for t in range(n_points)]  # noqa: B023
    return {k: np.stack([p[k] for p in points]).reshape(n_runs, n_points, *points[0][k].shape) for k in points[0]}


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 8), st.booleans())
def test_equals_a_loop(n_runs, n_points, batch_size, on_device):
    params, run = random_runs(n_runs, n_points)
    given_params = jax.tree.map(jnp.asarray, params) if on_device else params
    found = analyze(moments, given_params, run, batch_size=batch_size)
    expected = one_by_one(moments, params, run)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert isinstance(found[name], np.ndarray) and found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6)


def test_one_compile_for_all_slabs_runs_and_calls():
    traces = []

    def counted(params, run):
        traces.append(1)
        return moments(params, run)

    params, run = random_runs(3, 11)
    for _ in range(2):
        analyze(counted, params, run, batch_size=4)
    assert len(traces) == 1


def test_nan_points_do_not_touch_their_neighbours():
    params, run = random_runs(2, 6)
    whole = analyze(moments, params, run, batch_size=4)
    ragged = jax.tree.map(np.copy, params)
    for x in ragged.values():
        x[1, 3:] = np.nan
    found = analyze(moments, ragged, run, batch_size=4)
    np.testing.assert_array_equal(found["rows"][0], whole["rows"][0])
    np.testing.assert_array_equal(found["rows"][1, :3], whole["rows"][1, :3])
    assert np.isnan(found["rows"][1, 3:]).all()


def test_together_names_and_shares():
    params, run = random_runs(2, 3)
    found = analyze(together(a=moments, b=norms.weights), params, run)
    alone = analyze(moments, params, run)
    assert {k for k in found if k.startswith("a/")} == {f"a/{k}" for k in alone}
    assert "b/norm/total" in found
    np.testing.assert_allclose(found["a/rows"], alone["rows"], rtol=1e-6)  # two programs, a few roundings


def test_outputs_are_left_out_by_name():
    params, run = random_runs(2, 3)
    found, alone = analyze(without(moments, "rows"), params, run), analyze(moments, params, run)
    assert set(found) == set(alone) - {"rows"} != set(alone)


def test_outputs_in_half_precision():
    params, run = random_runs(2, 3)
    alone = analyze(moments, params, run)
    for found in (analyze(in_half(moments), params, run), analyze(in_half(moments, "rows"), params, run)):
        assert found["rows"].dtype == np.float16
        np.testing.assert_allclose(found["rows"], alone["rows"], rtol=2**-11, atol=2**-25)  # half of the last bit
    assert {name for name in found if found[name].dtype == np.float16} == {"rows"} != set(found)
    short = analyze(in_half(moments, decimals=1), params, run)["rows"].astype(float)
    np.testing.assert_allclose(short * 10, np.round(short * 10), atol=np.abs(short).max() * 10 * 2**-11)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads the program that XLA makes for the CPU")
def test_together_computes_the_forward_pass_once():
    """Both analyzers ask for the 23² × 81 neurons; the compiled loop has one product of that shape."""
    params, run = circuit(23, {2: 1.0}, phases=9), hand_run(23)
    slab = jax.tree.map(lambda x: np.stack([x, 2 * x]), params)
    both = together(logits=fourier.logits, neurons=fourier.neurons)
    program = _analyze_slab.lower(both, slab, run).compile().as_text()
    assert len(re.findall(r"= f32\[529,81\]\S* dot\(", program)) == 1


def test_two_stages_over_a_growing_circuit():
    """Amplitudes that grow over the points: the key of the last one is read by the second stage at all of
    them.
    """
    p, amplitudes = 11, [{2: A, 3: A / 2} for A in (0.0, 2.0, 6.0)]
    points = [circuit(p, a) for a in amplitudes]
    params = jax.tree.map(lambda *x: np.stack(x)[None].astype(np.float32), *points)
    run = jax.tree.map(lambda x: np.asarray(x)[None], hand_run(p))
    first = analyze(together(logits=fourier.logits, neurons=fourier.neurons), params, run)
    last = {name: x[:, -1] for name, x in first.items()}
    second = analyze(progress.losses, params, run.replace(final=last))
    assert first["logits/key"][0, -1].tolist() == mask_of(p, 2, 3).tolist()
    assert first["neurons/fraction"].shape == (1, 3, 50)
    losses = [cosine_loss(p, a) for a in amplitudes]
    np.testing.assert_allclose(second["restricted"], [losses], rtol=1e-4)
    np.testing.assert_allclose(second["excluded"], [[np.log(p)] * 3], rtol=1e-4)


def test_bad_input_is_one_sentence():
    params, run = random_runs(2, 3)
    for changed, of_run, message in (
        (
            params | {"b": params["b"][:, :2]},
            run,
            r"params\['b'\] has shape \(2, 2, 2\), it must begin with \[R, T\]",
        ),
        (params | {"b": np.ones(2)}, run, r"params\['b'\] has shape \(2,\)"),
        (jax.tree.map(lambda x: x[:, :0], params), run, "T .points. must be at least 1"),
        ({}, run, "params has no arrays"),
        (params, run.replace(data={"scale": np.ones(3)}), r"run.data\['scale'\] has shape \(3,\).*R = 2"),
    ):
        with pytest.raises(ValueError, match=message):
            analyze(moments, changed, of_run)
    for wrong in (lambda params, run: params["b"], lambda params, run: {"nested": params}):
        with pytest.raises(ValueError, match="must return a flat dict of arrays"):
            analyze(wrong, params, run)
    with pytest.raises(ValueError, match="batch_size is 0"):
        analyze(moments, params, run, batch_size=0)


def test_a_single_run_and_a_single_point_need_no_leading_axes():
    net = Net.of(ModularMLP, d_vocab=5, d_vocab_out=5, d_model=4, d_mlp=6)
    config = Config(ModularArithmetic(p=5, n_train=10), net, SGD(lr=0.1))
    run, params = Run(config, train.data(config)), net.init(jax.random.key(0))
    twice = jax.tree.map(lambda x: np.stack([x, 2 * x]), params)
    batched = jax.tree.map(lambda x: np.asarray(x)[None], run)
    both = analyze(fourier.embedding, jax.tree.map(lambda x: x[None], twice), batched)["spectrum"]
    np.testing.assert_array_equal(analyze(fourier.embedding, twice, run)["spectrum"], both[0])
    np.testing.assert_allclose(
        analyze(fourier.embedding, params, run)["spectrum"], both[0, 0], rtol=1e-6
    )  # two programs
    with pytest.raises(ValueError, match=r"it must begin with \[R, T\]"):
        analyze(fourier.embedding, dict(params) | {"W_E": twice["W_E"]}, run)
