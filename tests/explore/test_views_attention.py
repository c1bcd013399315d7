"""Views of attention: against hand-built circuits and the lab's own functions."""

import numpy as np
import pytest
from viewed_recording import Small, of_start, values

from toylab.analysis.attention import heads as analysis
from toylab.base import Config
from toylab.explore.pictures import Bars, Heatmap
from toylab.explore.views import sequences
from toylab.explore.views.attention import circuit, composed, measured, patterns, scores, scores_over_steps
from toylab.models import ExemplarTransformer, InductionMachine, ModularMLP, Net, PizzaTransformer, Reverse, Transformer
from toylab.optim import Adam
from toylab.tasks import (
    ChainMixture,
    GroupComposition,
    MarkovChains,
    ModularArithmetic,
    Program,
    RelabelledExemplars,
    RepeatedBlocks,
    SkipTrigrams,
)

EVERY = (patterns, measured, circuit, scores, scores_over_steps, composed)
MACHINE = Config(Program("induction", d_vocab=13, n_ctx=17), Net.of(InductionMachine, d_vocab=13, n_ctx=17), Adam())


def transformer(**sizes):
    given = {"d_vocab": 9, "d_vocab_out": 9, "n_ctx": 16, "n_layers": 2, "d_model": 16, "n_heads": 2, "d_mlp": 0}
    return Net.of(Transformer, **(given | {"readout": "all"} | sizes))


BLOCKS = Config(RepeatedBlocks(d_vocab=9, n_ctx=16, min_period=4, max_period=8, bos=True), transformer(), Adam())


def test_the_patterns_of_an_induction_head():
    """It is known to the last digit where each head of the machine looks."""
    moment = of_start(MACHINE).moment()
    typed = "BOS 3 1 4 5 3 1 4 5"
    previous, loss = patterns.pictures(moment, layer="0", head="0", typed=typed)
    assert list(previous.rows) == list(previous.columns) == typed.split()
    # e⁻⁶⁰ is 0 beside 1
    np.testing.assert_allclose(previous.values, np.eye(9)[np.maximum(np.arange(9) - 1, 0)], atol=1e-25)
    induction, _ = patterns.pictures(moment, layer="1", head="0", typed=typed)
    # from the second 3 on, the key behind the token's last occurrence
    np.testing.assert_allclose(induction.values[5:], np.eye(9)[np.arange(5, 9) - 3], atol=1e-7)
    assert isinstance(loss, Bars) and list(loss.names) == typed.split()[1:]
    assert (loss.heights[5:] < 13 * np.exp(-20) + 1e-6).all()  # a logit of 20 for the right one of 13 tokens
    assert patterns.lacks(moment) == ""


def test_names_numbers_and_commas_are_the_same_sequence():
    moment = of_start(MACHINE).moment()
    read = [sequences.sequence(moment, text).tolist() for text in ("BOS 3 1", "12,3,1", " 12, 3  1 ")]
    assert read == [[12, 3, 1]] * 3


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("1 13", "'13' is no token: they are 0 to 12, or BOS."),
        ("1 -1", "'-1' is no token: they are 0 to 12, or BOS."),
        ("1 x", "'x' is no token: they are 0 to 12, or BOS."),
        ("1 2.0", "'2.0' is no token: they are 0 to 12, or BOS."),
        ("1 ²", "'²' is no token: they are 0 to 12, or BOS."),
        ("<script>alert(1)</script> 2", "'<script>alert(1)</sc' is no token: they are 0 to 12, or BOS."),
        ("1", "1 tokens are too few: give 2 to 17."),
        (" ".join("1" * 18), "18 tokens are too many: give 2 to 17."),
        (",", "0 tokens are too few: give 2 to 17."),
    ],
)
def test_a_sequence_that_cannot_be_read_is_refused(typed, said):
    with pytest.raises(ValueError) as error:
        patterns.pictures(of_start(MACHINE).moment(), typed=typed)
    assert str(error.value) == said


