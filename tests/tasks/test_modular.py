"""Modular arithmetic: the tables, the split and its order, corrupted labels, and what check refuses."""

import json
import random
from fractions import Fraction
from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.models import ModularMLP, Net, PizzaTransformer, Transformer
from toylab.tasks.modular import ModularArithmetic, ModularPairs, python_order

TABLES = {
    "add": lambda a, b, p: a + b,
    "subtract": lambda a, b, p: a - b,
    "multiply": lambda a, b, p: a * b,
    "divide": lambda a, b, p: a * pow(b, p - 2, p),
    "x2+y": lambda a, b, p: a * a + b,
    "x2+y2": lambda a, b, p: a * a + b * b,
    "x2+xy+y2": lambda a, b, p: a * a + a * b + b * b,
    "x2+xy+y2+x": lambda a, b, p: a * a + a * b + b * b + a,
    "x3+xy": lambda a, b, p: a * a * a + a * b,
    "x3+xy2": lambda a, b, p: a * a * a + a * b * b,
    "x3+xy2+y": lambda a, b, p: a * a * a + a * b * b + b,
    "(4x+3y)3": lambda a, b, p: (4 * a + 3 * b) ** 3,
    "divide_or_subtract": lambda a, b, p: a * pow(b, p - 2, p) if b % 2 else a - b,
}
SYMMETRIC = ("add", "multiply", "x2+y2", "x2+xy+y2")
KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
small = Net.of(Transformer, d_vocab=8, d_vocab_out=7, n_ctx=3, d_model=4, n_heads=1, d_mlp=4)
mlp = Net.of(ModularMLP, d_vocab=7, d_vocab_out=7)


def data(task, key=KEY):
    """Op by op, not jitted: sorts compile slowly, and so only once for each shape."""
    return task.data(key)


def split(found):
    """Train and test pairs as two sets of (a, b)."""
    tokens = np.asarray(found["tokens"])
    return [{(int(a), int(b)) for a, b, _ in tokens[np.asarray(found[name])]} for name in ("train", "test")]


@pytest.mark.parametrize("p", [7, 11])
@pytest.mark.parametrize("op", TABLES)
def test_every_operation_is_its_table(op, p):
    found = data(ModularArithmetic(p=p, n_train=20, op=op, order=python_order(p, 0)).check())
    defined = [(a, b) for a in range(p) for b in range(p) if b or op != "divide"]
    assert all(found["labels"][a, b] == TABLES[op](a, b, p) % p for a, b in defined)
    np.testing.assert_array_equal(found["train_labels"], found["labels"].reshape(-1)[found["train"]])


def test_division_undoes_multiplication():
    p = 11
    labels = np.asarray(data(ModularArithmetic(p=p, n_train=20, op="divide", order=python_order(p, 0)))["labels"])
    a, b = np.meshgrid(np.arange(p), np.arange(1, p), indexing="ij")
    np.testing.assert_array_equal(labels[:, 1:] * b % p, a)


def test_tokens_are_all_pairs_in_row_major_order_and_the_equals_sign():
    tokens = data(ModularArithmetic(p=7, n_train=20))["tokens"]
    np.testing.assert_array_equal(tokens, [(a, b, 7) for a in range(7) for b in range(7)])


@pytest.mark.parametrize("pairs", ["ordered", "unordered"])
@pytest.mark.parametrize("op", ["add", "divide", "divide_or_subtract", "random"])
def test_train_and_test_are_disjoint_and_complete(op, pairs):
    p, n_train = 7, 20
    task = ModularArithmetic(p=p, n_train=n_train, op=op, pairs=pairs)
    if pairs == "unordered" and op not in SYMMETRIC:
        with pytest.raises(ValueError, match=r"^task\.pairs is 'unordered'.*add, multiply"):
            task.check()
        return
    found = data(task.check())
    train, test = split(found)
    universe = {(a, b) for a in range(p) for b in range(p)}
    if op == "divide":
        universe = {(a, b) for a, b in universe if b}
    if pairs == "unordered":
        universe = {(a, b) for a, b in universe if a <= b}
    assert len(found["train"]) == len(train) == n_train and len(found["test"]) == len(test)
    assert task.n_pairs == len(universe) and not train & test and train | test == universe
    assert {(int(a), int(b)) for a, b in np.argwhere(found["train_mask"])} == train
    assert {(int(a), int(b)) for a, b in np.argwhere(found["test_mask"])} == test


