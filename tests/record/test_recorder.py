"""A training elsewhere, recorded: what is on disk is what its weights were, and the lab reads it as its own."""

import time

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from toylab import importers, load, store
from toylab.analysis import norms, task_measures, together
from toylab.models import BiasedTransformer, ModularMLP, Net, Transformer
from toylab.record import Recorder
from toylab.record import recorder as recording
from toylab.tasks import ModularPairs

SHAPES = {"W_x": (7, 4), "W_y": (7, 4), "W": (8, 8), "W_U": (8, 7)}  # the MLP of Chughtai et al., W square


def weights(step, seed=0):
    """Weights that differ at every step."""
    draw = np.random.default_rng([seed, step])
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def record(folder, steps, seed=0, **given):
    given = {"layout": "universality", "name": f"seed_{seed}", "fields": {"seed": seed}, **given}
    with Recorder(folder, **given) as recorder:
        for step in steps:
            recorder(step, weights(step, seed), loss=1 / (1 + step))
    return load(folder)


def same(sweep, row, steps, seed=0):
    """Whether a run's points are those of `weights`, as `importers.load` gives each."""
    assert sweep.steps[sweep.valid[row]].tolist() == list(steps)
    for at, step in zip(np.flatnonzero(sweep.valid[row]), steps, strict=True):
        net, wanted = importers.load(weights(step, seed), layout="universality")
        assert sweep.config(row).net == net
        for name, value in wanted.items():
            np.testing.assert_array_equal(sweep.params[name][row, at], value)


@pytest.mark.parametrize("chunk", [None, 1, 2, 100])
def test_points_are_those_of_the_weights_however_they_are_committed(tmp_path, chunk):
    sweep = record(tmp_path / "mine", range(0, 50, 10), chunk=chunk)
    same(sweep, 0, range(0, 50, 10))
    np.testing.assert_array_equal(sweep.measures["loss"], [[1 / (1 + step) for step in range(0, 50, 10)]])
    assert sweep.runs.tolist() == ["seed_0"] and sweep.config(0).task is None and not sweep.messages


def test_seeds_are_one_sweep_in_the_order_of_their_names(tmp_path):
    for seed in (10, 2, 1):
        record(tmp_path, (0, 5, seed + 10), seed=seed)
    sweep = load(tmp_path)
    assert sweep.runs.tolist() == ["seed_1", "seed_2", "seed_10"] and sweep.columns["seed"].tolist() == [1, 2, 10]
    for row, seed in enumerate((1, 2, 10)):
        same(sweep, row, (0, 5, seed + 10), seed)
    chosen = sweep.select(seed=2)
    assert chosen.runs.tolist() == ["seed_2"]
    pairs = np.array([[0, 1], [2, 3]])
    found = sweep.analyze(together(measures=task_measures), task=ModularPairs(p=7), train=pairs)
    assert np.isnan(found["measures/test_loss"]).tolist() == (~sweep.valid).tolist()


def test_points_are_every_so_many_steps_or_at_given_ones(tmp_path):
    calls = []

    def source():
        calls.append(1)
        return weights(0)

    for every, wanted in ((10, [0, 10, 20]), ([1, 4, 22], [1, 4, 22])):
        with Recorder(tmp_path, every=every, name=f"e{len(wanted)}{wanted[0]}") as recorder:
            for step in range(25):
                assert recorder.wants(step) == (step in wanted)
                recorder(step, source)
        assert recorder.last_step == wanted[-1]
    assert len(calls) == 6 and load(tmp_path).steps.tolist() == [0, 1, 4, 10, 20, 22]


def test_what_is_changed_in_place_after_the_call_is_not_changed_in_the_record(tmp_path):
    own = weights(0)
    with Recorder(tmp_path, layout="universality") as recorder:
        for step in range(3):
            recorder(step, own)
            for value in own.values():
                value += 1
    sweep = load(tmp_path)
    wanted = weights(0)["W_U"]
    for step in range(3):
        np.testing.assert_array_equal(sweep.params["W_U"][0, step], wanted)
        wanted = wanted + np.float32(1)


