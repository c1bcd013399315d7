"""Views of beliefs: against the analyzers of the page and closed forms of small processes."""

import jax
import numpy as np
import pytest
from viewed_recording import Small, of_start, values

from toylab.analysis.attention import beliefs as analysis
from toylab.analysis.probes import residual_streams
from toylab.base import Config
from toylab.explore.pictures import Dots
from toylab.explore.views import beliefs as views
from toylab.explore.views.beliefs import explained, losses, simplex
from toylab.models import ModularMLP, Net, ToyModel, Transformer
from toylab.optim import Adam
from toylab.tasks import HiddenMarkov, SparseFeatures, hmm

EVERY = (simplex, explained, losses)


def config(T, n_ctx=4):
    n = len(T)
    net = Net.of(
        Transformer, d_vocab=n, d_vocab_out=n, n_ctx=n_ctx, n_layers=2, d_model=16, n_heads=2, d_mlp=0, readout="all"
    )
    return Config(HiddenMarkov(T.astype(np.float32), n_ctx=n_ctx), net, Adam())


MESS3 = config(hmm.mess3(0.05, 0.85))


def states(dots):
    """The dots without those of the corners."""
    n = sum(name == "" for name in dots.names)
    return np.stack([dots.x, dots.y], 1)[:n]


@pytest.mark.parametrize(
    "residual",
    [
        "last",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("embedding", "after layer 0", "all side by side")),
    ],
)
def test_the_image_is_the_analyzers_own(residual):
    """Every sequence of up to the whole context, each with its probability: what `explained` and `image` take."""
    moment = of_start(MESS3).moment()
    assert simplex.lacks(moment) == ""
    assert list(simplex.controls(moment)["residual"].options) == [
        "embedding",
        "after layer 0",
        "last",
        "all side by side",
    ]
    beliefs, found = simplex.pictures(moment, residual=residual, symbols=4)
    rows, position, true, _ = analysis.prefixes(np.asarray(MESS3.task.T, np.float64), 4)
    corners = views.plane(3)
    np.testing.assert_allclose(states(beliefs), true @ corners, atol=1e-6)
    assert len(states(beliefs)) == 3 + 9 + 27 + 81 and beliefs.title == "Beliefs, 120 sequences"
    data = MESS3.task.data(jax.random.key(0))
    streams = residual_streams(MESS3.net.apply(moment.params, data["tokens"])[1])
    of = {"embedding": streams[0], "after layer 0": streams[1], "last": streams[2]}
    x = of[residual] if residual in of else analysis.concatenated(streams)
    image, share = analysis.regression(x, data["beliefs"], data["weight"])
    # each sequence once with its whole probability, or once for each that begins with it: the same least squares, of sums
    # in another order; singular values down to 64 roundings of the largest divide them
    assert float(found.title.rpartition("R² ")[2]) == pytest.approx(float(share), abs=2e-3)
    np.testing.assert_allclose(states(found), np.asarray(image)[rows, position] @ corners, atol=5e-3)


def test_fewer_symbols_are_the_beginning_of_the_same():
    moment = of_start(MESS3).moment()
    few, many = (simplex.pictures(moment, symbols=symbols)[0] for symbols in (2, 3))
    np.testing.assert_allclose(states(few), states(many)[:12], atol=1e-6)


def test_the_triangle_and_its_colours():
    """A certain belief lies in its corner and has its colour; the even one in the middle, the mean of the three."""
    true = np.concatenate([np.eye(3), np.full((1, 3), 1 / 3)])
    corners = views.plane(3)
    np.testing.assert_allclose(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1), 1)
    np.testing.assert_allclose((true @ corners)[3], 0, atol=1e-12)
    np.testing.assert_allclose(views.colours(true)[:3], views.COLOURS[:3])
    np.testing.assert_allclose(views.colours(true)[3], views.COLOURS[:3].mean(axis=0))
    beliefs, image = simplex.pictures(of_start(MESS3).moment())
    assert beliefs.names[-3:] == ["state 0", "state 1", "state 2"] and beliefs.limit == image.limit
    np.testing.assert_array_equal(beliefs.rgb, image.rgb)  # the colour of the true belief in both


def test_two_states_and_five():
    golden = of_start(config(hmm.golden_mean())).moment()
    beliefs, image = simplex.pictures(golden, **values(simplex, golden))
    assert not beliefs.y.any() and np.abs(beliefs.x).max() == 0.5
    # after a 1 the state is known to be 0
    assert -0.5 in np.round(states(beliefs)[:, 0], 6)
    rrxor = of_start(config(hmm.rrxor())).moment()
    beliefs, image = simplex.pictures(rrxor, **values(simplex, rrxor))
    assert isinstance(image, Dots) and len(beliefs.names) == len(states(beliefs)) + 5
    corners = np.stack([beliefs.x, beliefs.y], 1)[-5:]  # of a regular pentagon, the first at the top
    np.testing.assert_allclose(
        np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1), 2 * np.sin(np.pi / 5) / 3**0.5, rtol=1e-5
    )
    assert corners[0, 0] == pytest.approx(0, abs=1e-6) and corners[0, 1] > 0
    _, _, true, _ = analysis.prefixes(hmm.rrxor(), 4)
    np.testing.assert_allclose(states(beliefs), true @ views.plane(5), atol=1e-6)


def test_symbols_at_first_and_at_most():
    """So many that a step is drawn in time, and no more than can be computed."""
    moment = of_start(config(hmm.mess3(), n_ctx=10)).moment()
    symbols = simplex.controls(moment)["symbols"]
    assert symbols.value == 6 and 6 * 3**6 <= views.AT_FIRST < 7 * 3**7
    assert symbols.high == 8 and 8 * 3**8 <= views.MOST < 9 * 3**9
    with pytest.raises(ValueError, match="symbols are 9: they must be 1 to 8"):
        simplex.pictures(moment, symbols=9)
    with pytest.raises(ValueError, match="residual is 'first': it must be one of embedding, after layer 0, last, all"):
        simplex.pictures(moment, residual="first")


