"""Views of networks that add: what they draw is what the analyses say, of weights and of measures alone; what cannot be
shown says why, and what cannot be read is refused."""

import numpy as np
import pytest
from one_run import FIVE, PENTAGON, WHY, adds, at, circles, first, forms, recording, started

from toylab.analysis.modular import fourier
from toylab.base import Config, Run
from toylab.explore.pictures import Bars, Dots, Heatmap
from toylab.explore.views import built_in, grokking, modulus, planes, progress
from toylab.models import ModularMLP, Net, ToyModel
from toylab.optim import Adam
from toylab.tasks import GroupComposition, SparseFeatures

GROKKING = [one for one in built_in() if one.family == "grokking"]


# --- spectra


@pytest.mark.parametrize("p", [5, 8])
def test_spectra_are_those_of_the_weights_with_the_frequencies_that_both_have_marked(p):
    config = adds(p, 12, n_ctx=3, n_heads=2)
    params = circles(started(config), p, [1, 2])
    moment = at(recording(config, [started(config, 3), params]))
    W_E, W_L = grokking.spectra.pictures(moment)
    run = Run(config=config, data={})
    np.testing.assert_allclose(W_E.heights[1:3] ** 2, p, rtol=1e-5)  # Σ cos² + sin² over p numbers; "=" is no number
    assert np.abs(np.delete(W_E.heights, [1, 2])).max() < 1e-5
    exact = fourier.neuron_logit(params, run)["spectrum"]
    np.testing.assert_allclose(W_L.heights**2, exact, rtol=1e-5)
    both = np.asarray(fourier.key_frequencies(fourier.embedding(params, run)["spectrum"]))
    both = both & np.asarray(fourier.key_frequencies(exact))
    assert W_E.marked.tolist() == W_L.marked.tolist() == both.tolist()
    earlier = grokking.spectra.pictures(at(moment.recording, 0))
    assert forms(earlier) == forms([W_E, W_L]) and earlier[0].marked.tolist() == both.tolist()


def test_measured_spectra_are_drawn_at_the_step_and_over_steps_without_weights():
    energy = np.abs(np.random.default_rng(0).normal(size=(4, 7))).astype(np.float16)  # of a larger p beside it: 7 for 3
    made = recording(FIVE, [], {"embedding/spectrum": energy}, steps=np.array([0, 10, 100, 1000]))
    moment = at(made, 2)
    assert grokking.spectra.lacks(moment) == grokking.spectra_over_steps.lacks(moment) == ""
    (bars,) = grokking.spectra.pictures(moment)
    np.testing.assert_allclose(bars.heights, np.sqrt(energy[2, :3].astype(np.float32)), rtol=1e-6)
    (over,) = grokking.spectra_over_steps.pictures(moment)
    np.testing.assert_allclose(over.values, np.sqrt(energy[:, :3].astype(np.float32)).T, rtol=1e-6)
    assert over.line == 2 and over.columns == ["0", "10", "100", "1,000"]
    assert over.limit == pytest.approx(over.values[1:].max()) and bars.limit == pytest.approx(over.values.max())


def test_the_modulus_is_read_from_the_columns_where_the_config_is_not_known():
    made = recording(FIVE, [], {"embedding/spectrum": np.ones((1, 3))}, steps=np.array([0]))
    made.config = lambda run: None
    assert modulus.modulus(at(made)) is None and grokking.spectra.lacks(at(made)) is None
    made.columns = {"task.type": np.array(["toylab.tasks.modular.ModularPairs"]), "task.p": np.array([5])}
    assert modulus.modulus(at(made)) == 5 and grokking.spectra.lacks(at(made)) == ""
    made.columns["task.type"] = np.array(["toylab.tasks.addition.Addition"])
    assert modulus.modulus(at(made)) is None


# --- circles


def test_numbers_stand_on_a_pentagon_in_the_order_of_the_frequency():
    moment = at(recording(FIVE, [started(FIVE), PENTAGON]))
    assert first(grokking.circle, moment) == {"frequency": 2, "colours": "k · number mod p"}
    (dots,) = grokking.circle.pictures(moment, frequency=2)
    assert list(dots.names) == ["0", "3", "1", "4", "2"] and dots.joined and dots.cyclic
    turn = 2 * np.pi * np.arange(5) / 5
    np.testing.assert_allclose(np.stack([dots.x, dots.y]), [np.cos(turn), np.sin(turn)], atol=1e-6)
    assert dots.values.tolist() == [0, 1, 2, 3, 4] and dots.title == "k = 2: 100.0 % of the energy of W_E"
    (dots,) = grokking.circle.pictures(moment, frequency=1, colours="number")
    assert np.abs([dots.x, dots.y]).max() < 1e-6 and dots.values.tolist() == [0, 1, 2, 3, 4]


