"""What `load_many` and `save_many` take from folders, lists, prefixes and names of runs, in combinations."""

import jax
import numpy as np
import pytest

from toylab import importers, load
from toylab.importers import safetensors
from toylab.importers.toys import settings_of_net
from toylab.models import ModularMLP, NeoXTransformer, Net, PostNormTransformer
from toylab.record import Recorder

N, D = 5, 2


def toy(value, bias="b_final"):
    """A toy model whose entries all are its value, so that points tell which checkpoint they are."""
    return {"W": np.full((N, D), float(value), np.float32), bias: np.full(N, float(value), np.float32)}


def folder_of(path, sources):
    path.mkdir(parents=True)
    for name, arrays in sources.items():
        np.savez(path / f"{name}.npz", **arrays)
    return path


def first(sweep, name="W"):
    return np.asarray(sweep.params[name])[0].reshape(len(sweep.steps), -1)[:, 0].tolist()


@pytest.mark.parametrize("name", ["step_{}", "{}", "run3_{}"])
def test_given_steps_are_those_of_a_folders_numbers_not_of_its_texts(tmp_path, name):
    folder = folder_of(tmp_path / "mine", {name.format(i): toy(i) for i in (1, 2, 10)})
    for given in (folder, {"run": folder}):
        sweep = importers.load_many(given, "toy_models", steps=[100, 200, 1000])
        assert first(sweep) == [1, 2, 10] and sweep.steps.tolist() == [100, 200, 1000]


def test_an_order_that_names_contradict_or_do_not_say_is_refused(tmp_path):
    folder = folder_of(tmp_path / "mine", {f"step_{i}": toy(i) for i in (1, 2, 10)})
    by_text = [folder / f"step_{i}.npz" for i in (1, 10, 2)]
    with pytest.raises(ValueError, match="in the order 1, 10, 2 by their names, and steps ascend"):
        importers.load_many(by_text, "toy_models", steps=[100, 200, 1000])
    assert first(
        importers.load_many(sorted(by_text, key=lambda p: int(p.stem[5:])), "toy_models", steps=[1, 2, 3])
    ) == [
        1,
        2,
        10,
    ]
    named = folder_of(tmp_path / "named", {"final": toy(3), "init": toy(1), "middle": toy(2)})
    with pytest.raises(ValueError, match=r"the names of its folder say no order .final, init, middle.: give its"):
        importers.load_many(named, "toy_models", steps=[1, 2, 3])
    listed = [named / f"{name}.npz" for name in ("init", "middle", "final")]
    assert first(importers.load_many(listed, "toy_models", steps=[1, 2, 3])) == [1, 2, 3]


def test_one_array_of_models_that_stand_side_by_side_is_that_of_the_instance(tmp_path):
    draw = np.random.default_rng(0)
    points = [{"W": draw.normal(size=(3, N, D)), "b_final": draw.normal(size=(3, N))} for _ in range(2)]
    for step, arrays in enumerate(points):
        safetensors.write(
            tmp_path / f"step_{step}.safetensors", {k: v.astype(np.float32) for k, v in arrays.items()}, {}
        )
    sweep = importers.load_many(tmp_path, "toy_models", config={"instance": 1})
    np.testing.assert_array_equal(sweep.params["b"][0], [p["b_final"][1].astype(np.float32) for p in points])
    np.testing.assert_array_equal(sweep.params["W"][0], [p["W"][1].astype(np.float32) for p in points])
    assert not sweep.messages


def test_empty_extra_states_are_no_weights_here_either(tmp_path):
    folder = folder_of(tmp_path / "mine", {f"step_{i}": toy(i) | {"l._extra_state": np.zeros(0)} for i in (1, 2)})
    assert first(importers.load_many(folder, "toy_models")) == [1, 2]
    assert importers.guess(folder / "step_1.npz")[0].ready


def test_what_is_ignored_need_not_be_in_every_checkpoint(tmp_path):
    folder = folder_of(tmp_path / "mine", {"step_1": toy(1), "step_2": toy(2) | {"ema": np.ones(3)}})
    sweep = importers.load_many(folder, "toy_models", ignore=["ema"])
    whole = [block.params["W"][:, 0, 0].tolist() for source, rows in sweep.each() for block in source.blocks(rows, 4)]
    assert whole == [[1, 2]] and first(sweep) == [1, 2] and not sweep.messages