def test_the_split_follows_the_seed_and_labels_do_not():
    task = ModularArithmetic(p=7, n_train=20)
    one, again, other = (data(task, jax.random.key(seed)) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert (one["train"] != other["train"]).any() and split(one) != split(other)
    np.testing.assert_array_equal(one["labels"], other["labels"])


def test_random_labels_follow_the_seed_and_are_uniform():
    task = ModularArithmetic(p=7, n_train=20, op="random")
    one, again, other = (data(task, jax.random.key(seed))["labels"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    many = np.stack([data(task, jax.random.key(seed))["labels"] for seed in range(40)])
    share = np.bincount(many.ravel(), minlength=7) / many.size
    assert len(share) == 7 and abs(share - 1 / 7).max() < 5 * (1 / 7 / many.size) ** 0.5


def test_the_order_given_is_the_split():
    order = python_order(7, 5)
    found = data(ModularArithmetic(p=7, n_train=20, order=order).check())
    np.testing.assert_array_equal(found["train"], order[:20])
    np.testing.assert_array_equal(found["test"], order[20:])
    division = data(ModularArithmetic(p=7, n_train=20, op="divide", order=order).check())
    np.testing.assert_array_equal(division["train"], order[order % 7 > 0][:20])  # undefined pairs are passed over


def test_python_order_is_that_of_nandas_code():
    pairs = [(a, b) for a in range(113) for b in range(113)]
    random.seed(1)
    random.shuffle(pairs)
    order = python_order(113, 1)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.stack(np.divmod(order, 113), axis=1), pairs)
    assert pairs[:5] == [(58, 58), (76, 57), (60, 23), (100, 89), (29, 27)]


def test_python_order_begins_as_the_published_split(reference):
    published = json.loads((reference / "published_numbers.json").read_text())["progress_measures"]
    first = published["low_precision_mod_addition"]["split_first5_train"]
    found = data(ModularArithmetic(p=113, n_train=20, order=python_order(113, 1)))
    np.testing.assert_array_equal(found["tokens"][found["train"][:5]], first)


SHARES = ("0", "0.009", "0.25", "0.49", "0.5", "0.53", "1")


@cache
def corrupted():
    """Training labels of 500 seeds, as they are without and with each of SHARES: [500, 100], [shares, 500, 100]."""
    task = ModularArithmetic(p=23, n_train=100, corruption=np.float32(SHARES))
    keys = jax.random.split(KEY, 500)
    batched = jax.vmap(data, in_axes=(None, 0))
    axes = (task.replace(corruption=0), None)
    labels = np.asarray(jax.jit(jax.vmap(batched, in_axes=axes), compiler_options=QUICK)(task, keys)["train_labels"])
    return labels[0], labels


@pytest.mark.parametrize("i", range(len(SHARES)), ids=SHARES)
def test_the_given_share_of_training_labels_is_redrawn(i):
    """A redrawn label stays right with probability 1/p, so the most that 500 seeds change is the number redrawn."""
    clean, labels = corrupted()
    changed, redrawn = (labels[i] != clean).sum(axis=1), int(Fraction(SHARES[i]) * 100)
    assert changed.max() == redrawn
    slack = 5 * (redrawn * (1 - 1 / 23) / 23 / 500) ** 0.5
    np.testing.assert_allclose(changed.mean(), redrawn * (1 - 1 / 23), atol=slack)


def test_redrawn_labels_are_uniform_over_all_p_and_larger_shares_keep_the_smaller_ones():
    clean, labels = corrupted()
    share = np.bincount(labels[-1].ravel(), minlength=23) / clean.size
    assert len(share) == 23 and abs(share - 1 / 23).max() < 5 * (1 / 23 / clean.size) ** 0.5
    for less, more in pairwise(labels):
        assert (more == less)[less != clean].all()


def test_leaves_can_be_batched():
    orders = np.stack([python_order(7, seed) for seed in range(3)])
    shares = np.float32([0.0, 0.5, 1.0])
    batch = jax.jit(jax.vmap(data), compiler_options=QUICK)(
        ModularArithmetic(p=7, n_train=20, corruption=shares, order=orders)
    )
    for i in range(3):
        alone = data(ModularArithmetic(p=7, n_train=20, corruption=shares[i], order=orders[i]))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), batch, alone)


