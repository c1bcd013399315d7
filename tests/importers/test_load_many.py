"""Checkpoints from elsewhere as a sweep: the lab's own trajectories, written out and read back, measure the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import importers, train
from toylab.analysis import analyze, fourier, norms, progress, task_measures, together
from toylab.base import Config, Run
from toylab.importers import safetensors
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.sweep import Spec, load
from toylab.sweep import run as run_sweep
from toylab.tasks import ModularArithmetic

P, N_TRAIN, STEPS = 7, 30, (0, 3, 10)
TASK = ModularArithmetic(p=P, n_train=N_TRAIN)
SIZES = {"d_vocab": P + 1, "d_vocab_out": P, "n_ctx": 3, "d_model": 8, "d_mlp": 12, "n_heads": 2}
NET = Net.of(Transformer, **SIZES)
MODULAR = together(embedding=fourier.embedding, loss=progress.losses, weights=norms.weights)
LAST = {"logits": fourier.logits}


def trained(seed=0, net=NET):
    """(params [T, …], run) of a training of ten steps."""
    config = Config(TASK, net, AdamW(lr=1e-2, warmup=0), seed=seed)
    _, trajectory = jax.jit(lambda config: train.advance(config, train.init(config), jnp.diff(jnp.array((0, *STEPS)))))(
        config
    )
    return {name: np.asarray(value) for name, value in trajectory.params.items()}, Run(config, train.data(config))


def written(folder, params, net=NET, suffix="safetensors", name="step_{}"):
    folder.mkdir(parents=True, exist_ok=True)
    for at, step in enumerate(STEPS):
        path = folder / f"{name.format(step)}.{suffix}"
        one = {key: value[at] for key, value in params.items()}
        if suffix == "safetensors":
            importers.save(one, path, layout="toylab", net=net)
        elif suffix == "npz":
            np.savez(path, **one)
    return folder


@pytest.fixture(scope="module")
def own():
    return trained()


def measured(params, run):
    """MODULAR of the points of one run, as the lab's pages compute it."""
    batched = jax.tree.map(lambda x: np.asarray(x)[None], run)
    ends = analyze(together(**LAST), {name: value[-1:][None] for name, value in params.items()}, batched)
    batched = batched.replace(final={name: value[:, 0] for name, value in ends.items()})
    return analyze(MODULAR, {name: value[None] for name, value in params.items()}, batched)


def pairs_of(run):
    return np.stack(np.divmod(np.asarray(run.data["train"]), P), axis=1)


def test_a_folder_is_measured_as_the_lab_measures_its_own(own, tmp_path):
    params, run = own
    sweep = importers.load_many(written(tmp_path / "mine", params), layout="toylab")
    assert len(sweep) == 1 and sweep.runs.tolist() == ["mine"] and sweep.steps.tolist() == list(STEPS)
    assert sweep.valid.all() and not sweep.messages and sweep.config(0).net == NET and sweep.config(0).task is None
    for name, value in params.items():
        np.testing.assert_array_equal(sweep.params[name], value[None])
    found = sweep.analyze(MODULAR, task=ModularArithmetic(p=P, n_train=1), train=pairs_of(run), final=LAST)
    wanted = measured(params, run)
    assert set(found) == set(wanted)
    for name in wanted:  # the order of the test set differs, which sums its losses in another order
        np.testing.assert_allclose(found[name], wanted[name], rtol=2e-5, atol=1e-6, err_msg=name)


def test_one_param_is_read_without_the_others(own, tmp_path, monkeypatch):
    params, _ = own
    sweep = importers.load_many(written(tmp_path / "mine", params), layout="toylab")
    made = []
    monkeypatch.setattr(
        safetensors, "_array", lambda raw, entry, make=safetensors._array: made.append(1) or make(raw, entry)
    )
    np.testing.assert_array_equal(sweep.params["W_E"], params["W_E"][None])
    assert len(made) == len(STEPS)