def test_a_checkpoint_with_another_prefix_is_named(tmp_path):
    sources = {f"step_{i}": {f"{'net' if i == 2 else 'old'}.{k}": v for k, v in toy(i).items()} for i in (1, 2)}
    folder = folder_of(tmp_path / "mine", sources)
    with pytest.raises(ValueError, match=r"step_1.npz: prefix is 'net.': old.W, old.b_final do not begin with it"):
        importers.load_many(folder, "toy_models", prefix="net.")


@pytest.mark.parametrize("name", ["../beside", "a/b", "..", ""])
def test_runs_whose_names_are_no_folders_are_not_written(tmp_path, name):
    runs = {name: [toy(1)], "other": [toy(2)]}
    sweep = importers.load_many(runs, "toy_models", steps=[0])
    with pytest.raises(ValueError, match="it can be no folder"):
        importers.save_many(sweep, tmp_path / "out" / "in", "toy_models")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_runs_of_one_name_do_not_lie_over_each_other(tmp_path):
    for at, folder in enumerate("ab"):
        with Recorder(tmp_path / folder, layout="toy_models") as recorder:
            recorder(0, toy(at))
    sweep = load([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match="several runs named run"):
        importers.save_many(sweep, tmp_path / "out", "toy_models")


@pytest.mark.parametrize(
    "net",
    [
        Net.of(ModularMLP, d_vocab=5, d_vocab_out=5, d_model=4, d_mlp=6),
        Net.of(PostNormTransformer, d_vocab=7, d_vocab_out=5, n_ctx=4, d_model=8, n_heads=2, d_mlp=12),
    ],
    ids=lambda net: net.module.__name__,
)
def test_a_module_that_a_config_names_is_found_behind_a_prefix(net):
    params = net.init(jax.random.key(0))
    source = {f"model.{name}": np.asarray(value) for name, value in params.items()}
    best = importers.guess(source, config=settings_of_net(net))[0]
    assert (best.layout, best.prefix, best.ready) == ("toylab", "model.", True), best
    assert importers.load(source, "toylab", prefix="model.", config=settings_of_net(net))[0] == net
    wrong = importers.guess({"odd": np.zeros(3), **params}, config=settings_of_net(net))[0]
    assert not wrong.fits and wrong.extra == ("odd",)


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        ("nope", "it must be one of"),
        ({"W": "W: a b"}, "a mapping of your own"),
        ("sae_lens", "read alone"),
        ("gpt2", "do not fit"),
    ],
)
def test_what_cannot_be_written_makes_no_folder(tmp_path, layout, why):
    sweep = importers.load_many([toy(1)], "toy_models", steps=[0])
    with pytest.raises(ValueError, match=why):
        importers.save_many(sweep, tmp_path / "out", layout)
    assert not (tmp_path / "out").exists()


def test_runs_and_steps_are_named_by_the_same_texts():
    sweep = importers.load_many({0: [toy(1)], 1: [toy(2)]}, "toy_models", steps={0: [5], 1: [7]})
    assert sweep.runs.tolist() == ["0", "1"] and sweep.steps.tolist() == [5, 7]
    with pytest.raises(ValueError, match="sources has two runs named alike: 0, 0"):
        importers.load_many({0: [toy(1)], "0": [toy(2)]}, "toy_models", steps=[1])


@pytest.mark.parametrize("layout", ["gpt_neox", "transformer_lens"])
def test_heads_that_turn_whole_are_written_as_such(tmp_path, layout):
    """rotary_dim 0 and d_head, 4 here, are the same network."""
    net = Net.of(NeoXTransformer, d_vocab=7, d_vocab_out=7, n_ctx=4, d_model=8, n_heads=2, d_mlp=12)
    params, path, tokens = net.init(jax.random.key(0)), tmp_path / "w.safetensors", np.array([[1, 2, 3]])
    importers.save(params, path, layout, net=net)
    again, own = importers.load(path, layout)
    assert (net.rotary_dim, again.rotary_dim) == (0, 4)
    np.testing.assert_array_equal(again.apply(own, tokens)[0], net.apply(params, tokens)[0])