def test_at_p_113_few_numbers_are_named_and_the_strongest_frequency_comes_first():
    config = adds(113, 100, n_ctx=3, n_heads=2)
    moment = at(recording(config, [circles(started(config), 113, [14, 41])], keep=("W_E",)))
    frequency = first(grokking.circle, moment)["frequency"]
    assert frequency in (14, 41)
    (dots,) = grokking.circle.pictures(moment, frequency=frequency)
    assert sum(map(bool, dots.names)) == grokking.ROUND and dots.names[0] == "0"
    assert float(dots.title.split(":")[1].split("%")[0]) == 50.0


def test_embeddings_of_the_last_point_alone_are_shown_there_alone():
    W_E = np.concatenate([PENTAGON["W_E"][:5], np.full((2, 8), np.nan)])  # a larger p beside it, and a wider net
    W_E = np.concatenate([W_E, np.full((7, 3), np.nan)], axis=1).astype(np.float16)
    made = recording(FIVE, [], final={"numbers/W_E": W_E}, steps=np.array([0, 700]))
    assert grokking.circle.lacks(at(made)) == "" and first(grokking.circle, at(made))["frequency"] == 2
    (dots,) = grokking.circle.pictures(at(made), frequency=2)
    np.testing.assert_allclose(np.hypot(dots.x, dots.y), 1, atol=1e-3)  # half precision
    (empty,) = grokking.circle.pictures(at(made, 0), frequency=2)
    assert np.isnan(empty.x).all() and empty.title == "W_E is kept at the last point alone, step 700"
    assert len(empty.x) == len(dots.x)


# --- losses


def test_losses_are_lines_and_the_loss_without_each_key_frequency_bars():
    each = np.full((2, 3), np.nan)
    each[:, 2] = 0.5, 2.5
    losses = {name: np.array([3.0, 0.1]) for name in ("train_loss", "test_loss", "loss/restricted", "loss/excluded")}
    moment = at(recording(FIVE, [], losses | {"loss/excluded_each": each}, steps=np.array([0, 40])))
    assert progress.progress_losses.lacks(moment) == ""
    lines, bars = progress.progress_losses.pictures(moment)
    assert list(lines.lines) == ["train", "test", "restricted", "excluded"] and lines.log_y and lines.at == 40
    assert bars.heights.tolist() == [2.5] and bars.names == ["2"] and bars.limit == 2.5
    assert bars.title == "Train loss without k (0.1 with all)"
    assert forms(progress.progress_losses.pictures(at(moment.recording, 0))) == forms([lines, bars])
    assert "loss/restricted and loss/excluded" in progress.progress_losses.lacks(at(recording(FIVE, [PENTAGON])))


def test_of_a_group_the_share_of_each_representation_is_drawn():
    net = Net.of(ModularMLP, d_vocab=6, d_vocab_out=6, d_model=4, d_mlp=4)
    config = Config(GroupComposition(group="symmetric", n=3, n_train=20), net, Adam())
    similarity = np.array([[0, 0.1, 0.2], [0, 0.6, np.nan]])
    moment = at(recording(config, [], {"formation/similarity": similarity}, steps=np.array([0, 9])))
    bars, over = progress.irreps.pictures(moment)
    np.testing.assert_allclose(bars.heights, similarity[1] ** 2, rtol=1e-6)
    assert list(bars.names) == list(over.rows) and len(over.rows) == 3 and over.limit == pytest.approx(0.36)
    assert progress.irreps.lacks(at(recording(config, [], steps=np.array([0])))).startswith(
        "formation/similarity is not"
    )
    assert grokking.spectra.lacks(moment) is None


# --- what is lacking or wrong


def test_views_of_a_run_without_weights_say_so_and_nobody_expects_them_of_another_task():
    without = at(recording(FIVE, [], steps=np.array([0])))
    for one in (planes.neuron_plane, planes.attention_plane, planes.logit_plane, grokking.circle, grokking.spectra):
        assert one.lacks(without) == WHY
    toy = Config(SparseFeatures(n_features=4), Net.of(ToyModel, n_features=4, n_hidden=2), Adam())
    of_features = at(recording(toy, [started(toy)]))
    assert [one.lacks(of_features) for one in GROKKING] == [None] * len(GROKKING)


