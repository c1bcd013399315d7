"""Path patching between any nodes: the hand-built machine's routes are known, other ways to the same number, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention.edges import Graph, circuit, written
from toylab.analysis.attention.interventions import path_patching, restored
from toylab.analysis.attention.routes import patched_edges, patched_path, path_shares
from toylab.models import BiasedTransformer, InductionMachine, Net, PostNormTransformer, Transformer

QUICK = {"xla_backend_optimization_level": 0}
SIZES = {"d_vocab": 11, "d_vocab_out": 11, "n_ctx": 5, "n_layers": 2, "d_model": 16, "n_heads": 2, "readout": "all"}


@pytest.fixture(scope="module")
def machine():
    """Of clean tokens the 3 at position 5 is the same as that at 2, so that 1 follows; of corrupt ones it is not."""
    net = Net.of(InductionMachine, d_vocab=7, n_ctx=7)
    clean, corrupt = jnp.array([[6, 0, 3, 1, 0, 3, 1]]), jnp.array([[6, 0, 2, 1, 0, 3, 1]])
    return net.apply, net.init(jax.random.key(0)), clean, corrupt, lambda logits: logits[0, 5, 1]


@pytest.fixture(scope="module")
def biased():
    """A random network with MLPs, LayerNorm and biases, and two batches of inputs."""
    net = Net.of(BiasedTransformer, d_mlp=12, layer_norm=True, **SIZES)
    keys = iter(jax.random.split(jax.random.key(0), 40))
    params = net.init(next(keys))
    params = {name: value + 0.1 * jax.random.normal(next(keys), value.shape) for name, value in params.items()}
    clean, corrupt = jax.random.randint(next(keys), (2, 3, 5), 0, 11)
    return net.apply, params, clean, corrupt


PATHS = {
    ("0.0", "1.0.k", "out"): 1, ("embed", "0.0.v", "1.0.k", "out"): 1, ("embed", "0.0.q", "1.0.k", "out"): 0,
    ("0.0", "1.0.q", "out"): 0, ("embed", "1.0.q", "out"): 0, ("embed", "1.0.k", "out"): 0, ("embed", "out"): 0,
    ("0.0", "out"): 0, ("1.0", "out"): 1,
}  # fmt: skip


def test_of_the_induction_machine_one_route_carries_all(machine):
    shares = path_shares(*machine, list(PATHS))
    np.testing.assert_allclose(shares, list(PATHS.values()), atol=1e-6)  # other keys get e⁻⁶⁰
    apply, params, clean, corrupt, metric = machine
    ends = metric(apply(params, clean)[0]), metric(apply(params, corrupt)[0])
    for senders, receivers, wanted in (
        (["0.0"], ["1.0.k"], 1), (["0.0"], ["1.0.q", "1.0.v"], 0), (["embed"], ["0.0.v"], 1), (["embed"], ["1.0.k"], 0),
        (["0.0", "embed"], ["out"], 0), (["1.0"], ["out"], 1),
    ):  # fmt: skip
        found = metric(patched_edges(apply, params, clean, corrupt, senders, receivers))
        np.testing.assert_allclose(restored(found, *ends), wanted, atol=1e-6, err_msg=f"{senders} {receivers}")


def quick(function, *given):
    return np.asarray(jax.jit(function, compiler_options=QUICK)(*given))


def test_single_edges_are_those_of_the_graph(biased):
    """With MLPs held, one sender seen by one receiver is the circuit in which that edge alone carries clean output."""
    apply, params, clean, corrupt = biased
    graph = Graph.of(params)
    for sender, receiver in (
        ("embed", "mlp0.in"),
        ("0.1", "1.0.q"),
        ("mlp0", "1.1.v"),
        ("0.0", "mlp1.in"),
        ("1.1", "out"),
    ):
        keep = 1 - graph.mask([(sender, receiver)]).astype(float)

        def both(params, x, y, sender=sender, receiver=receiver, keep=keep):
            other = written(apply, params, graph, x)
            edge = patched_edges(apply, params, x, y, [sender], [receiver], "held")
            return jnp.stack([edge, circuit(apply, params, graph, y, keep, other)])

        edge, cut = quick(both, params, clean, corrupt)
        np.testing.assert_allclose(edge, cut, atol=2e-5, err_msg=f"{sender} {receiver}")  # logits of size 3 in float32
        assert np.abs(edge - apply(params, corrupt)[0]).max() > 1e-3


def test_all_senders_together_are_the_clean_run(biased):
    apply, params, clean, corrupt = biased
    everything = list(Graph.of(params, positions=False).senders)
    for mlps in ("through", "held"):
        found = patched_edges(apply, params, clean, corrupt, everything, ["out"], mlps)
        np.testing.assert_allclose(found, apply(params, clean)[0], atol=1e-5)


def test_through_lets_mlps_answer(biased):
    """The direct effect of a head in layer 1 "through" is its whole effect: only its own MLP comes after it."""
    apply, params, clean, corrupt = biased
    z = apply(params, clean)[1]["z"][1, :, 0]
    patch = {"z": lambda value, layer: value.at[:, 0].set(z) if layer == 1 else value}
    whole = apply(params, corrupt, patch)[0]
    through = patched_edges(apply, params, clean, corrupt, ["1.0"], ["out"])
    np.testing.assert_allclose(through, whole, atol=1e-5)
    held = patched_edges(apply, params, clean, corrupt, ["1.0"], ["out"], "held")
    np.testing.assert_allclose(held, patched_path(apply, params, clean, corrupt, ["1.0", "out"]), atol=1e-5)
    assert np.abs(held - whole).max() > 1e-3


def test_all_pairs_of_heads_agree():
    net = Net.of(Transformer, d_mlp=0, **SIZES)
    params = net.init(jax.random.key(1))
    clean, corrupt = jax.random.randint(jax.random.key(2), (2, 3, 5), 0, 11)
    metric = lambda logits: logits[:, -1, 3].mean()  # noqa: E731
    pairs = path_patching(net.apply, params, clean, corrupt, metric, "k")[0, :, 1]
    names = [[f"0.{a}", f"1.{b}.k", "out"] for a in range(2) for b in range(2)]
    found = quick(lambda params: path_shares(net.apply, params, clean, corrupt, metric, names), params)
    ends = [metric(net.apply(params, x)[0]) for x in (clean, corrupt)]
    edges = [
        restored(metric(patched_edges(net.apply, params, clean, corrupt, path[:1], path[1:2])), *ends) for path in names
    ]
    near = {"atol": 1e-5 * float(3 / abs(ends[0] - ends[1]))}  # roundings of logits of size 3, over the difference
    np.testing.assert_allclose(found, pairs.ravel(), **near)
    np.testing.assert_allclose(np.array(edges), pairs.ravel(), **near)


@pytest.mark.parametrize(
    ("senders", "receivers", "sentence"),
    [
        (["0.2"], ["1.0.k"], "sender '0.2' is none of this network, of 2 layers of 2 heads: there are"),
        (["pos"], ["1.0.k"], "sender 'pos' is none of this network"),
        (["0.0"], ["1.0.o"], "receiver '1.0.o' is none of this network, of 2 layers of 2 heads: there are 1.0."),
        (["0.0"], ["mlp1"], "receiver 'mlp1' is none of this network, of 2 layers of 2 heads: there are mlp1.in"),
        (["1.0"], ["1.1.k", "0.0.q"], "sender 1.0 comes before none of the receivers 1.1.k, 0.0.q."),
        (["0.0"], ["1.0.k", "out"], "it must stand alone."),
        ([], ["out"], "there must be at least one of each."),
    ],
)
def test_edges_that_are_none_are_refused(biased, senders, receivers, sentence):
    with pytest.raises(ValueError) as caught:
        patched_edges(*biased, senders, receivers)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (["0.0", "1.0.k"], "it must be a sender, inputs that it passes, and out at the end."),
        (["out"], "it must be a sender, inputs that it passes, and out at the end."),
        (["0.0", "0.1.k", "out"], "0.0 does not come before 0.1.k."),
        (["1.0", "out", "out"], "and out at the end."),
    ],
)
def test_paths_that_are_none_are_refused(biased, path, sentence):
    with pytest.raises(ValueError) as caught:
        patched_path(*biased, path)
    assert sentence in str(caught.value)


def test_clamps_and_unknown_words_are_refused(biased):
    apply, params, clean, corrupt = biased
    with pytest.raises(ValueError, match="mlps is 'frozen': it must be one of through, held"):
        patched_edges(apply, params, clean, corrupt, ["0.0"], ["out"], "frozen")
    clamped = Net.of(BiasedTransformer, d_mlp=12, layer_norm=True, clamps=(("z", jnp.multiply),), **SIZES)
    with pytest.raises(ValueError, match=r"net\.clamps has z"):
        patched_path(clamped.apply, params, clean, corrupt, ["0.0", "out"])
    with pytest.raises(ValueError, match="paths must have at least one path"):
        path_shares(apply, params, clean, corrupt, jnp.mean, [])


def test_a_stream_with_norms_behind_each_sum_has_no_paths(biased):
    net = Net.of(PostNormTransformer, d_mlp=12, **SIZES)
    with pytest.raises(ValueError, match="a LayerNorm behind each sum leaves no path"):
        patched_path(net.apply, net.init(jax.random.key(0)), *biased[2:], ["0.0", "1.0.k", "out"])