def test_many_symbols():
    """Of a process of 100 symbols, sequences of one are shown at first."""
    T = np.full((100, 2, 2), 1 / 200)
    moment = of_start(config(T, n_ctx=3).replace(task=HiddenMarkov(T.astype(np.float32), n_ctx=3, n_eval=8))).moment()
    symbols = simplex.controls(moment)["symbols"]
    assert (symbols.low, symbols.value, symbols.high) == (1, 1, 2)
    assert len(states(simplex.pictures(moment)[0])) == 100


def test_forms_stay_and_a_diverged_run_is_blank():
    recording, kept = of_start(MESS3, steps=2), {}
    for value in recording._params.values():
        value[0, 1] = np.nan
    first, second = (simplex.pictures(recording.moment(at, kept=kept)) for at in (0, 1))
    assert [len(one.x) for one in first] == [len(one.x) for one in second]
    np.testing.assert_array_equal(first[0].x, second[0].x)
    assert np.isnan(states(second[1])).all() and second[1].title == "Last residual; weights are not finite"


def test_measures_do_in_place_of_weights():
    """What the page committed: images after n_ctx − 1 symbols, R² by layer, losses by position."""
    T = hmm.mess3(0.05, 0.85)
    true = np.asarray(hmm.belief_states(T, hmm.every_sequence(3, 3)))[:, -1]
    rng = np.random.default_rng(0)
    layers = rng.random((1, 2, 3))
    measures = {
        "image/final": np.stack([np.full((27, 2), 1 / 3), true[:, :2]])[None].astype(np.float16),
        "explained/final": layers[..., 2], "explained/concat": layers[..., 0], "explained/layers": layers,
        "by_position/loss": rng.random((1, 2, 4)),
    }  # fmt: skip
    recording = Small(measures=measures, config=MESS3)
    start, end = recording.moment(0), recording.moment(1)
    assert [view.lacks(end) for view in EVERY] == ["", "", ""]
    assert simplex.controls(end) == {}
    np.testing.assert_allclose(states(simplex.pictures(start)[1]), 0, atol=1e-3)  # float16
    beliefs, image = simplex.pictures(end)
    np.testing.assert_allclose(states(image), states(beliefs), atol=1e-3)
    assert image.title == f"Last residual; R² {layers[0, 1, 2]:.4f}"
    lines, bars = explained.pictures(end)
    np.testing.assert_allclose(lines.lines["last"], 1 - layers[0, :, 2], rtol=1e-6)
    assert lines.log_y and lines.at == 10 and list(bars.names) == ["embed", "0", "1", "all"]
    np.testing.assert_allclose(bars.heights, 1 - np.append(layers[0, 1], layers[0, 1, 0]), rtol=1e-6)
    (loss,) = losses.pictures(end)
    np.testing.assert_allclose(loss.lines["network"], measures["by_position/loss"][0, 1], rtol=1e-6)
    np.testing.assert_allclose(loss.lines["optimal"], hmm.myopic_entropies(T, 5)[1:], rtol=1e-5)
    np.testing.assert_allclose(loss.lines["last symbol alone"], hmm.bigram_loss(T), rtol=1e-5)
    wrong = Small(measures={"image/final": np.zeros((1, 1, 9, 2))}, config=MESS3).moment()
    with pytest.raises(ValueError, match=r"image/final has shape \(9, 3\): that of the beliefs, \(27, 3\), is wanted"):
        simplex.pictures(wrong)


def test_images_of_the_last_point():
    """What the page of RRXOR committed."""
    rrxor = config(hmm.rrxor())
    _, _, true, _ = analysis.prefixes(hmm.rrxor(), 4)
    r2 = np.array([[0.25, 0.5]])
    final = {"all_images/final": true[None, :, :-1].astype(np.float16)}
    recording = Small(measures={"explained/final": r2}, config=rrxor, final=final)
    for at in (0, 1):
        beliefs, image = simplex.pictures(recording.moment(at))
        np.testing.assert_allclose(states(image), states(beliefs), atol=2e-3)  # float16
        assert image.title == "Last residual, last point; R² 0.5000"


def test_what_a_run_lacks():
    loss = {"loss": np.ones((1, 1))}
    committed = Small(measures=loss, config=MESS3).moment()
    assert [view.lacks(committed) for view in EVERY] == [committed.recording.no_params, None, None]
    some = {name: value for name, value in of_start(MESS3)._params.items() if name != "W_V"}
    assert simplex.lacks(Small(some, config=MESS3).moment()) == "W_V is not recorded: the network cannot be run."
    other = MESS3.replace(net=Net.of(ModularMLP, d_vocab=3, d_vocab_out=3))
    assert (
        simplex.lacks(of_start(other).moment()) == "the network has no W_Q: residual streams are those of transformers."
    )
    many = np.full((2, 7, 7), 1 / 14)
    assert simplex.lacks(of_start(config(many)).moment()) == "the process has 7 states: at most 6 have a colour."


def test_where_nobody_expects_them():
    toy = Config(SparseFeatures(n_features=5), Net.of(ToyModel, n_features=5, n_hidden=2), Adam())
    assert [view.lacks(of_start(toy).moment()) for view in EVERY] == [None] * 3
    assert [view.lacks(Small(measures={"loss": np.ones((1, 1))}).moment()) for view in EVERY] == [None] * 3