def test_a_file_cut_short_under_the_header_of_another_is_seen(own, tmp_path):
    params, _ = own
    folder = written(tmp_path / "mine", params)
    sweep = importers.load_many(folder, layout="toylab")
    whole = (folder / "step_10.safetensors").read_bytes()
    (folder / "step_10.safetensors").write_bytes(whole[:-4])
    assert np.isnan(sweep.params["W_U"][0, -1]).all() and "damaged" in sweep.messages[-1]


def test_runs_of_other_steps_stand_side_by_side(tmp_path):
    runs = {f"seed_{seed}": trained(seed) for seed in range(3)}
    for name, (params, _) in runs.items():
        written(tmp_path / name, params)
    (tmp_path / "seed_1" / "step_3.safetensors").unlink()
    sweep = importers.load_many(tmp_path, layout="toylab")
    assert sweep.runs.tolist() == list(runs) and sweep.valid.tolist() == [[True] * 3, [True, False, True], [True] * 3]
    found = sweep.analyze(norms.weights, batch_size=2)["sum_of_squares/total"]
    assert np.isnan(found).tolist() == (~sweep.valid).tolist()
    for row, (params, _) in enumerate(runs.values()):
        squares = sum((value.astype(float) ** 2).reshape(3, -1).sum(1) for value in params.values())
        np.testing.assert_allclose(found[row][sweep.valid[row]], squares[sweep.valid[row]], rtol=1e-5)  # float32 sums
    chosen = sweep.select(name="seed_2")
    np.testing.assert_array_equal(chosen.analyze(norms.weights)["sum_of_squares/total"][0], found[2])
    groups = list(chosen)
    assert [group.runs for group in groups] == [["seed_2"]] and groups[0].params["W_E"].shape == (1, 3, P + 1, 8)


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["run3_step1", "run3_step20", "run3_step4"], [1, 4, 20]),
        (["000010", "000020"], [10, 20]),
        (["checkpoint-5"], [5]),
        (["1e3", "1e4"], "steps=."),
        (["a1_b1", "a2_b2"], "steps=."),
        (["final", "step_3"], "steps=."),
        (["lr0.1_7", "lr0.1_8"], "steps=."),
        (["s_01", "s_1"], "two checkpoints"),
    ],
)
def test_steps_are_the_one_number_in_which_names_differ(own, tmp_path, names, steps):
    params, _ = own
    for name in names:
        np.savez(tmp_path / f"{name}.npz", **{key: value[0] for key, value in params.items()})
    config = settings_of(tmp_path, params)
    if isinstance(steps, str):
        with pytest.raises(ValueError, match=steps):
            importers.load_many(tmp_path, layout="toylab", config=config)
    else:
        assert importers.load_many(tmp_path, layout="toylab", config=config).steps.tolist() == steps


def settings_of(folder, params):
    """The settings that the lab writes into its own files."""
    path = folder.parent / f"{folder.name}.safetensors"
    importers.save({key: value[0] for key, value in params.items()}, path, layout="toylab", net=NET)
    return importers.files.arrays_of(path, "toylab", ())[1]


LENS = {
    "act_fn": "relu", "attention_dir": "causal", "positional_embedding_type": "standard", "normalization_type": None,
    "attn_scale": 2.0, "readout": "last",
}  # fmt: skip


def lens(params, at, **biases):
    """A checkpoint of the layout transformer_lens, as a mapping; biases that are not given are 0."""
    own = {key: value[at] for key, value in params.items()}
    block = {f"blocks.0.attn.{name}": own[name][0] for name in ("W_Q", "W_K", "W_V", "W_O")}
    block |= {f"blocks.0.mlp.{name}": own[name][0] for name in ("W_in", "b_in", "W_out", "b_out")}
    heads = {f"blocks.0.attn.b_{name}": np.zeros((2, 4), np.float32) for name in "QKV"}
    rest = {"blocks.0.attn.b_O": np.zeros(8, np.float32), "unembed.b_U": np.zeros(P, np.float32)}
    ends = {"embed.W_E": own["W_E"], "pos_embed.W_pos": own["W_pos"], "unembed.W_U": own["W_U"]}
    return {**block, **heads, **rest, **ends, **biases}


