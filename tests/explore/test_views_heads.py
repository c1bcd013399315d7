"""Views of circuits, scores of heads and composition: against hand-built circuits and the lab's own functions."""

import jax
import numpy as np
import pytest
from viewed_recording import Small, of_start, values

from toylab.analysis.attention import circuits, composition
from toylab.analysis.attention import heads as analysis
from toylab.base import Config, Run
from toylab.explore.pictures import Dots
from toylab.explore.views import heads
from toylab.explore.views.attention import circuit, composed, scores, scores_over_steps
from toylab.models import InductionMachine, Net, Transformer
from toylab.optim import Adam
from toylab.tasks import (
    MarkovChains,
    Program,
    RepeatedBlocks,
)

MACHINE = Config(Program("induction", d_vocab=13, n_ctx=17), Net.of(InductionMachine, d_vocab=13, n_ctx=17), Adam())


def transformer(**sizes):
    given = {"d_vocab": 9, "d_vocab_out": 9, "n_ctx": 16, "n_layers": 2, "d_model": 16, "n_heads": 2, "d_mlp": 0}
    return Net.of(Transformer, **(given | {"readout": "all"} | sizes))


BLOCKS = Config(RepeatedBlocks(d_vocab=9, n_ctx=16, min_period=4, max_period=8, bos=True), transformer(), Adam())


def test_the_circuits_of_an_induction_machine():
    moment = of_start(MACHINE).moment()
    shift = np.eye(17)[np.maximum(np.arange(17) - 1, 0)]
    _, _, positions, _ = circuit.pictures(moment, layer="0", head="0")
    # scores are 60 · √dh before they are divided by √dh, one product of float32
    np.testing.assert_allclose(positions.values, 60 * 17**0.5 * shift, rtol=1e-6)
    QK, OV, positions, eigenvalues = circuit.pictures(moment, layer="1", head="0")
    assert not QK.values.any() and not positions.values.any()  # it matches what head 0.0 has written, not the embedding
    but_bos = np.diag(20.0 * (np.arange(13) < 12))
    np.testing.assert_allclose(OV.values, but_bos, atol=1e-5)
    assert isinstance(eigenvalues, Dots) and eigenvalues.title == "OV eigenvalues; copying 1.00"
    np.testing.assert_allclose(np.sort(eigenvalues.x), np.sort([20] * 12 + [0] * 5), atol=1e-4)
    np.testing.assert_allclose(eigenvalues.y, 0, atol=1e-4)
    assert list(OV.rows)[-1] == "BOS"


@pytest.mark.slow
def test_circuits_are_the_analysis_own():
    moment = of_start(BLOCKS).moment()
    for layer in (0, 1):
        for head in (0, 1):
            QK, OV, positions, eigenvalues = circuit.pictures(moment, layer=str(layer), head=str(head))
            W = moment.params
            # one head's or all heads' product: roundings of sums of 16 terms about 1
            for found, whole in (
                (QK, circuits.qk_circuit(W)),
                (OV, circuits.ov_circuit(W)),
                (positions, circuits.positional_qk(W)),
            ):
                np.testing.assert_allclose(found.values, whole[layer, head], atol=1e-5)
            np.testing.assert_allclose(
                np.hypot(eigenvalues.x, eigenvalues.y), np.abs(circuits.ov_eigenvalues(W)[layer, head]), atol=1e-4
            )
            assert f"{float(circuits.copying_score(W)[layer, head]):.2f}" in eigenvalues.title


def test_circuits_of_a_large_vocabulary_and_of_other_outputs():
    net = transformer(d_vocab=200, d_vocab_out=5, readout="last", n_ctx=4)
    moment = of_start(Config(MarkovChains(k=5, n_ctx=4), net, Adam())).moment()
    QK, OV, _ = circuit.pictures(moment)  # no eigenvalues: outputs are no tokens
    assert QK.values.shape == (128, 128) and OV.values.shape == (128, 5) and "first 128" in QK.title
    assert QK.rows is None


def test_composition_of_an_induction_machine():
    """Keys of head 1.0 read head 0.0, queries and values do not."""
    moment = of_start(MACHINE).moment()
    for kind, reads in (("K", True), ("Q", False), ("V", False)):
        graph, matrix = composed.pictures(moment, kind=kind)
        assert matrix.values.shape == (1, 1) and (matrix.values[0, 0] > 0.1) == reads and graph.edges == [(0, 1)]
        assert list(graph.names) == ["0.0", "1.0"] and list(graph.y) == [-1, 1]