def test_a_torch_optimizer_changes_nothing_that_is_recorded(tmp_path):
    torch = pytest.importorskip("torch", reason="records a training in PyTorch")
    net = torch.nn.ParameterDict({name: torch.tensor(value) for name, value in weights(0).items()})
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    kept = []
    with Recorder(tmp_path, layout="universality") as recorder:
        for step in range(4):
            loss = sum((value**2).sum() for value in net.values())
            kept.append({name: value.detach().clone().numpy() for name, value in net.items()})
            recorder(step, (net, net.state_dict(), net.state_dict, dict(net))[step], loss=loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    sweep = load(tmp_path)
    for step, one in enumerate(kept):
        _, wanted = importers.load(one, layout="universality")
        for name, value in wanted.items():
            np.testing.assert_array_equal(sweep.params[name][0, step], value)
    assert not np.array_equal(sweep.params["W_U"][0, 0], sweep.params["W_U"][0, 1])


class Layers(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(2, 3, rngs=rngs), nnx.Linear(3, 1, rngs=rngs)])
        self.dropout = nnx.Dropout(0.1, rngs=rngs)  # which holds no Param


def test_flax_gives_its_params_in_any_form(tmp_path):
    module = Layers(nnx.Rngs(0))
    names = [f"layers.{i}.{kind}" for i in range(2) for kind in ("bias", "kernel")]
    for i, source in enumerate((module, nnx.state(module, nnx.Param), lambda: nnx.state(module, nnx.Param))):
        with Recorder(tmp_path / "nnx", name=f"r{i}") as recorder:
            recorder(0, source)
    sweep = load(tmp_path / "nnx")
    assert sorted(sweep.params) == names
    np.testing.assert_array_equal(sweep.params["layers.1.kernel"], [[module.layers[1].kernel[...]]] * 3)

    variables = linen.Dense(3).init(jax.random.key(0), jnp.ones((1, 2)))
    for i, source in enumerate((variables, variables["params"], {"outer": variables["params"]})):
        with Recorder(tmp_path / f"linen{i}") as recorder:
            recorder(0, source)
        prefix = "outer." * (i == 2)
        found = load(tmp_path / f"linen{i}").params
        assert sorted(found) == [f"{prefix}bias", f"{prefix}kernel"]
        np.testing.assert_array_equal(found[f"{prefix}kernel"][0, 0], variables["params"]["kernel"])


def test_an_optax_training_that_donates_its_arrays_is_recorded(tmp_path):
    params = {name: jnp.asarray(value) for name, value in weights(0).items()}

    def halved(params):  # weight decay of 1 at a rate of 1/2, without gradients
        updates, _ = optax.add_decayed_weights(-0.5).update(jax.tree.map(jnp.zeros_like, params), (), params)
        return optax.apply_updates(params, updates)

    advance = jax.jit(halved, donate_argnums=0)
    with Recorder(tmp_path, layout="universality") as recorder:
        for step in range(3):
            recorder(step, params)
            params = advance(params)
    found = load(tmp_path).params["W_U"][0]
    for step in range(3):  # halves are exact
        np.testing.assert_array_equal(found[step], weights(0)["W_U"] / 2**step)


def lens(step):
    """A HookedTransformer whose biases are 0 at first."""
    net = Net.of(BiasedTransformer, d_vocab=5, d_vocab_out=5, n_ctx=3, d_model=4, n_heads=2, d_mlp=6)
    draw = np.random.default_rng(step)
    axes = {"embed.W_E": (5, 4), "pos_embed.W_pos": (3, 4), "unembed.W_U": (4, 5), "unembed.b_U": (5,)}
    block = {"attn.W_Q": (2, 4, 2), "attn.W_K": (2, 4, 2), "attn.W_V": (2, 4, 2), "attn.W_O": (2, 2, 4)}
    block |= {"attn.b_Q": (2, 2), "attn.b_K": (2, 2), "attn.b_V": (2, 2), "attn.b_O": (4,)}
    block |= {"mlp.W_in": (4, 6), "mlp.b_in": (6,), "mlp.W_out": (6, 4), "mlp.b_out": (4,)}
    axes |= {f"blocks.0.{key}": shape for key, shape in block.items()}
    found = {key: draw.normal(size=shape).astype(np.float32) for key, shape in axes.items()}
    biases = {key: 0 * value if step == 0 else value for key, value in found.items() if ".b_" in key}
    return net, {**found, **biases, "blocks.0.attn.mask": np.tri(3, dtype=bool)}


