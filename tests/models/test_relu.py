"""The toy ReLU models against their formulas, the reference trajectory followed, and the notebook's init."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from toylab.models import Net, ToyModel, UntiedToyModel
from toylab.models.relu import joint_xavier_std
from toylab.optim import AdamW
from toylab.tasks import SparseFeatures

KEY = jax.random.key(0)
X = np.random.default_rng(0).random((9, 5)).astype(np.float32)


def relu(z):
    return np.maximum(z, 0)


@pytest.mark.parametrize("hidden", ["linear", "relu"])
@pytest.mark.parametrize("output", ["relu", "linear"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_tied_model_is_its_formula(hidden, output, bias):
    net = Net.of(
        ToyModel, n_features=5, n_hidden=2, hidden=hidden, output=output, bias=bias, init_std=1.0, bias_std=0.5
    )
    params = net.init(KEY)
    assert {name: leaf.shape for name, leaf in params.items()} == ({"W": (5, 2), "b": (5,)} if bias else {"W": (5, 2)})
    W, b = np.asarray(params["W"]), np.asarray(params.get("b", np.zeros(5)))
    inner = relu(X @ W) if hidden == "relu" else X @ W
    pre = inner @ W.T + b
    out, cache = net.apply(params, jnp.asarray(X))
    np.testing.assert_allclose(out, relu(pre) if output == "relu" else pre, atol=1e-6)
    np.testing.assert_allclose(cache["hidden"][0], inner, atol=1e-6)
    np.testing.assert_allclose(cache["pre"][0], pre, atol=1e-6)


def test_the_untied_model_is_its_formula():
    net = Net.of(UntiedToyModel, n_features=5, n_hidden=3, init_std=1.0)
    params = net.init(KEY)
    assert not np.allclose(params["W_in"], params["W_out"])
    expected = relu(relu(X @ params["W_in"]) @ params["W_out"].T + params["b"])
    np.testing.assert_allclose(net.apply(params, jnp.asarray(X))[0], expected, atol=1e-6)


def test_two_neurons_a_feature_compute_the_absolute_value():
    """Elhage et al. 2022: |x| = ReLU(x) + ReLU(−x), a neuron each."""
    params = {"W_in": jnp.array([[1.0, -1.0]]), "W_out": jnp.array([[1.0, 1.0]]), "b": jnp.zeros(1)}
    x = jnp.linspace(-1, 1, 21)[:, None]
    out, _ = Net.of(UntiedToyModel, n_features=1, n_hidden=2).apply(params, x)
    np.testing.assert_allclose(out, np.abs(x), atol=1e-7)


def test_a_patch_replaces_an_activation_and_the_fast_path_has_no_cache():
    net = Net.of(ToyModel, n_features=5, n_hidden=2, init_std=1.0)
    params = net.init(KEY)
    out, cache = net.apply(params, jnp.asarray(X), {"hidden": lambda value, layer: 0 * value})
    np.testing.assert_allclose(out, np.broadcast_to(relu(params["b"]), out.shape))
    assert cache.keys() == {"hidden", "pre"} and not cache["hidden"].any()
    assert net.apply(params, jnp.asarray(X), full=False)[1] == {}
    with pytest.raises(ValueError, match=r"^patch names \['z'\]: the activations are hidden, pre\.$"):
        net.apply(params, jnp.asarray(X), {"z": lambda value, layer: value})


def test_inputs_of_another_size_are_refused():
    net = Net.of(ToyModel, n_features=5, n_hidden=2)
    with pytest.raises(ValueError, match=r"^x has shape \(9, 4\): it must be \[batch, n_features = 5\]\.$"):
        net.apply(net.init(KEY), jnp.ones((9, 4)))


def test_the_init_has_the_asked_spreads():
    net = Net.of(ToyModel, n_features=400, n_hidden=50, init_std=0.3, bias_std=1.0, init_bias=-2.0)
    params = net.init(KEY)
    assert np.std(params["W"]) == pytest.approx(0.3, rel=0.02)
    assert np.mean(params["b"]) == pytest.approx(-2, abs=0.2) and np.std(params["b"]) == pytest.approx(1, rel=0.1)


def test_a_kgon_init_lays_the_first_features_on_a_regular_polygon():
    net = Net.of(ToyModel, n_features=6, n_hidden=2, init_kgon=4, init_std=1e-6, init_radius=0.9).check()
    W = net.init(KEY)["W"]
    np.testing.assert_allclose(W[:4], 0.9 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]]), atol=1e-5)
    np.testing.assert_allclose(W[4:], 0, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_features": 0, "n_hidden": 2}, r"^net\.n_features is 0: it must be at least 1\.$"),
        ({"n_features": 3, "n_hidden": 0}, r"^net\.n_hidden is 0: it must be at least 1\.$"),
        ({"n_features": 3, "n_hidden": 2, "init_std": 0.0}, r"^net\.init_std is 0\.0: it must be above 0\.$"),
        ({"n_features": 3, "n_hidden": 3, "init_kgon": 2}, r"^net\.init_kgon is 2: a k-gon needs net\.n_hidden = 2\.$"),
        (
            {"n_features": 3, "n_hidden": 2, "init_kgon": 4},
            r"^net\.init_kgon is 4: it has at most n_features corners\.$",
        ),
        ({"n_features": 3, "n_hidden": 2, "bias_std": float("nan")}, r"^net\.bias_std is nan: it must be"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Net.of(ToyModel, **fields).check()


def test_leaves_that_are_0_by_default_may_be_any_number():
    net = Net.of(ToyModel, n_features=3, n_hidden=2, init_bias=-1.0, bias_std=0.0)
    assert net.check() == net


# --- the notebook


def test_joint_xavier_depends_on_the_number_of_instances():
    assert joint_xavier_std(200, 20, 20) == pytest.approx(0.02132, abs=1e-5)
    assert joint_xavier_std(200, 20, 1) == pytest.approx((2 / (201 * 20)) ** 0.5)
    with pytest.raises(ValueError, match=r"^instances is 0: it must be at least 1\.$"):
        joint_xavier_std(200, 20, 0)


@pytest.mark.parametrize("case", ["intro_n5_m2", "feat_n20_m5", "geom_n100_m10_L10", "geomfull_n200_m20_level6"])
def test_joint_xavier_is_the_spread_of_the_recorded_inits(reference, case):
    with np.load(reference / "superposition" / "trained" / f"{case}.npz") as file:
        W = file["W_init"]
    instances = {"geomfull_n200_m20_level6": 20}.get(case, len(W))
    assert np.std(W) == pytest.approx(joint_xavier_std(*W.shape[1:], instances), rel=5 / W.size**0.5)


def test_the_recorded_training_is_followed(reference):
    """The same batches in: weights, biases, losses and the first gradient of torch's AdamW over 200 steps."""
    with np.load(reference / "superposition" / "trained" / "traj_n5_m2.npz") as file:
        recorded = dict(file)
    net = Net.of(ToyModel, n_features=5, n_hidden=2)
    transform = AdamW(lr=1e-3, weight_decay=0.01, b2=0.999, warmup=0).transform()

    def one(W0, p, X):  # one instance, X [200, 64, 5]
        task = SparseFeatures(n_features=5, density=p, importance=recorded["importance"][0])
        value = jax.value_and_grad(lambda params, x: task.error(net.apply, params, x))

        def step(carry, x):
            params, state = carry
            loss, gradient = value(params, x)
            updates, state = transform.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), (params, loss, gradient)

        start = {"W": W0, "b": jnp.zeros(5)}
        (end, _), (params, losses, gradients) = jax.lax.scan(step, (start, transform.init(start)), X)
        path = jax.tree.map(lambda along, last: jnp.concatenate([along, last[None]]), params, end)
        return path, losses, jax.tree.map(lambda g: g[0], gradients)

    X = np.moveaxis(recorded["X"], 2, 0)
    path, losses, gradient = jax.jit(jax.vmap(one))(recorded["W0"], recorded["p"][:, 0], X)
    for name in ("W", "b"):
        found = np.moveaxis(np.asarray(path[name]), 0, 1)[recorded["steps"]]
        np.testing.assert_allclose(found, recorded[name], atol=2e-5)
        np.testing.assert_allclose(gradient[name], recorded[f"grad_{name}_step0"], atol=1e-6)
    np.testing.assert_allclose(losses.T, recorded["losses"], atol=2e-5)