def test_a_first_checkpoint_whose_biases_are_0_is_no_other_model(own):
    params, _ = own
    moved = {"unembed.b_U": np.arange(P, dtype=np.float32)}
    grown = [lens(params, 0), lens(params, 1, **moved), lens(params, 2, **moved)]
    sweep = importers.load_many(grown, layout="transformer_lens", steps=STEPS, config=LENS)
    np.testing.assert_array_equal(sweep.params["b_U"][0, :, 1], [0, 1, 1])
    still = importers.load_many(
        [lens(params, t) for t in range(3)], layout="transformer_lens", steps=STEPS, config=LENS
    )
    assert "b_U" not in still.params
    between = [lens(params, 0), lens(params, 1, **moved), lens(params, 2)]
    sweep = importers.load_many(between, layout="transformer_lens", steps=STEPS, config=LENS)
    assert np.isnan(sweep.params["W_E"][0, 1]).all() and np.isfinite(sweep.params["W_E"][0, ::2]).all()
    assert "unembed.b_U other than 0" in sweep.messages[0]


def test_a_damaged_checkpoint_is_named_and_the_rest_is_there(own, tmp_path):
    params, _ = own
    folder = written(tmp_path / "mine", params)
    middle = folder / "step_3.safetensors"
    middle.write_bytes(middle.read_bytes()[:-5])
    sweep = importers.load_many(folder, layout="toylab")
    assert (
        sweep.steps.tolist() == [0, 10]
        and len(sweep.messages) == 1
        and "step_3.safetensors is left out" in sweep.messages[0]
    )
    params = {key: value.copy() for key, value in params.items()}
    params["W_U"][1, 0, 0] = np.nan
    arrays, about = safetensors.read(folder / "step_0.safetensors")
    safetensors.write(middle, {key: value[1] for key, value in params.items()}, about)
    sweep = importers.load_many(folder, layout="toylab")
    found = sweep.analyze(norms.weights)["sum_of_squares/total"]
    assert np.isnan(found).tolist() == [[False, True, False]] and "W_U has 1 of" in sweep.messages[0]
    middle.write_bytes(b"no")  # after it was looked at
    later = sweep.analyze(norms.weights)["sum_of_squares/total"]
    assert np.isnan(later).tolist() == [[False, True, False]] and "is no safetensors file" in sweep.messages[-1]
    safetensors.write(middle, arrays, about)
    (folder / "step_0.safetensors").write_bytes(b"no")
    assert importers.load_many(folder, layout="toylab").steps.tolist() == [3, 10]
    for path in folder.iterdir():
        path.write_bytes(b"no")
    with pytest.raises(ValueError, match=r"step_10\.safetensors is no safetensors file"):
        importers.load_many(folder, layout="toylab")


def test_what_does_not_fit_is_refused_in_a_sentence(own, tmp_path):
    params, _ = own
    sources = [{key: value[at] for key, value in params.items()} for at in range(3)]
    given = {"layout": "toylab", "config": settings_of(tmp_path / "x", params)}
    many = importers.load_many
    with pytest.raises(ValueError, match="no files: give steps="):
        many(sources, **given)
    for steps, said in [
        ((0, 5, 5), "do not ascend"),
        ((0, 5), r"shape \[2\]"),
        ((0.0, 1.0, 2.0), "float64"),
        ((-1, 2, 3), "ascend"),
    ]:
        with pytest.raises(ValueError, match=said):
            many(sources, steps=steps, **given)
    with pytest.raises(ValueError, match="one mapping of arrays"):
        many(sources[0], steps=STEPS, **given)
    with pytest.raises(ValueError, match="there is no such folder"):
        many(tmp_path / "nowhere", **given)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no checkpoints"):
        many(tmp_path / "empty", **given)
    wider = [{**sources[0], "W_U": np.zeros((8, P + 1), np.float32)}, *sources[1:]]
    with pytest.raises(ValueError, match=r"step 0: W_U is \[8, 8\], and \[8, 7\] in the last"):
        many(wider, steps=STEPS, **given)
    with pytest.raises(ValueError, match="step 3: b_in is not there, and"):
        many([sources[0], {k: v for k, v in sources[1].items() if k != "b_in"}, sources[2]], steps=STEPS, **given)
    with pytest.raises(ValueError, match="steps has no run b"):
        many({"a": sources, "b": sources}, steps={"a": STEPS}, **given)
    with pytest.raises(ValueError, match="steps names the runs c"):
        many({"a": sources}, steps={"a": STEPS, "c": STEPS}, **given)
    with pytest.raises(ValueError, match="empty list"):
        many([], **given)