def test_a_head_or_layer_that_is_not_there_is_refused():
    moment = of_start(MACHINE).moment()
    for view, given, said in (
        (patterns, {"layer": "2"}, "layer is '2': it must be one of 0 to 1"),
        (patterns, {"head": "1"}, "head is '1': it must be one of 0 to 0"),
        (circuit, {"layer": "x"}, "layer is 'x': it must be one of 0 to 1"),
        (circuit, {"head": "all"}, "head is 'all': it must be one of 0 to 0"),
        (composed, {"kind": "X"}, "kind is 'X': it must be one of Q, K, V"),
    ):
        with pytest.raises(ValueError, match=said):
            view.pictures(moment, **given)


def test_all_heads_of_a_layer_and_a_causal_networks_sequences_of_any_length():
    """The sequence is filled up for the network: what is shown is the same as without."""
    recording = of_start(BLOCKS)
    moment = recording.moment()
    for typed in ("1 2 3", "BOS 0 1 2 0 1 2"):
        tokens = sequences.sequence(moment, typed)
        found = patterns.pictures(moment, layer="1", typed=typed)
        logits, cache = BLOCKS.net.apply(moment.params, tokens[None])
        assert [type(one) for one in found] == [Heatmap, Heatmap, Bars]
        for head in (0, 1):
            # one program or two: roundings of a softmax of sums of 16 terms
            np.testing.assert_allclose(found[head].values, cache["pattern"][1, 0, head], atol=1e-5)
        np.testing.assert_allclose(found[2].heights, analysis.per_token_loss(logits, tokens[None])[0], atol=1e-4)
    assert len(patterns.pictures(moment, layer="1", head="1")) == 2


