"""The losses against numpy's longdouble: where float32 log-softmax has lost everything, these still hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import losses
from toylab.losses import cross_entropy, naive_cross_entropy, right, squared_error

CLASSES = (2, 5, 114, 1000)
OFFSETS = (0.0, -7.3, 1000.0, -1e5)
compiled = jax.jit(jax.vmap(jax.value_and_grad(cross_entropy)))


def each(logits, labels):
    """Loss [B] and gradient [B, C] of each example, as numpy."""
    return jax.tree.map(np.asarray, compiled(logits, labels))


def reference(logits, labels):
    """Loss [B] and gradient [B, C] of float32 logits, in longdouble; each term is written so that nothing cancels."""
    z = np.asarray(logits, np.longdouble)
    is_label = np.arange(z.shape[1]) == labels[:, None]
    margins = z - z[is_label][:, None]
    top = np.maximum(margins.max(axis=1, keepdims=True), 0)
    others = np.where(is_label, 0, np.exp(margins - top)).sum(axis=1)
    loss = np.where(top[:, 0] > 0, top[:, 0] + np.log(np.exp(-top[:, 0]) + others), np.log1p(others))
    p = np.where(is_label, 0, np.exp(margins - top - (loss[:, None] - top)))
    return loss, np.where(is_label, -p.sum(axis=1, keepdims=True), p)


def with_margins(margins, classes, offset=0.0, seed=0):
    """Logits [B, C] whose label leads the best other class by each margin, and labels [B]. A third of the examples have
    one strong other class, a third spread ones, a third all equal ones."""
    rng = np.random.default_rng(seed)
    spread = np.array([30.0, 2.0, 0.0])[np.arange(len(margins)) % 3, None]
    logits = -spread * rng.random((len(margins), classes))
    labels = rng.integers(0, classes, len(margins))
    rows = np.arange(len(margins))
    best = (labels + 1 + rng.integers(0, classes - 1, len(margins))) % classes
    logits[rows, best], logits[rows, labels] = 0, margins
    return (logits + offset).astype(np.float32), labels


def errors(margins, classes, offset):
    """Largest relative error of the loss, and of the gradient by norm."""
    logits, labels = with_margins(margins, classes, offset)
    (loss, gradient), (true_loss, true_gradient) = each(logits, labels), reference(logits, labels)
    norm = np.sqrt((true_gradient**2).sum(axis=1))
    off = np.sqrt(((gradient - true_gradient) ** 2).sum(axis=1))
    return float((np.abs(loss - true_loss) / true_loss).max()), float((off / norm).max())


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("classes", CLASSES)
def test_loss_and_gradient_keep_their_relative_precision(classes, offset):
    assert max(errors(np.append(np.linspace(-50, 20, 299), 0), classes, offset)) < 1e-6
    assert max(errors(np.linspace(20, 60, 300), classes, offset)) < 5e-6


def test_the_reference_itself_is_softmax_cross_entropy():
    logits, labels = with_margins(np.linspace(-3, 3, 30), 5)
    z = logits.astype(np.longdouble)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    loss, gradient = reference(logits, labels)
    np.testing.assert_allclose(loss, -np.log(p[np.arange(30), labels]), rtol=1e-15)
    np.testing.assert_allclose(gradient, p - np.eye(5)[labels], atol=1e-16)


@pytest.mark.parametrize("classes", CLASSES)
def test_beyond_a_margin_of_60_zero_is_allowed_and_nan_is_not(classes):
    logits, labels = with_margins(np.linspace(60, 500, 300), classes)
    (loss, gradient), (true_loss, _) = each(logits, labels), reference(logits, labels)
    assert (loss >= 0).all() and (loss <= 1.0001 * true_loss + 1e-37).all()
    assert (np.abs(gradient) <= 1.0001 * true_loss[:, None] + 1e-37).all()  # false of a nan, too
    wrong_loss, wrong_gradient = each(-logits, labels)  # margins down to -530
    np.testing.assert_allclose(wrong_loss, reference(-logits, labels)[0], rtol=1e-6)
    assert np.isfinite(wrong_gradient).all()


@pytest.mark.parametrize("classes", CLASSES)
def test_huge_logits_give_finite_losses_and_gradients(classes):
    rng = np.random.default_rng(1)
    values = np.array([1e38, -1e38, 3e37, 500, -500, 1e-38, 0], np.float32)
    logits, labels = rng.choice(values, (300, classes)), rng.integers(0, classes, 300)
    loss, gradient = each(logits, labels)
    assert np.isfinite(loss).all() and (loss >= 0).all()
    assert np.isfinite(gradient).all() and (np.abs(gradient) <= 1.000001).all()


def test_a_class_masked_with_minus_infinity_counts_for_nothing():
    logits, labels = with_margins(np.linspace(-20, 20, 40), 5)
    masked = np.hstack([logits, np.full((40, 1), -np.inf, np.float32)])
    (loss, gradient), (all_loss, all_gradient) = each(logits, labels), each(masked, labels)
    np.testing.assert_allclose(all_loss, loss, rtol=1e-6)
    np.testing.assert_allclose(all_gradient, np.hstack([gradient, np.zeros((40, 1))]), rtol=1e-6)


def test_jit_vmap_and_batch_axes_change_nothing():
    logits, labels = with_margins(np.linspace(-20, 20, 24), 5)
    whole = cross_entropy(logits, labels)
    assert whole.shape == (24,) and whole.dtype == jnp.float32
    jitted = jax.jit(cross_entropy)
    np.testing.assert_allclose(jitted(logits, labels), whole, rtol=3e-7)
    np.testing.assert_allclose(each(logits, labels)[0], whole, rtol=3e-7)
    folded = jitted(logits.reshape(2, 3, 4, 5), labels.reshape(2, 3, 4))
    np.testing.assert_allclose(folded.reshape(24), whole, rtol=3e-7)


def test_forward_and_reverse_derivatives_agree():
    logits, labels = with_margins(np.linspace(-30, 40, 60), 114)
    direction = np.random.default_rng(2).normal(size=logits.shape).astype(np.float32)
    along = jax.jit(lambda z, dz: jax.jvp(lambda z: cross_entropy(z, labels), (z,), (dz,)))
    _, forward = along(logits, direction)
    _, gradient = each(logits, labels)
    scale = np.linalg.norm(gradient, axis=1) * np.linalg.norm(direction, axis=1)
    off = np.abs(forward - (np.float64(gradient) * direction).sum(axis=1))
    assert (off <= 1e-6 * scale).all()


def test_the_second_derivative_is_that_of_softmax():
    logits, labels = with_margins(np.linspace(-10, 10, 9), 5)
    found = jax.jit(jax.vmap(jax.hessian(cross_entropy)))(logits, labels)
    p = np.exp(np.float64(logits) - np.float64(logits).max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, p[:, :, None] * np.eye(5) - p[:, :, None] * p[:, None], atol=5e-7)


def test_float64_logits_keep_float64():
    logits, labels = with_margins(np.linspace(-50, 300, 200), 5)
    with jax.enable_x64():
        loss = np.asarray(jax.jit(cross_entropy)(jnp.asarray(logits, jnp.float64), labels))
    assert loss.dtype == np.float64
    np.testing.assert_allclose(loss, np.float64(reference(logits, labels)[0]), rtol=1e-14)


def test_the_naive_loss_agrees_at_small_margins_and_collapses_to_zero_at_large_ones():
    logits, labels = with_margins(np.linspace(-30, 3, 100), 114)
    np.testing.assert_allclose(jax.jit(naive_cross_entropy)(logits, labels), each(logits, labels)[0], rtol=2e-5)
    logits, labels = with_margins(np.full(30, 20.0), 5)
    naive, gradient = jax.jit(jax.vmap(jax.value_and_grad(naive_cross_entropy)))(logits, labels)
    assert (naive == 0).all() and (each(logits, labels)[0] > 1e-9).all()
    assert (gradient[np.arange(30), labels] == 0).all()  # softmax collapse: the label's logit is pushed no more
    assert (each(logits, labels)[1][np.arange(30), labels] < 0).all()


def test_squared_error_is_the_mean_over_the_last_axis():
    outputs, targets = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[0.0, 0.0], [3.0, 1.0]])
    np.testing.assert_allclose(squared_error(outputs, targets), [2.5, 2.0])
    gradient = jax.grad(lambda x: squared_error(x, targets[0]))(outputs[0])
    np.testing.assert_allclose(gradient, outputs[0] - targets[0])  # 2 (f − y) / n


@pytest.mark.parametrize("of", [lambda f: f, jax.jit, lambda f: jax.grad(lambda z, y: f(z, y).sum())])
def test_labels_that_do_not_fit_are_refused_also_where_a_gradient_is_taken(of):
    with pytest.raises(
        ValueError, match=r"^labels has shape \(3, 1\) .* integers \[\*batch\] with \*batch = \[4\] as in logits"
    ):
        of(cross_entropy)(jnp.ones((4, 5)), jnp.zeros((3, 1), int))
    with pytest.raises(ValueError, match=r"^labels has shape \(4,\) and dtype float32, it must be integers"):
        of(cross_entropy)(jnp.ones((4, 5)), jnp.zeros(4))


@pytest.mark.parametrize("values", [(0.0, 1.0), (-np.inf, 0.0, np.inf), (-1.5, 2.0, 7.0, 7.0)])
def test_right_is_where_the_first_of_the_largest_logits_stands(values):
    rng = np.random.default_rng(0)
    logits = rng.choice(np.array(values, np.float32), (200, 5))
    labels = rng.integers(0, 5, 200)
    np.testing.assert_array_equal(right(logits, labels), np.argmax(logits, axis=-1) == labels)


def test_what_is_right_is_reported_of_known_logits_alone():
    logits = jnp.array([[0.0, 1.0, 1.0], [2.0, 1.0, 0.0], [jnp.nan, 1.0, 0.0]])
    np.testing.assert_array_equal(right(logits, jnp.array([1, 1, 0])), [1, 0, jnp.nan])
    np.testing.assert_array_equal(jax.jit(right)(logits, jnp.array([1, 3, 0])), [1, jnp.nan, jnp.nan])


def test_losses_of_half_precision_are_float32_and_so_are_their_gradients_sums():
    logits, labels = jnp.array([[9.0, 1.0, 0.5]], jnp.bfloat16), jnp.array([0])
    wide = logits.astype(jnp.float32)
    for loss in (cross_entropy, naive_cross_entropy):
        assert loss(logits, labels).dtype == jnp.float32
        np.testing.assert_array_equal(loss(logits, labels), loss(wide, labels))
        gradient = jax.grad(lambda z: loss(z, labels).sum())(logits)  # noqa: B023
        assert gradient.dtype == jnp.bfloat16
        wanted = jax.grad(lambda z: loss(z, labels).sum())(wide)  # noqa: B023
        np.testing.assert_allclose(gradient.astype(np.float32), wanted, rtol=0.02)


def stablemax_by_hand(logits, labels):
    z = np.asarray(logits, np.longdouble)
    heights = np.where(z >= 0, z + 1, 1 / (1 - np.minimum(z, 0)))
    is_label = np.arange(z.shape[1]) == labels[:, None]
    return np.log1p(np.where(is_label, 0, heights).sum(axis=1) / heights[is_label])


def test_stablemax_keeps_its_relative_precision():
    rng = np.random.default_rng(3)
    logits = np.float32(rng.normal(size=(400, 24)) * 10.0 ** rng.uniform(-3, 6, (400, 1)))
    labels = rng.integers(0, 24, 400)
    logits[np.arange(200), labels[:200]] = 1e9  # the loss is 1e-5 and less
    loss, gradient = jax.vmap(jax.value_and_grad(losses.stablemax))(logits, labels)
    np.testing.assert_allclose(loss, stablemax_by_hand(logits, labels), rtol=2e-6)
    assert np.isfinite(gradient).all() and (np.asarray(gradient)[np.arange(400), labels] < 0).all()
    z, rows = np.longdouble(logits[200:]), np.arange(200)
    below = 1 / (1 - np.minimum(z, 0))
    heights, slopes = np.where(z >= 0, z + 1, below), np.where(z >= 0, 1, below**2)
    by_hand = slopes / heights.sum(axis=1, keepdims=True)
    by_hand[rows, labels[200:]] -= (slopes / heights)[rows, labels[200:]]
    off = np.abs(np.asarray(gradient[200:]) - by_hand).max(axis=1) / np.abs(by_hand).max(axis=1)
    assert off.max() < 1e-5
    at_zero = jax.grad(losses.stablemax)(jnp.zeros(3), jnp.int32(0))
    np.testing.assert_allclose(at_zero, [-2 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    extreme = np.float32([[-3e38, 3e38, 0], [3e38, -3e38, 0], [0, 0, 0]])
    found, gradient = jax.vmap(jax.value_and_grad(losses.stablemax))(extreme, np.zeros(3, int))
    assert np.isfinite(found).all() and np.isfinite(gradient).all()
    np.testing.assert_allclose(found[2], np.log(3), rtol=1e-6)


def test_losses_of_two_classes_by_their_margin():
    margins = np.float32([-2, 0, 0.5, 1, 3, 40])
    one, labels = margins[:, None], np.ones(6, int)
    np.testing.assert_array_equal(losses.hinge(one, labels), np.float32([3, 1, 0.5, 0, 0, 0]))
    np.testing.assert_array_equal(losses.hinge(-one, 0 * labels), losses.hinge(one, labels))
    two = np.stack([-margins / 2, margins / 2], axis=1)
    np.testing.assert_array_equal(losses.hinge(two, labels), losses.hinge(one, labels))
    np.testing.assert_allclose(losses.logistic(one, labels), np.log1p(np.exp(-np.float64(margins))), rtol=1e-6)
    gradient = jax.vmap(jax.grad(losses.hinge))(one, labels)[:, 0]
    np.testing.assert_array_equal(gradient, [-1, -1, -1, 0, 0, 0])  # exactly 0 from 1 on
    with pytest.raises(ValueError, match=r"logits has shape \(2, 3\): a margin is of one output, or of two"):
        losses.logistic(np.ones((2, 3), np.float32), np.zeros(2, int))
    with pytest.raises(ValueError, match="labels has 2: logits has 2 classes"):
        losses.hinge(one, 2 * labels)


def test_squared_errors_to_one_hot():
    logits, labels = np.float32([[1, 0, 0], [0, 0, 2]]), np.array([0, 1])
    np.testing.assert_allclose(losses.squared_error_to_one_hot(logits, labels), [0, 5 / 3], rtol=1e-6)
    assert np.isnan(jax.jit(losses.squared_error_to_one_hot)(logits, np.array([0, 3])))[1]


@pytest.mark.parametrize("loss_kind", losses.KINDS)
def test_each_kind_names_a_loss_that_a_step_down_its_gradient_lowers(loss_kind):
    n = 2 if loss_kind in ("hinge", "logistic") else 5
    logits = np.random.default_rng(0).normal(size=(8, n)).astype(np.float32)
    if loss_kind == "harmonic":
        logits = -1 - np.abs(logits)  # minus distances
    labels = np.arange(8) % n
    losses.check_kind(loss_kind, n)

    def total(z):
        return losses.KINDS[loss_kind](z, labels).sum()

    assert total(logits - 1e-2 * jax.grad(total)(logits)) < total(logits)
    assert losses.measured(loss_kind)(logits, labels).shape == (8,)


def test_a_kind_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"task\.loss_kind is 'hinge': it is of two classes, and the task has 3"):
        losses.check_kind("hinge", 3)
    with pytest.raises(ValueError, match=r"task\.loss_kind is 'mse': it must be one of cross_entropy, naive"):
        losses.check_kind("mse", 3)