CFG = {
    "act_fn": "relu",
    "attention_dir": "causal",
    "positional_embedding_type": "standard",
    "normalization_type": None,
    "attn_scale": 2**0.5,
}


def test_biases_that_begin_as_zeros_are_recorded(tmp_path):
    with Recorder(tmp_path, layout="transformer_lens", config=CFG) as recorder:
        for step in (0, 1):
            recorder(step, lens(step)[1])
    sweep = load(tmp_path)
    assert sweep.config(0).net.module is BiasedTransformer
    net, wanted = importers.load(lens(1)[1], layout="transformer_lens", config=CFG)
    assert net == sweep.config(0).net
    for name, value in wanted.items():
        np.testing.assert_array_equal(sweep.params[name][0, 1], value)
    assert not sweep.params["b_U"][0, 0].any() and sweep.params["W_Q"].shape == (1, 2, 1, 2, 4, 2)


def test_weights_of_toylab_itself_keep_their_net(tmp_path):
    net = Net.of(Transformer, d_vocab=5, d_vocab_out=5, n_ctx=3, d_model=4, n_heads=2, d_mlp=6)
    params = net.init(jax.random.key(0))
    settings = {"module": "Transformer", **{name: value for name, (_, value) in net.module_fields().items()}}
    for name, config in (("fields", settings), ("net", net)):
        with Recorder(tmp_path, layout="toylab", config=config, name=name) as recorder:
            recorder(0, params)
    found = load(tmp_path)
    assert found.config(0).net == found.config(1).net == net and set(found.params) == set(params)


def test_weights_of_no_known_network_keep_their_names(tmp_path):
    with Recorder(tmp_path) as recorder:
        for step in range(2):
            recorder(step, {"encoder/0.weight": np.full((2, 3), step, np.float16), "b": np.ones(1)})
    sweep = load(tmp_path)
    assert sweep.params["encoder/0.weight"].dtype == np.float32 and sweep.config(0).net is None
    found = sweep.analyze(lambda params, run: {"sum": params["encoder/0.weight"].sum()})
    assert found["sum"].tolist() == [[0, 6]]
    with pytest.raises(ValueError, match=r"needs net\.apply, and these weights were recorded under their own names"):
        sweep.analyze(task_measures, task=ModularPairs(p=7), train=[[0, 1]])


def test_measures_are_numbers_of_any_kind(tmp_path):
    with Recorder(tmp_path) as recorder:
        given = {"a": 1, "b": np.float32(0.5), "c": jnp.ones(()), "train/loss": True, "none": float("inf")}
        recorder(0, {"W": np.ones(1)}, **given)
        recorder(1, {"W": np.ones(1)}, a=2)
    found = load(tmp_path).measures
    assert found["a"].tolist() == [[1, 2]] and found["train/loss"][0, 0] == 1 and np.isinf(found["none"][0, 0])
    assert np.isnan([found[name][0, 1] for name in ("b", "c", "train/loss", "none")]).all()


