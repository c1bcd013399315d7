"""Hand-built networks compute their programs exactly, and their true edges are those that matter. The reference's compiled
program runs in our transformer."""

import itertools
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention.discovery import edge_effects, squared_distance
from toylab.analysis.attention.edges import Graph
from toylab.models import FractionOfPrevious, Histogram, InductionMachine, Net, Reverse, Transformer
from toylab.tasks import Program

NETWORKS = {
    "induction": (InductionMachine, 9, 11, 2),
    "frac_prevs": (FractionOfPrevious, 4, 7, 2),
    "hist": (Histogram, 4, 7, 1),
    "reverse": (Reverse, 5, 6, 3),
}


MACHINE = Net.of(InductionMachine, d_vocab=13, n_ctx=17)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile


@partial(jax.jit, compiler_options=QUICK)
def machine(noise):
    return MACHINE.replace(leaves={"noise": noise}).init(jax.random.key(0))


def answers(name, row, d_vocab):
    """What the program answers, position by position, in plain Python; None where nothing is asked."""
    if name == "frac_prevs":
        return [row[: i + 1].count(0) / (i + 1) for i in range(len(row))]
    if name == "hist":
        return [None] + [row.count(token) - 1 for token in row[1:]]
    if name == "reverse":
        symbols = [token for token in row if token < d_vocab - 2]
        return [None, *reversed(symbols)] + [None] * (len(row) - 1 - len(symbols))
    after = {a: b for a, b in itertools.pairwise(row)}
    half = len(row) // 2
    return [after[token] if half < at < len(row) - 1 else None for at, token in enumerate(row)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_computes_its_program_by_its_true_edges_alone(name):
    """By the fast pass; and cutting an edge changes the output if and only if it is true."""
    module, d_vocab, n_ctx, n_layers = NETWORKS[name]
    net, task = Net.of(module, d_vocab=d_vocab, n_ctx=n_ctx).check(), Program(name, d_vocab, n_ctx, n_eval=32).check()
    graph = Graph(n_layers, 1, mlps=name != "induction")

    @partial(jax.jit, compiler_options=QUICK)
    def run(key):
        params, data = net.init(key), task.data(key)
        effects = edge_effects(net.apply, params, graph, data["tokens"], squared_distance)
        return data, net.apply(params, data["tokens"], full=False)[0], task.measure(net.apply, params, data), effects

    data, output, measured, effects = jax.tree.map(np.asarray, run(jax.random.key(3)))
    for row, out, answer, asked in zip(data["tokens"].tolist(), output, data["answer"], data["asked"], strict=True):
        right = answers(name, row, d_vocab)
        assert [value is not None for value in right] == asked.tolist()
        for at in np.flatnonzero(asked):
            assert answer[at] == pytest.approx(right[at], rel=1e-6)
            assert (out[at, 0] if name == "frac_prevs" else out[at].argmax()) == pytest.approx(right[at], abs=1e-6)
    assert measured["accuracy"] == 1
    np.testing.assert_array_equal(effects > 1e-3, graph.mask(module.EDGES))
    assert np.all(effects[~graph.mask(module.EDGES)] == 0)


def test_the_induction_machine_is_the_references(reference):
    golden = np.load(reference / "attention" / "g6_handbuilt_induction.npz")
    for name, value in machine(0.0).items():
        np.testing.assert_allclose(value, golden[f"w_{name.replace('W_pos', 'W_P')}"], rtol=1e-6, err_msg=name)


def test_noise_is_a_leaf_and_moves_every_matrix():
    assert MACHINE.leaves == {"noise": 0.0}
    still, moved = machine(0.0), machine(0.1)
    assert all(0.09 < np.std(moved[name] - still[name]) < 0.11 for name in still)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Program("sort"), "task.name is 'sort': it must be one of induction, frac_prevs, hist, reverse."),
        (Program("reverse", d_vocab=3), "task.d_vocab is 3: it must be at least 4."),
        (
            Program("induction", 13, 16),
            "task.n_ctx is 16: BOS and two blocks of different tokens, 12 of them at most, make",
        ),
        (Program("induction", 5, 11), "task.n_ctx is 11: "),
        (Program("hist", 5, 11, n_eval=0), "task.n_eval is 0: it must be at least 1."),
    ],
)
def test_bad_input(task, message):
    with pytest.raises(ValueError) as refused:
        task.check()
    assert str(refused.value).startswith(message)


def test_a_network_that_is_too_small():
    with pytest.raises(ValueError, match=r"net.n_ctx is 2: it must be at least 3\."):
        Net.of(Histogram, n_ctx=2).check()


def test_a_tracr_program_runs_in_our_transformer(reference):
    """The compiled "reverse" (Lindner et al. 2023), converted; its biases in attention are all 0, its outputs exact."""
    golden = np.load(reference / "attention" / "tracr_reverse.npz")
    meta, inputs, outputs = (json.loads(str(golden[name])) for name in ("meta", "inputs", "outputs"))

    def block(part):
        return np.stack([golden[f"transformer__layer_{layer}__{part}"] for layer in range(4)])

    attention = {f"W_{name[0].upper()}": block(f"attn__{name}__w")[:, None] for name in ("query", "key", "value")}
    assert not any(block(f"attn__{name}__b").any() for name in ("query", "key", "value", "linear"))
    labels = meta["residual_labels"]
    answer = [labels.index(f"aggregate_1:{token}") for token in meta["output_enc"]]
    decode = np.eye(len(labels), dtype=np.float32)[:, answer]
    params = {
        "W_E": golden["token_embed__embeddings"], "W_pos": golden["pos_embed__embeddings"], **attention,
        "W_O": block("attn__linear__w")[:, None], "W_in": block("mlp__linear_1__w"), "b_in": block("mlp__linear_1__b"),
        "W_out": block("mlp__linear_2__w"), "b_out": block("mlp__linear_2__b"), "W_U": decode,
    }  # fmt: skip
    net = Net.of(
        Transformer, d_vocab=5, d_vocab_out=3, n_ctx=6, n_layers=4, n_heads=1, d_model=41, d_head=12, d_mlp=30,
        causal=False, readout="all",
    )  # fmt: skip
    names = list(meta["output_enc"])
    for length in {len(row) for row in inputs}:
        rows = [i for i, row in enumerate(inputs) if len(row) == length]
        tokens = jnp.array([[meta["input_enc"][token] for token in inputs[i]] for i in rows])
        logits = np.asarray(net.apply(params, tokens)[0])[:, 1:]  # BOS has no answer
        assert [[names[c] for c in row.argmax(-1)] for row in logits] == [outputs[i][1:] for i in rows]
        np.testing.assert_allclose(logits, np.eye(3)[logits.argmax(-1)], atol=1e-3)