def perfect(found):
    logits = 30 * jax.nn.one_hot(found["labels"], found["labels"].shape[0])
    return lambda params, tokens: (logits[tokens[:, 0], tokens[:, 1]], {})


def constant(params, tokens):
    return jnp.zeros((len(tokens), 7)), {}


def measured(task, apply, found):
    measure = jax.jit(lambda found: task.measure(apply, {}, found), compiler_options=QUICK)
    return {name: float(value) for name, value in measure(found).items()}


def test_a_perfect_predictor_has_the_loss_of_its_margin():
    task = ModularArithmetic(p=7, n_train=20)
    found = data(task)
    measures = measured(task, perfect(found), found)
    assert measures["train_accuracy"] == measures["test_accuracy"] == 1
    for name in ("train_loss", "test_loss"):
        np.testing.assert_allclose(measures[name], 6 * np.exp(-30), rtol=1e-6)


def test_a_constant_predictor_has_loss_log_p_and_the_share_of_class_0():
    task = ModularArithmetic(p=7, n_train=20)
    found = data(task)
    measures = measured(task, constant, found)
    for name in ("train", "test"):
        np.testing.assert_allclose(measures[f"{name}_loss"], np.log(7), rtol=1e-6)
        share = np.mean(np.asarray(found["labels"])[np.asarray(found[f"{name}_mask"])] == 0)
        np.testing.assert_allclose(measures[f"{name}_accuracy"], share, rtol=1e-6)


def test_the_loss_is_over_training_labels_and_the_test_is_over_clean_ones():
    task = ModularArithmetic(p=7, n_train=20, corruption=1.0)
    found = data(task)
    measures = measured(task, perfect(found), found)
    right = np.mean(found["train_labels"] == np.asarray(found["labels"]).reshape(-1)[found["train"]])
    np.testing.assert_allclose(measures["train_accuracy"], right, rtol=1e-6)
    np.testing.assert_allclose(measures["train_loss"], 30 * (1 - right), rtol=1e-6)
    assert measures["test_accuracy"] == 1
    for key in (KEY, jax.random.key(9)):  # a full-batch task ignores it
        assert float(task.loss(perfect(found), {}, found, key)) == measures["train_loss"]


@pytest.mark.parametrize(
    "full",
    [
        True,
        pytest.param(False),
    ],
)
def test_without_test_pairs_the_test_measures_are_nan(full):
    task = ModularArithmetic(p=7, n_train=49, order=python_order(7, 0)).check()
    found = data(task)
    assert found["test"].shape == (0,) and not found["test_mask"].any() and found["train_mask"].all()
    params = jax.tree.map(lambda x: jnp.ones(x.shape), jax.eval_shape(small.init, KEY))
    measures = measured(task, lambda _, x: small.apply(params, x, full=full), found)
    assert np.isnan([measures["test_loss"], measures["test_accuracy"]]).all()
    assert np.isfinite([measures["train_loss"], measures["train_accuracy"]]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "ad"}, r"task\.op is 'ad': it must be one of add, subtract"),
        ({"p": 1}, r"task\.p is 1: it must lie between 2 and 1024"),
        ({"p": -7}, r"task\.p is -7: it must lie between 2 and 1024"),
        ({"p": 9, "op": "divide"}, r"task\.p is 9: it must be prime"),
        ({"p": 4, "op": "divide_or_subtract"}, r"task\.p is 4: it must be prime"),
        ({"pairs": "unordered", "op": "subtract"}, r"task\.pairs is 'unordered': .*subtract is not symmetric"),
        ({"n_train": 0}, r"task\.n_train is 0: it must lie between 1 and 49"),
        ({"n_train": -1}, r"task\.n_train is -1: it must lie between 1 and 49"),
        ({"n_train": 50}, r"task\.n_train is 50: it must lie between 1 and 49"),
        ({"n_train": 43, "op": "divide"}, r"task\.n_train is 43: it must lie between 1 and 42"),
        ({"n_train": 29, "pairs": "unordered"}, r"task\.n_train is 29: it must lie between 1 and 28"),
        ({"corruption": -0.5}, r"task\.corruption is -0\.5: it must lie in \[0, 1\]"),
        ({"corruption": 1.5}, r"task\.corruption is 1\.5: it must lie in \[0, 1\]"),
        ({"corruption": float("nan")}, r"task\.corruption is nan: it must lie in \[0, 1\]"),
        ({"order": np.arange(48)}, r"task\.order is no permutation of the 49 pairs"),
        ({"order": np.zeros(49, int)}, r"task\.order is no permutation of the 49 pairs"),
        ({"order": np.arange(1, 50)}, r"task\.order is no permutation of the 49 pairs"),
    ],
)
def test_check_refuses_with_one_sentence(change, message):
    with pytest.raises(ValueError, match=f"^{message}.*\\.$") as error:
        ModularArithmetic(**{"p": 7, "n_train": 20, **change}).check()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("op", [*TABLES, "random"])