def test_a_sweep_goes_out_and_comes_back_bit_for_bit(tmp_path):
    config = trained()[1].config
    run_sweep([config, config.replace(seed=1)], Spec(saves=STEPS), tmp_path / "sweep")
    sweep = load(tmp_path / "sweep")
    importers.save_many(sweep, tmp_path / "out", "toylab")
    again = importers.load_many(tmp_path / "out", layout="toylab")
    assert sorted(sweep.runs) == again.runs.tolist()
    for row, name in enumerate(sweep.runs):
        for key, value in sweep.params.items():
            np.testing.assert_array_equal(again.select(run=name).params[key][0], value[row])
    with pytest.raises(ValueError, match="it must be new or empty"):
        importers.save_many(sweep, tmp_path / "out", "toylab")
    importers.save_many(again.select(run=sweep.runs[1]), tmp_path / "one", "toylab")
    assert (tmp_path / "one" / "step_10.safetensors").is_file()


def test_an_analyzer_says_what_it_needs_before_anything_is_read(own, tmp_path, monkeypatch):
    params, run = own
    sweep = importers.load_many(written(tmp_path / "mine", params), layout="toylab")
    monkeypatch.setattr(type(sweep.sources[0]), "at", None)  # reading a checkpoint would fail
    with pytest.raises(ValueError, match=r"embedding needs task\.p, which checkpoints do not say: give task="):
        sweep.analyze(fourier.embedding)
    with pytest.raises(ValueError, match=r"losses needs data\['train.*give train="):
        sweep.analyze(progress.losses, task=TASK, final=LAST)
    with pytest.raises(ValueError, match=r"losses needs 'logits/key' of the last point: give final={'logits'"):
        sweep.analyze(progress.losses, task=TASK, train=pairs_of(run))
    drawn = ModularArithmetic(p=P, op="random")  # the lab would draw other answers than theirs
    with pytest.raises(ValueError, match=r"task_measures needs data\['labels'\].*give data={'labels'"):
        sweep.analyze(task_measures, task=drawn, train=pairs_of(run), data={"train_labels": run.data["train_labels"]})
    with pytest.raises(ValueError, match="train is given without task"):
        sweep.analyze(progress.losses, train=pairs_of(run))
    with pytest.raises(ValueError, match="train has a pair twice"):
        sweep.analyze(progress.losses, task=TASK, train=[[1, 2], [1, 2]])
    with pytest.raises(ValueError, match="train has numbers from 1 to 7"):
        sweep.analyze(progress.losses, task=TASK, train=[[1, 7]])
    with pytest.raises(ValueError, match=r"net\.d_vocab is 8: task\.p = 11"):
        sweep.analyze(fourier.embedding, task=ModularArithmetic(p=11, n_train=5))
    with pytest.raises(ValueError, match=r"needs params\['W_x'\]: there are W_E"):
        sweep.analyze(lambda params, run: {"x": params["W_x"]})


def test_a_sweep_of_the_labs_own_runs_needs_nothing_else(own, tmp_path):
    config = own[1].config
    run_sweep([config, config.replace(seed=1)], Spec(saves=STEPS), tmp_path)
    sweep = load(tmp_path)
    found = sweep.analyze(MODULAR, final=LAST)
    wanted = measured(*own)
    np.testing.assert_allclose(found["loss/excluded"][0], wanted["loss/excluded"][0], rtol=2e-4)  # ten float32 steps
    assert sweep.config(1).seed == 1 and len(sweep) == 2
    with pytest.raises(ValueError, match="have their own: leave them out"):
        sweep.analyze(MODULAR, task=TASK)