@pytest.mark.parametrize(
    ("config", "keep", "view", "sentence"),
    [
        (FIVE, ("W_U",), "circle", "W_E is not recorded."),
        (FIVE, ("W_U",), "logit-plane", "The network cannot be run with the recorded params: params lacks"),
        (adds(5, 15, module=ModularMLP, embedding="none"), None, "circle", "The network has no W_E."),
        (adds(2, 3, n_ctx=3, n_heads=2), None, "circle", "p is 2: a circle needs a frequency that has a sine"),
        (
            adds(521, 9, module=ModularMLP),
            None,
            "neuron-plane",
            "p is 521: planes of all pairs are drawn up to p = 512.",
        ),
    ],
)
def test_what_a_view_lacks_is_said(config, keep, view, sentence):
    (one,) = [one for one in GROKKING if one.name == view]
    assert one.lacks(at(recording(config, [started(config)], keep=keep))).startswith(sentence)


def test_an_embedding_with_fewer_rows_than_numbers_is_not_drawn():
    made = recording(FIVE, [{**PENTAGON, "W_E": PENTAGON["W_E"][:4]}])
    assert grokking.circle.lacks(at(made)) == "W_E has shape [4, 8]: the numbers modulo 5 need at least 5 rows."


def test_a_network_that_is_not_known_cannot_be_run():
    made = recording(FIVE.replace(net=None, optimizer=None), [PENTAGON])
    assert (
        planes.logit_plane.lacks(at(made)) == "The network of the run is not known, so it cannot be run on all pairs."
    )
    assert len(grokking.spectra.pictures(at(made))) == 2  # which need its weights and p alone


@pytest.mark.parametrize(
    ("view", "values", "sentence"),
    [
        (grokking.circle, {"frequency": 3}, "frequency is 3: with p = 5 it must be a whole number from 1 to 2."),
        (grokking.circle, {"frequency": 1.5}, "frequency is 1.5: with p = 5"),
        (grokking.circle, {"frequency": 1, "colours": "red"}, "colours is 'red': it must be 'k · number mod p' or"),
        (planes.neuron_plane, {"neuron": 12}, "neuron is 12: it must be a whole number from 0 to 11."),
        (planes.neuron_plane, {"neuron": 0, "layer": 1}, "layer is 1: it must be a whole number from 0 to 0."),
        (planes.attention_plane, {"head": -1, "key": "a"}, "head is -1: it must be a whole number from 0 to 1."),
        (planes.attention_plane, {"head": 0, "key": "c"}, "key is 'c': it must be one of 'a', 'b', '='."),
        (planes.attention_plane, {"head": 0, "key": "a", "shown": "z"}, "shown is 'z': it must be one of 'pattern'"),
        (planes.logit_plane, {"c": 5}, "c is 5: it must be a whole number from 0 to 4."),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(view, values, sentence):
    with pytest.raises(ValueError, match=f"^{sentence.replace('.', '[.]')}"):
        view.pictures(at(recording(FIVE, [PENTAGON])), **values)


def test_where_the_last_point_is_damaged_the_others_are_drawn():
    made = recording(FIVE, [PENTAGON, PENTAGON])

    def params(run, point):
        if point == 1:
            raise LookupError("chunk 1 is damaged.")
        return PENTAGON

    made.params = params
    for one in (grokking.spectra, grokking.circle, planes.neuron_plane, planes.logit_plane):
        assert one.lacks(at(made)) == "" and one.pictures(at(made, 0), **first(one, at(made)))
    assert not grokking.spectra.pictures(at(made, 0))[0].marked.any()
    with pytest.raises(LookupError, match="chunk 1 is damaged"):
        grokking.spectra.pictures(at(made))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_run_that_diverged_is_drawn_with_nan(wrong):
    broken = {name: np.full_like(x, wrong) for name, x in PENTAGON.items()}
    made = recording(FIVE, [PENTAGON, broken])
    for one in GROKKING:
        if one.lacks(at(made)) != "":
            continue
        values = first(one, at(made))
        last, before = one.pictures(at(made), **values), one.pictures(at(made, 0), **values)
        assert forms(last) == forms(before)
        for picture in last:
            numbers = {Heatmap: "values", Bars: "heights", Dots: "x"}[type(picture)]
            assert not np.isfinite(getattr(picture, numbers)).any()
