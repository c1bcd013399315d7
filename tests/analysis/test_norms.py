import json

import jax.numpy as jnp
import numpy as np
import pytest
from handmade import exact, hand_run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toylab.analysis.norms import effective_rows, sum_of_squares, weight_norms, weights


def test_known_values():
    params = {"W": np.array([[3.0, 0.0], [0.0, 4.0]], np.float32), "b": np.array([12.0], np.float32)}
    assert {k: float(v) for k, v in weight_norms(params).items()} == {"W": 5, "b": 12, "total": 13}
    assert {k: float(v) for k, v in sum_of_squares(params).items()} == {"W": 25, "b": 144, "total": 169}


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, (4, 3), elements=st.floats(-1e3, 1e3, allow_subnormal=False)), st.floats(0, 2 * np.pi))
def test_rotations_and_splitting_change_no_total(x, angle):
    rotation = np.eye(3)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    whole = exact(sum_of_squares, {"x": x})["total"]
    assert whole.dtype == np.float64
    np.testing.assert_allclose(exact(sum_of_squares, {"x": x @ rotation})["total"], whole, rtol=1e-10)
    np.testing.assert_allclose(exact(sum_of_squares, {"a": x[:1], "b": x[1:]})["total"], whole, rtol=1e-10)


def test_rows_of_one_norm_count_fully_and_empty_ones_not():
    W = np.float32([[3, 4], [0, 5], [0, 0], [-5, 0]])  # squares 25, 25, 0, 25
    assert effective_rows(np.stack([W, 2.0**-100 * W, 0 * W])).tolist() == [3, 3, 0]  # 2^−200 is below float32
    assert effective_rows(np.float32([[2, 0], [0, 1]])) == np.float32(25 / 17)  # (4 + 1)² / (16 + 1)


def test_the_analyzer_names_both():
    found = weights({"W": jnp.full((2, 2), 2.0)}, hand_run(5))
    assert {k: float(v) for k, v in found.items()} == {
        "norm/W": 4, "norm/total": 4, "sum_of_squares/W": 16, "sum_of_squares/total": 16,
    }  # fmt: skip


@pytest.mark.parametrize("params", [{}, {"total": np.ones(2)}])
def test_no_names_or_a_taken_one(params):
    with pytest.raises(ValueError, match="params has the names"):
        sum_of_squares(params)


@pytest.mark.slow
def test_pizza_models(reference):
    golden = json.loads((reference / "pizza" / "golden.json").read_text())["models"]
    assert golden
    for name, model in golden.items():
        params = dict(np.load(reference / "pizza" / f"{name}.npz"))
        squares = sum_of_squares(params)
        for key, expected in model["sum_sq_by_param"].items():
            np.testing.assert_allclose(squares[key], expected, rtol=1e-5, atol=1e-30, err_msg=f"{name} {key}")
        np.testing.assert_allclose(weight_norms(params)["total"], model["param_l2_norm"], rtol=1e-5)