def test_a_run_without_measures_is_read(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder(0, {"W": np.ones(1)})
    assert load(tmp_path).params["W"].tolist() == [[[1]]] and not load(tmp_path).measures


def test_half_precision_is_recorded_as_float32(tmp_path):
    with Recorder(tmp_path) as recorder:
        for step, kind in enumerate((jnp.bfloat16, jnp.float16, np.float32, np.float64)):
            recorder(step, {"W": jnp.full(2, 1.5).astype(kind) if step < 3 else np.full(2, 1.5, kind)})
        with pytest.warns(RuntimeWarning, match="diverged: at step 4"):
            recorder(4, {"W": jnp.full(2, jnp.nan, jnp.bfloat16)})
    found = load(tmp_path).params["W"]
    assert found.dtype == np.float32 and (found[0, :4] == 1.5).all() and np.isnan(found[0, 4]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("first", [0, 2])
def test_a_run_ends_where_its_weights_are_no_longer_finite(tmp_path, bad, first):
    record(tmp_path, range(4), seed=1)
    with Recorder(tmp_path, layout="universality", name="seed_0") as recorder:
        for step in range(5):
            own = weights(step)
            if step >= first:
                own["W"][1, 2] = bad
            if step == first:
                with pytest.warns(RuntimeWarning, match=f"diverged: at step {first}"):
                    recorder(step, own, loss=3.0)
            else:
                recorder(step, own, loss=3.0)
            assert recorder.diverged == (first if step >= first else None)
            assert recorder.wants(step + 1) == (step < first)
    sweep = load(tmp_path)
    assert sweep.diverged[0] == first and np.isnan(sweep.diverged[1])
    assert sweep.valid.sum(axis=1).tolist() == [first + 1, 4]
    assert not np.isfinite(sweep.params["W_in"][0, first]).all()
    assert np.isnan(sweep.measures["loss"][0, first:]).all()
    assert np.isnan(sweep.analyze(norms.weights)["sum_of_squares/total"][0, first:]).all()
    again = Recorder(tmp_path, layout="universality", name="seed_0")
    assert again.diverged == first and not again.wants(100)
    again.close()


def test_points_lie_on_disk_before_the_end(tmp_path, monkeypatch):
    """The first at once, then those of a minute, or of so many bytes."""
    now = [0.0]
    monkeypatch.setattr(recording.time, "monotonic", lambda: now[0])
    with Recorder(tmp_path / "a") as recorder:
        for step in range(4):
            recorder(step, {"W": np.ones(1)})
        recorder._journal.wait()
        assert store.chunks(tmp_path / "a" / "000-run") == [0]
        now[0] = 61.0
        recorder(4, {"W": np.ones(1)})
        recorder._journal.wait()
        assert store.chunks(tmp_path / "a" / "000-run") == [0, 4]
        recorder(5, {"W": np.ones(1)})
        recorder.commit()
        assert store.chunks(tmp_path / "a" / "000-run") == [0, 4, 5]
    monkeypatch.setattr(recording, "CHUNK_BYTES", 100)
    with Recorder(tmp_path / "b") as recorder:
        for step in range(6):
            recorder(step, {"W": np.ones(10, np.float32)})
    assert store.chunks(tmp_path / "b" / "000-run") == [0, 3, 5]


def test_a_sweep_that_is_loaded_stays_as_it_was_while_the_recording_goes_on(tmp_path):
    with Recorder(tmp_path, layout="universality", name="seed_0", chunk=1) as recorder:
        for step in range(3):
            recorder(step, weights(step))
        recorder.commit()
        sweep, other = load(tmp_path), load(tmp_path)
        assert other.steps.tolist() == [0, 1, 2]
        for step in range(3, 6):
            recorder(step, weights(step))
        recorder.commit()
        for one in (sweep, other):
            same(one, 0, range(3))
            assert one.analyze(norms.weights)["sum_of_squares/total"].shape == (1, 3)
    same(load(tmp_path), 0, range(6))


def test_a_call_at_which_no_point_is_wanted_takes_no_time(tmp_path):
    """Far less than the 50 µs that a small network's step takes, whatever is handed over."""
    with Recorder(tmp_path, every=10**6) as recorder:
        recorder(0, weights(0))
        start = time.process_time()
        for step in range(1, 20_001):
            recorder(step, None, loss=None)
        assert (time.process_time() - start) / 20_000 < 25e-6


def test_the_network_is_named_where_sweeps_are_filtered(tmp_path):
    sweep = record(tmp_path, (0,))
    assert sweep.columns["net.d_model"].tolist() == [4] and sweep.config(0).net.module is ModularMLP
