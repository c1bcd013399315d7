"""The optimizers against their formulas written out in numpy float64, in torch's conventions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from steps_of import params_after

from toylab.optim import LAMB, SGD, Adam, AdamW, SignedDecayAdamW

CLOSE = {"rtol": 6e-5, "atol": 6e-6}  # of float32's 1 − 0.999 a rounding is 6e-5
STEPS = 30
rng = np.random.default_rng(0)
START = {"W": rng.normal(size=(4, 3)).astype(np.float32), "b": rng.normal(size=3).astype(np.float32)}
GRADIENTS = {name: rng.normal(size=(STEPS, *w.shape)).astype(np.float32) for name, w in START.items()}


def path(optimizer, gradients=GRADIENTS):
    return params_after(optimizer, gradients, START)


def adamw(w, gradients, lr, decay, b1, b2, eps, warmup):
    """Loshchilov & Hutter 2019, algorithm 2, with decay · lr_t as torch has it."""
    w, m, v, found = np.float64(w), 0.0, 0.0, []
    for i, g in enumerate(np.float64(gradients)):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        mhat, vhat = m / (1 - b1 ** (i + 1)), v / (1 - b2 ** (i + 1))
        rate = lr * min(i / warmup, 1) if warmup else lr
        w = w - rate * (mhat / (np.sqrt(vhat) + eps) + decay * w)
        found.append(w)
    return np.stack(found)


def sgd(w, gradients, lr, decay, momentum, warmup):
    """torch.optim.SGD: decay joins the gradient, the buffer holds Σ momentum^i g without the learning rate."""
    w, buffer, found = np.float64(w), 0.0, []
    for i, g in enumerate(np.float64(gradients)):
        buffer = momentum * buffer + g + decay * w
        w = w - lr * (min(i / warmup, 1) if warmup else 1) * buffer
        found.append(w)
    return np.stack(found)


def lamb(w, gradients, lr, decay, b1, b2, eps):
    """You et al. 2020, algorithm 2, with φ the identity."""
    w, m, v, found = np.float64(w), 0.0, 0.0, []
    for i, g in enumerate(np.float64(gradients)):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        update = m / (1 - b1 ** (i + 1)) / (np.sqrt(v / (1 - b2 ** (i + 1))) + eps) + decay * w
        w = w - lr * np.linalg.norm(w) / np.linalg.norm(update) * update
        found.append(w)
    return np.stack(found)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_lamb_moves_each_array_by_a_share_of_its_length(decay):
    found = path(LAMB(lr=0.03, weight_decay=decay).check())
    for name, w in START.items():
        expected = lamb(w, GRADIENTS[name], 0.03, decay, 0.9, 0.999, 1e-6)
        np.testing.assert_allclose(found[name], expected, **CLOSE)
        moved = np.linalg.norm(found[name][0] - w) / np.linalg.norm(w)
        assert moved == pytest.approx(0.03, rel=1e-4)


def test_lamb_takes_a_share_of_the_biases_for_a_while():
    plain, found = (path(LAMB(lr=0.0, bias_decay=d, bias_decay_steps=4).check()) for d in (0.0, 0.1))
    np.testing.assert_array_equal(found["W"], plain["W"])
    shrunk = 0.9 ** np.minimum(np.arange(1, STEPS + 1), 4)[:, None]
    np.testing.assert_allclose(found["b"], shrunk * START["b"], rtol=1e-5)
    moved = path(LAMB(lr=0.03, bias_decay=0.1, bias_decay_steps=1))["b"][0]
    np.testing.assert_allclose(moved, 0.9 * path(LAMB(lr=0.03))["b"][0], rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bias_decay": 1.0}, r"^optimizer\.bias_decay is 1\.0: it must lie in \[0, 1\), a share a step\.$"),
        ({"bias_decay_steps": -1}, r"^optimizer\.bias_decay_steps is -1: it must be at least 0\.$"),
    ],
)
def test_what_lamb_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        LAMB(**given).check()


def test_lamb_leaves_what_has_no_gradient_and_moves_what_starts_at_zero():
    update, _ = jax.jit(lambda g, w: (t := LAMB(lr=0.1).transform()).update(g, t.init(w), w))(
        {"still": jnp.zeros(3), "zero": jnp.ones(3)}, {"still": jnp.ones(3), "zero": jnp.zeros(3)}
    )
    np.testing.assert_array_equal(update["still"], 0)
    np.testing.assert_allclose(update["zero"], -0.1, **CLOSE)


@pytest.mark.parametrize("eps", [1e-8, 0.3])
@pytest.mark.parametrize("warmup", [0, 10])
def test_adamw_follows_its_formula_on_biases_too(warmup, eps):
    found = path(AdamW(lr=0.03, weight_decay=0.7, b1=0.9, b2=0.98, eps=eps, warmup=warmup))
    for name, w in START.items():
        expected = adamw(w, GRADIENTS[name], 0.03, 0.7, 0.9, 0.98, eps, warmup)
        np.testing.assert_allclose(found[name], expected, **CLOSE)


def test_a_clipped_gradient_keeps_its_direction_and_no_more_than_its_length():
    """All parameters together: every gradient here is longer than 1, so each counts as its direction."""
    length = np.sqrt(sum(np.sum(g**2, axis=tuple(range(1, g.ndim))) for g in GRADIENTS.values()))
    assert (length > 1).all()
    unit = {name: g / length.reshape(-1, *[1] * (g.ndim - 1)) for name, g in GRADIENTS.items()}
    clipped, direct = path(AdamW(eps=0.1, clip=1.0)), path(AdamW(eps=0.1), unit)
    for name in START:
        np.testing.assert_allclose(clipped[name], direct[name], rtol=1e-5)
        np.testing.assert_allclose(path(AdamW(eps=0.1, clip=1e3))[name], path(AdamW(eps=0.1))[name], rtol=1e-5)
    with pytest.raises(ValueError, match=r"optimizer\.clip is -1"):
        AdamW(clip=-1.0).check()


def test_adam_is_adamw_without_decay():
    found = path(Adam(lr=0.03))
    for name, w in START.items():
        expected = adamw(w, GRADIENTS[name], 0.03, 0.0, 0.9, 0.999, 1e-8, 0)
        np.testing.assert_allclose(found[name], expected, **CLOSE)


@pytest.mark.parametrize("warmup", [0, 10])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_sgd_is_torchs(decay, momentum, warmup):
    found = path(SGD(lr=0.05, weight_decay=decay, momentum=momentum, warmup=warmup))
    for name, w in START.items():
        expected = sgd(w, GRADIENTS[name], 0.05, decay, momentum, warmup)
        np.testing.assert_allclose(found[name], expected, **CLOSE)


@pytest.mark.parametrize("optimizer", [AdamW(warmup=10), Adam(warmup=10), SGD(warmup=10)])
def test_step_0_of_a_warm_up_changes_nothing_and_the_next_does(optimizer):
    found = path(optimizer)
    for name, w in START.items():
        np.testing.assert_array_equal(found[name][0], w)
        assert (np.asarray(found[name][1]) != w).all()


def test_decay_alone_shrinks_by_the_current_learning_rate():
    nothing = jax.tree.map(jnp.zeros_like, GRADIENTS)
    found = path(AdamW(lr=0.1, weight_decay=0.5, warmup=10), nothing)
    factors = np.cumprod(1 - 0.1 * 0.5 * np.minimum(np.arange(STEPS) / 10, 1))
    for name, w in START.items():
        np.testing.assert_allclose(found[name], np.multiply.outer(factors, w), rtol=1e-5)


def signed_decay_step(W, rate, decay):
    """Liu et al. 2025: what decay alone does to a matrix in one step."""
    if decay >= 0:
        return W * (1 - rate * decay)
    return W + rate * decay * W * (1 - 1 / np.linalg.norm(W, axis=1, keepdims=True))


@pytest.mark.parametrize("decay", [-1.0, -0.3, 0.0, 0.7])
def test_signed_decay_alone_acts_on_matrices_only(decay):
    nothing = jax.tree.map(jnp.zeros_like, GRADIENTS)
    found = path(SignedDecayAdamW(lr=0.1, weight_decay=decay, warmup=10), nothing)
    W = np.float64(START["W"])
    for i in range(STEPS):
        W = signed_decay_step(W, 0.1 * min(i / 10, 1), decay)
        np.testing.assert_allclose(found["W"][i], W, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["b"][i], START["b"])


def test_negative_decay_leads_every_row_to_length_1_and_leaves_zero_rows():
    start = jnp.array([[3.0, 4.0], [0.03, 0.0], [0.0, 0.0]])
    transform = SignedDecayAdamW(lr=0.1, weight_decay=-1.0).transform()
    W, state = start, transform.init(start)
    for _ in range(100):
        updates, state = transform.update(jnp.zeros_like(W), state, W)
        W = optax.apply_updates(W, updates)
    np.testing.assert_allclose(W, [[0.6, 0.8], [1, 0], [0, 0]], atol=1e-3)


@pytest.mark.parametrize("decay", [-0.4, 0.4])
def test_signed_decay_goes_beside_adam_as_in_adamw(decay):
    found = path(SignedDecayAdamW(lr=0.03, weight_decay=decay))
    positive = path(AdamW(lr=0.03, weight_decay=max(decay, 0), b2=0.999, warmup=0))
    plain = path(Adam(lr=0.03))
    np.testing.assert_allclose(found["b"], plain["b"], rtol=1e-6)
    first = np.float64(plain["W"][0]) - START["W"] + signed_decay_step(np.float64(START["W"]), 0.03, decay)
    np.testing.assert_allclose(found["W"][0], first, rtol=1e-5, atol=1e-6)
    if decay > 0:
        np.testing.assert_allclose(found["W"], positive["W"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [AdamW, SGD, SignedDecayAdamW])
def test_runs_batched_over_lr_and_decay_equal_runs_alone(kind):
    lrs, decays = np.float32([0.001, 0.03, 0.03]), np.float32([1.0, 0.0, -0.3 if kind is SignedDecayAdamW else 0.3])
    batch = jax.vmap(path)(kind(lr=lrs, weight_decay=decays))
    for i in range(3):
        alone = path(kind(lr=lrs[i], weight_decay=decays[i]))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, 1e-6, 1e-7), batch, alone)


def test_only_lr_and_decay_are_leaves():
    assert jax.tree.leaves(AdamW(lr=2.0, weight_decay=3.0)) == [2.0, 3.0]
    assert jax.tree.leaves(SGD(lr=2.0, weight_decay=3.0)) == [2.0, 3.0]
    assert jax.tree.leaves(Adam(lr=2.0)) == [2.0]
    assert jax.tree.structure(AdamW(lr=1.0)) == jax.tree.structure(AdamW(lr=2.0))
    assert jax.tree.structure(AdamW(b2=0.98)) != jax.tree.structure(AdamW(b2=0.99))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *[(kind, "lr", x) for kind in (AdamW, Adam, SGD) for x in (-1e-3, NAN, INF)],
        *[(kind, "weight_decay", x) for kind in (AdamW, SGD) for x in (-0.1, NAN, INF)],
        *[(kind, name, x) for kind in (AdamW, Adam) for name in ("b1", "b2") for x in (1.0, -0.1, 1.5, NAN)],
        *[(SGD, "momentum", x) for x in (1.0, -0.1, NAN)],
        *[(kind, "eps", x) for kind in (AdamW, Adam) for x in (0.0, -1e-8, NAN)],
        *[(SignedDecayAdamW, "weight_decay", x) for x in (NAN, INF, -INF)],
        (SignedDecayAdamW, "lr", -1e-3),
        *[(kind, "warmup", -1) for kind in (AdamW, Adam, SGD)],
    ],
)
def test_bad_values_are_refused_by_field(kind, field, value):
    with pytest.raises(ValueError) as error:
        kind(**{field: value}).check()
    assert str(error.value).startswith(f"optimizer.{field} is {value}: it must ")
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [AdamW, Adam, SGD, SignedDecayAdamW])
def test_check_returns_a_good_optimizer_unchanged(kind):
    for good in (kind(), kind(lr=0.0, warmup=0), kind(lr=1)):
        assert good.check() == good