def test_another_sequence_each_time_and_the_same_one_again():
    moment = of_start(BLOCKS).moment()
    drawn = [sequences.sequence(moment, again=again) for again in (0, 1, 2)]
    assert drawn[0].tolist() == sequences.sequence(of_start(BLOCKS).moment(), again=0).tolist()
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])
    for tokens in drawn:  # BOS, and a block of half the context twice, as far as that goes
        assert tokens[0] == 8 and len(tokens) == 16
        np.testing.assert_array_equal(tokens[1:8], tokens[9:])
    assert patterns.controls(moment)["typed"].label == "2 to 16 tokens of 0 to BOS (empty: drawn)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "net", "length"),
    [
        (MarkovChains(k=9, n_ctx=16), {}, 16),
        (ChainMixture(k=9, n_ctx=16, n_chains=2, n_eval=4), {}, 16),  # its sample needs the chains: one of its data
        (ModularArithmetic(p=8, n_train=20), {"n_ctx": 3, "d_vocab_out": 8, "readout": "last"}, 3),
        (SkipTrigrams(3, 3, 9, 3, n_ctx=7), {"readout": "last"}, 7),
        (MarkovChains(k=9, n_ctx=100), {"n_ctx": 100}, sequences.LONGEST),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sequences_of_other_tasks(task, net, length):
    moment = of_start(Config(task, transformer(**net), Adam())).moment()
    assert patterns.lacks(moment) == ""
    tokens = sequences.sequence(moment)
    assert tokens.shape == (length,) and 0 <= tokens.min() <= tokens.max() < 9
    assert len({sequences.sequence(moment, again=again).tobytes() for again in range(4)}) > 1
    pictures = patterns.pictures(moment, **values(patterns, moment))
    assert isinstance(pictures[-1], Bars) == (moment.net.readout == "all")
    if moment.net.readout == "last":
        with pytest.raises(ValueError, match=f"2 tokens are too few: give {length}."):
            sequences.sequence(moment, "1 2")


def test_a_readout_at_the_end_that_the_net_does_not_say():
    """A `PizzaTransformer` has no field for it."""
    net = Net.of(PizzaTransformer, d_vocab=6, d_vocab_out=6, n_ctx=2, d_model=8, n_heads=2, d_mlp=8)
    moment = of_start(Config(GroupComposition(group="symmetric", n=3, n_train=18), net, Adam())).moment()
    assert patterns.lacks(moment) == "" and scores.lacks(moment) is None
    assert sequences.sequence(moment).shape == (2,)
    assert [one.values.shape for one in patterns.pictures(moment, typed="5 0")] == [(2, 2)] * 2
    with pytest.raises(ValueError, match=r"1 tokens are too few: give 2\."):
        sequences.sequence(moment, "5")


def test_what_tasks_call_their_tokens():
    sum_of_two = of_start(
        Config(ModularArithmetic(p=8, n_train=20), transformer(n_ctx=3, d_vocab_out=8, readout="last"), Adam())
    ).moment()
    assert sequences.vocabulary(sum_of_two) == [*"01234567", "="]
    assert sequences.sequence(sum_of_two, "3 5 =").tolist() == [3, 5, 8]
    assert sequences.sequence(sum_of_two)[-1] == 8
    trigrams = of_start(Config(SkipTrigrams(3, 3, 9, 3, n_ctx=7), transformer(readout="last"), Adam())).moment()
    assert sequences.vocabulary(trigrams) == ["A0", "A1", "A2", "B0", "B1", "B2", "F0", "F1", "F2"]
    with pytest.raises(ValueError, match="'C0' is no token: they are 0 to 8, or A0, A1, A2, …"):
        sequences.sequence(trigrams, "C0 A1")
    backwards = Config(Program("reverse", d_vocab=5, n_ctx=6), Net.of(Reverse, d_vocab=5, n_ctx=6), Adam())
    assert sequences.vocabulary(of_start(backwards).moment()) == ["0", "1", "2", "PAD", "BOS"]
    assert not any(isinstance(one, Bars) for one in patterns.pictures(of_start(backwards).moment()))


def test_committed_measures_alone():
    """Patterns and composition that the sweep measured; the rest says why it is not there."""
    rng = np.random.default_rng(0)
    pattern, K = rng.random((1, 2, 2, 3, 5, 5)).astype(np.float16), rng.random((1, 2, 3, 3)).astype(np.float32)
    given = {
        "example/pattern": pattern,
        "circuits/K_composition": K,
        "circuits/Q_composition": K,
        "heads/induction": K[:, :, :2],
    }
    recording = Small(measures=given, columns={"net.n_heads": np.array([3])})
    moment = recording.moment(1)
    found = measured.pictures(moment, layer="1")
    assert len(found) == 3 and [one.title for one in found] == [f"Layer 1, head {i}" for i in range(3)]
    np.testing.assert_array_equal(found[2].values, pattern[0, 1, 1, 2].astype(np.float32))
    graph, matrix = composed.pictures(moment)
    np.testing.assert_array_equal(matrix.values, K[0, 1])
    assert graph.title == "K-composition" and len(graph.edges) == 9  # raw: the sizes are not known
    np.testing.assert_array_equal(graph.weights, K[0, 1].ravel())
    for view in (patterns, circuit, scores):
        assert view.lacks(moment) == recording.no_params
    assert [view.lacks(moment) for view in (measured, composed, scores_over_steps)] == ["", "", ""]
    with pytest.raises(ValueError, match="layer is '2'"):
        measured.pictures(moment, layer="2")


def test_measured_patterns_of_one_head_a_layer_with_their_tokens():
    pattern = np.random.default_rng(0).random((1, 2, 2, 5, 5))
    tokens = np.array([[[1, 0, 2, 1, 0], [2, 2, 0, 1, 1]]])
    recording = Small(measures={"network/pattern": pattern, "network/tokens": tokens})
    (picture,) = measured.pictures(recording.moment(1), layer="1")
    np.testing.assert_allclose(picture.values, pattern[0, 1, 1], rtol=1e-6)
    assert list(picture.columns) == ["2", "2", "0", "1", "1"]


@pytest.mark.parametrize("view", (patterns, circuit, scores, composed), ids=lambda view: view.name)
def test_forms_stay_and_a_diverged_run_is_blank(view):
    recording = of_start(BLOCKS, steps=2)
    for value in recording._params.values():
        value[0, 1] = np.nan
    forms, kept = [], {}
    for at in (0, 1):
        moment = recording.moment(at, kept=kept)
        pictures = view.pictures(moment, **values(view, moment))
        forms.append([(type(one), np.shape(getattr(one, "values", getattr(one, "heights", None)))) for one in pictures])
        for one in pictures:
            if isinstance(one, Heatmap) and at == 1:
                assert np.isnan(one.values).all()
    assert forms[0] == forms[1]


def test_one_program_for_all_steps_runs_and_lengths():
    recording = of_start(BLOCKS, steps=3)
    sequences._run.clear_cache()
    for at, typed in enumerate(("1 2", "1 2 3 4 5", "")):
        patterns.pictures(recording.moment(at), typed=typed)
    assert sequences._run._cache_size() == 1


def test_what_a_run_lacks():
    committed = Small(measures={"loss": np.ones((1, 1))}, config=BLOCKS).moment()
    assert [view.lacks(committed) for view in (patterns, circuit, scores, composed)] == [
        committed.recording.no_params
    ] * 4
    start = of_start(BLOCKS)
    arrays = Small(start._params).moment()  # a user's own arrays
    assert patterns.lacks(arrays) == "the config of run 0 is not known, so that its network cannot be run."
    assert circuit.lacks(arrays) == composed.lacks(arrays) == ""
    assert [isinstance(one, Heatmap) for one in circuit.pictures(arrays)] == [True, True, True, False]
    some = {name: value for name, value in start._params.items() if name not in ("W_O", "W_U")}
    partly = Small(some, config=BLOCKS).moment()
    assert patterns.lacks(partly) == scores.lacks(partly) == "W_O, W_U is not recorded: the network cannot be run."
    assert circuit.lacks(partly) == "W_O, W_U is not recorded." and composed.lacks(partly) == "W_O is not recorded."
    vectors = Config(RelabelledExemplars(), Net.of(ExemplarTransformer), Adam())
    no_tokens = "the network reads vectors: only one that reads tokens can be given a sequence of them."
    assert patterns.lacks(of_start(vectors).moment()) == no_tokens
    assert (
        patterns.lacks(of_start(Config(MarkovChains(k=9), transformer(inputs="vectors"), Adam())).moment()) == no_tokens
    )
    deep = of_start(Config(MarkovChains(k=9), transformer(readout_layers=1), Adam())).moment()
    assert circuit.lacks(deep).startswith("W_R, hidden layers, stand before W_U")
    short = of_start(Config(MarkovChains(k=9, n_ctx=3), transformer(n_ctx=3), Adam())).moment()
    assert scores.lacks(short) == "net.n_ctx is 3: two blocks need at least 4 positions."


def test_what_nobody_expects_of_committed_measures():
    """Composition of one layer, induction scores of a network that adds, sequences for one that reads vectors."""
    task = ModularArithmetic(p=8, n_train=20)
    adds = Config(task, transformer(n_ctx=3, d_vocab_out=8, readout="last", n_layers=1), Adam())
    moment = Small(measures={"loss": np.ones((1, 1))}, config=adds).moment()
    assert composed.lacks(moment) is None and scores.lacks(moment) is None
    assert patterns.lacks(moment) == moment.recording.no_params
    vectors = Config(RelabelledExemplars(), Net.of(ExemplarTransformer), Adam())
    moment = Small(measures={"loss": np.ones((1, 1))}, config=vectors).moment()
    assert patterns.lacks(moment).startswith("the network reads vectors")


def test_where_nobody_expects_them():
    mlp = Config(ModularArithmetic(p=5, n_train=9), Net.of(ModularMLP, d_vocab=6, d_vocab_out=5), Adam())
    assert {view.lacks(of_start(mlp).moment()) for view in EVERY} == {None}
    one_layer = of_start(Config(BLOCKS.task, transformer(n_layers=1), Adam())).moment()
    assert composed.lacks(one_layer) is None and scores.lacks(one_layer) == ""
    modular = of_start(
        Config(ModularArithmetic(p=8, n_train=20), transformer(n_ctx=3, d_vocab_out=8, readout="last"), Adam())
    ).moment()
    assert scores.lacks(modular) is None and patterns.lacks(modular) == ""