def test_check_returns_a_good_task_unchanged(op):
    for p in (2, 7, 9):
        if p != 9 or not op.startswith("divide"):
            task = ModularArithmetic(p=p, n_train=2, op=op)
            assert task.check() == task


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (small.with_fields(d_vocab=7), r"net\.d_vocab is 7: task\.p = 7 needs 8"),
        (small.with_fields(d_vocab_out=6), r"net\.d_vocab_out is 6: task\.p = 7 needs at least 7"),
        (small.with_fields(n_ctx=2), r"net\.n_ctx is 2: the task has 3 positions"),
        (mlp.with_fields(d_vocab=6), r"net\.d_vocab is 6: task\.p = 7 needs at least 7"),
        (mlp.with_fields(d_vocab_out=6), r"net\.d_vocab_out is 6: task\.p = 7 needs at least 7"),
        pytest.param(
            small.with_fields(readout="all"),
            r"net\.readout is 'all'",
        ),
    ],
)
def test_check_net_refuses_a_net_that_cannot_say_or_hear_every_number(net, message):
    task = ModularArithmetic(p=7, n_train=20)
    for good in (small, mlp, small.with_fields(d_vocab=20, d_vocab_out=20, n_ctx=5)):
        task.check_net(good)
    with pytest.raises(ValueError, match=f"^{message}.*\\.$"):
        task.check_net(net)


@pytest.mark.parametrize("op", ["x3+xy", "x3+xy2+y", "(4x+3y)3"])
def test_large_moduli_do_not_overflow(op):
    p = 1021  # the largest prime that check allows
    found = ModularArithmetic(p=p, n_train=1, op=op)._labels(jnp.arange(p), jnp.arange(p))
    np.testing.assert_array_equal(found, [TABLES[op](int(x), int(x), p) % p for x in range(p)])


def test_pairs_have_no_equals_sign_and_are_otherwise_the_same():
    whole, pairs = ModularArithmetic(p=7, n_train=30), ModularPairs(p=7, n_train=30)
    same, data = whole.data(jax.random.key(3)), pairs.data(jax.random.key(3))
    assert np.array_equal(data["tokens"], same["tokens"][:, :2]) and data["tokens"].max() == 6
    assert np.array_equal(data["train"], same["train"])
    net = Net.of(PizzaTransformer, d_vocab=7, d_vocab_out=7, n_ctx=2, d_model=8, d_mlp=8)
    pairs.check_net(net)
    with pytest.raises(ValueError, match=r"^net\.d_vocab is 7: task\.p = 7 needs 8, the numbers and '='\.$"):
        whole.check_net(net)
    with pytest.raises(ValueError, match=r"^net\.n_ctx is 1: the task has 2 positions, a and b\.$"):
        pairs.check_net(net.with_fields(n_ctx=1))


@pytest.mark.parametrize(("op", "n"), [("divide_or_subtract", 97**2), ("divide", 97 * 96), ("add", 97**2)])
def test_an_operation_has_the_pairs_it_is_defined_on(op, n):
    """Power et al. 2022: x/y if y is odd, else x − y. So x − 0 is there; x/0 is not."""
    task = ModularArithmetic(p=97, n_train=100, op=op)
    assert task.n_pairs == n
    found = data(ModularArithmetic(p=7, n_train=20, op=op))
    if op == "divide_or_subtract":
        np.testing.assert_array_equal(found["labels"][:, 0], np.arange(7))
        assert (found["train_mask"] | found["test_mask"]).all()


def test_a_network_that_diverged_has_no_accuracy():
    task = ModularArithmetic(p=7, n_train=20)
    params = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), small.init(KEY))
    measured = task.measure(small.apply, params, data(task))
    assert all(np.isnan(value) for value in measured.values()), measured