def test_composition_is_the_analysis_own_beside_random_weights():
    net = transformer(n_layers=3)
    moment = of_start(Config(BLOCKS.task, net, Adam())).moment()
    graph, matrix = composed.pictures(moment, kind="Q")
    whole = np.asarray(composition.composition_scores(moment.params, "Q"))
    random = composition.random_composition(16, 8)[0]
    assert f"above {random:.2f} of random weights" in graph.title
    assert len(graph.edges) == 3 * 4  # pairs of layers, pairs of heads
    for (i, j), weight in zip(graph.edges, graph.weights, strict=True):
        (a, h), (b, k) = divmod(i, 2), divmod(j, 2)
        assert a < b
        assert weight == pytest.approx(whole[a, h, b, k] - random, abs=1e-5)
    np.testing.assert_allclose(matrix.values, whole.reshape(6, 6)[:-2, 2:], atol=1e-5)


def test_scores_are_the_analysis_own():
    moment = of_start(BLOCKS).moment()
    found = {one.title.partition(",")[0]: one for one in scores.pictures(moment)}
    wanted = analysis.head_scores(moment.params, Run(config=BLOCKS, data=moment.data))
    assert set(found) == {"previous token", "induction", "duplicate token", "prefix matching"}
    for name, picture in found.items():
        np.testing.assert_allclose(picture.values, wanted[name.replace(" ", "_")], atol=1e-5)
        assert picture.limit == 1 and "64 blocks" in picture.title


def test_scores_of_an_induction_machine():
    net = Net.of(InductionMachine, d_vocab=13, n_ctx=16)
    found = {
        one.title.partition(",")[0]: one.values[:, 0]
        for one in scores.pictures(of_start(MACHINE.replace(net=net)).moment())
    }
    # the previous token, also at the first position of the second block
    assert found["previous token"][0] == pytest.approx(1, abs=1e-6) and found["induction"][0] == pytest.approx(
        0, abs=1e-6
    )
    # all of the attention goes behind earlier occurrences, but for BOS, 1 of 13 tokens, which is noted nowhere; of those
    # that there are in 8 draws of 13 tokens the score of induction counts one
    assert found["prefix matching"][1] > 12 / 13 - 0.1 and 0.5 < found["induction"][1] < found["prefix matching"][1]


def test_scores_over_steps():
    """Runs of one recording may have fewer heads than others: those are nan."""
    measure = np.full((2, 3, 3, 4), np.nan, np.float32)
    measure[0] = np.arange(36).reshape(3, 3, 4) / 36
    measure[1, :, :2, :2] = np.arange(12).reshape(3, 2, 2) / 12
    other = np.zeros((2, 3, 3, 4))
    recording = Small(measures={"circuits/copying": other, "heads/induction": measure, "loss": np.ones((2, 3))})
    for run, heads_there in ((0, 12), (1, 4)):
        moment = recording.moment(1, run)
        assert scores_over_steps.lacks(moment) == ""
        lines, now = scores_over_steps.pictures(moment, **values(scores_over_steps, moment))
        assert len(lines.lines) == heads_there and lines.at == 10 and lines.title == "heads/induction, by layer.head"
        np.testing.assert_array_equal(lines.lines["1.1"], measure[run, :, 1, 1])
        np.testing.assert_array_equal(now.values, measure[run, 1] if run == 0 else measure[1, 1, :2, :2])
    lines, _ = scores_over_steps.pictures(recording.moment(1), score="circuits/copying")
    assert not lines.lines["0.0"].any()
    with pytest.raises(ValueError, match="score is 'loss': it must be one of heads/induction, circuits/copying"):
        scores_over_steps.pictures(recording.moment(1), score="loss")


@pytest.mark.slow
def test_random_blocks_are_fewer_for_larger_networks():
    net = transformer(n_layers=4, n_heads=8, n_ctx=64)
    moment = of_start(Config(MarkovChains(k=9, n_ctx=64), net, Adam())).moment()
    n = heads.WEIGHED // (4 * 8 * 64**2)
    found = scores.pictures(moment)
    assert n == 3 and all(f"{n} blocks" in one.title for one in found)
    tokens = analysis.repeated_blocks(jax.random.key(0), 64, 32, 9)[:n]
    A = net.apply(moment.params, tokens)[1]["pattern"]
    by_name = {one.title.partition(",")[0]: one.values for one in found}
    np.testing.assert_allclose(by_name["induction"], analysis.induction_score(A, 32).mean(1), atol=1e-5)
