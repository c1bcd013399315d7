"""A user's own arrays, and each refusal."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_sweeps import A, B

from toylab.explore import Moment, of_arrays
from toylab.models import ModularMLP, Net
from toylab.tasks import ModularArithmetic

W = np.arange(24, dtype=np.float32).reshape(2, 3, 4)  # [R, T, n]
STEPS = [0, 10, 20]


def test_arrays_of_one_run_and_of_several():
    one = of_arrays({"W": W[0]}, STEPS, measures={"loss": [3, 2, 1]}, title="mine")
    assert list(one.runs) == ["run"] and one.shapes == [{"W": (4,)}] and one.title == "mine"
    assert one.params(0, 1)["W"].tolist() == W[0, 1].tolist() and one.measures["loss"].tolist() == [[3, 2, 1]]
    both = of_arrays(
        {"W": jnp.asarray(W)}, np.array([0.0, 10.0, 20.0]), runs=["a", "<b>"],
        columns={"lr": [0.1, None], "kind": ["x", "<script>"], "same": [1, 1]}, measures={"loss": np.ones((2, 3))},
    )  # fmt: skip
    assert both.varying == ["lr", "kind"] and both.columns["kind"].tolist() == ["x", "<script>"]
    assert both.columns["lr"][0] == 0.1 and np.isnan(both.columns["lr"][1]) and both.runs[1] == "<b>"
    assert both.valid.all() and both.steps.tolist() == STEPS and both.scalars == ["loss"]
    assert both.params(1, 2)["W"].tolist() == W[1, 2].tolist()
    assert (
        not both.refresh()
        and not both.phases(0)
        and both.messages == []
        and both.config(0) is None
        and both.data(0) == {}
    )
    moment = Moment(both, 1, 2)
    assert moment.step == 20 and moment.shapes == {"W": (4,)} and moment.now("loss") == 1


def test_what_is_given_is_neither_changed_nor_copied():
    own = W.copy()
    held = of_arrays({"W": own}, STEPS, runs=["a", "b"])
    held.params(0, 0)["W"][:] = 99
    np.testing.assert_array_equal(own, W)
    own[0, 0] = 7
    assert held.params(0, 0)["W"].tolist() == [7] * 4


def test_half_precision_that_numpy_does_not_know_becomes_float32():
    held = of_arrays({"W": jnp.asarray(W[0], jnp.bfloat16)}, STEPS)
    assert held.params(0, 2)["W"].dtype == np.float32 and held.params(0, 2)["W"].tolist() == W[0, 2].tolist()


def test_configs_of_toylab():
    net = {
        name: np.zeros((3, *value.shape), np.float32)
        for name, value in A.net.init(__import__("jax").random.key(0)).items()
    }
    held = of_arrays(
        {name: np.stack([value] * 2) for name, value in net.items()}, STEPS, runs=["a", "b"], config=[A, B]
    )
    assert held.config(1) == B and held.data(0)["labels"].shape == (11, 11) and "train" in held.data(0)
    held = of_arrays(net, STEPS, net=A.net, task=ModularArithmetic(p=11))
    config = held.config(0)
    assert config.net == A.net and config.task.p == 11 and config.optimizer is None
    assert "labels" in held.data(0) and "train" not in held.data(0)  # their split is not known
    held = of_arrays(net, STEPS, net=A.net, data={"train": np.arange(3)})
    assert held.data(0)["train"].tolist() == [0, 1, 2] and held.config(0).task is None


def test_measures_alone():
    held = of_arrays({}, STEPS, measures={"loss": np.ones(3)})
    assert held.no_params.startswith("No params") and held.on_demand is None
    with pytest.raises(LookupError, match="No params"):
        held.params(0, 0)


def test_analyzers_given_as_functions():
    held = of_arrays(
        {"W": W}, STEPS, runs=["a", "b"], analyzers={"total": lambda params, run: {"W": params["W"].sum()}}, data={}
    )
    held.on_demand.ask("total")
    assert held.on_demand.wait(60)
    np.testing.assert_array_equal(held.measures["total/W"], W.sum(axis=-1))  # whole numbers: exact
    assert held.refresh() and not held.refresh()
    held.close()


NET = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
REFUSED = {
    "steps is []": ({"W": W[0]}, [], {}),
    "steps is [0, 0, 1]: give the step of each saved point": ({"W": W[0]}, [0, 0, 1], {}),
    "steps is [0.5, 1.0, 2.0]": ({"W": W[0]}, [0.5, 1, 2], {}),
    "steps is [-1, 0, 1]": ({"W": W[0]}, [-1, 0, 1], {}),
    "steps is [3, 1] of int64": ({"W": W[0]}, np.zeros((3, 1), int), {}),
    "params['W'] has shape [2, 3, 4]: it must be [T, …] and begin with [3]; for arrays of several runs give runs=": (
        {"W": W}, STEPS, {}
    ),
    "params['W'] has shape [2, 3, 4]: it must be [R, T, …] and begin with [3, 3].": (
        {"W": W}, STEPS, {"runs": ["a", "b", "c"]}
    ),
    "measures['loss'] has shape [2]": ({"W": W[0]}, STEPS, {"measures": {"loss": [1, 2]}}),
    "params['W'] is of <U1": ({"W": np.array(["a", "b", "c"])}, STEPS, {}),
    "params['W'] is of object": ({"W": np.array([None, 1, 2])}, STEPS, {}),
    "params is a list: give arrays by name": ([W], STEPS, {}),
    "params is a dict: give arrays by name": ({1: W[0]}, STEPS, {}),
    "params has no arrays": ({}, STEPS, {}),
    "runs is '[]'": ({"W": W}, STEPS, {"runs": []}),
    "runs is \"['a', 'a']\": give a list of names, each once.": ({"W": W}, STEPS, {"runs": ["a", "a"]}),
    "runs is 'ab'": ({"W": W}, STEPS, {"runs": "ab"}),
    "columns['lr'] has 1: give a value for each of the 2 runs.": (
        {"W": W}, STEPS, {"runs": ["a", "b"], "columns": {"lr": [1]}}
    ),
    "columns['lr'] has 0.1: give a value": ({"W": W[0]}, STEPS, {"columns": {"lr": 0.1}}),
    "columns['lr'] has {}: numbers, flags and texts are wanted.": ({"W": W[0]}, STEPS, {"columns": {"lr": [{}]}}),
    "config is given, and net or task too": ({"W": W[0]}, STEPS, {"config": A, "net": NET}),
    "config is none: give a toylab Config, or one for each of the 1 runs.": ({"W": W[0]}, STEPS, {"config": [A, B]}),
    "params['W_E'] is [4] at a point, and [2, 11, 8] in the net": ({"W_E": W[0]}, STEPS, {"net": NET}),
    "task.p = 13 needs at least 13": ({"W": W[0]}, STEPS, {"net": NET, "task": ModularArithmetic(p=13)}),
    "analyzer is bad: it is a int": ({"W": W[0]}, STEPS, {"analyzers": {"bad": 3}}),
    "analyzer is a/b: a name without / is wanted.": ({"W": W[0]}, STEPS, {"analyzers": {"a/b": lambda p, r: {}}}),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_refusals(words):
    params, steps, more = REFUSED[words]
    with pytest.raises(ValueError) as error:
        of_arrays(params, steps, **more)
    assert words in str(error.value) and "\n" not in str(error.value)
