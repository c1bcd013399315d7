"""Edges of the head-level graph on the hand-built induction machine, whose circuit is known, and on a random network with
MLPs and LayerNorm, where cutting an edge must be what patching the receiver's input by hand is."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention.discovery import (
    acdc,
    best_f1,
    edge_attribution,
    edge_effects,
    kl_divergence,
    nearest,
    precision_recall,
    roc,
    squared_distance,
    threshold_roc,
)
from toylab.analysis.attention.edges import Graph, circuit, written
from toylab.models import (
    BiasedTransformer,
    ExemplarTransformer,
    Histogram,
    InductionMachine,
    Net,
    PizzaTransformer,
    Transformer,
)

QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile
MACHINE = Graph(n_layers=2, n_heads=1)
TRUE = MACHINE.mask(InductionMachine.EDGES)


@pytest.fixture(scope="module")
def machine(reference):
    """What discovery finds on the reference's machine: cut edges carry nothing, or what they do on its other input."""
    golden = np.load(reference / "attention" / "g6_handbuilt_induction.npz")
    sizes = {"d_vocab": 13, "d_vocab_out": 13, "n_ctx": 17, "n_layers": 2, "d_model": 56, "d_head": 17, "n_heads": 1}
    apply = Net.of(Transformer, **sizes, d_mlp=0, readout="all").apply
    params = {name[2:].replace("W_P", "W_pos"): np.float32(golden[name]) for name in golden.files if name[:2] == "w_"}
    x = jnp.asarray(golden["tokens"])

    @partial(jax.jit, compiler_options=QUICK)
    def find(params):
        other = written(apply, params, MACHINE, jnp.asarray(golden["src"]))
        instead = jnp.stack([0 * other, other])

        def found(substitute):
            effects = edge_effects(apply, params, MACHINE, x, squared_distance, substitute)
            keep = jax.lax.map(lambda t: acdc(apply, params, MACHINE, x, squared_distance, t, substitute), thresholds)
            return effects, keep

        def metric(logits):
            return jnp.mean(jnp.take_along_axis(logits[:, 9:16], x[:, 10:, None], axis=2))

        attributed = [edge_attribution(apply, params, MACHINE, x, metric, None, points) for points in (1, 16)]
        return jax.lax.map(found, instead), attributed, apply(params, x)[0], metric(apply(params, x)[0])

    thresholds = jnp.array([1e-6, 1.0, 100.0])
    (effects, keep), attributed, logits, metric = jax.tree.map(np.asarray, find(params))
    return {
        "effects": effects,
        "keep": keep,
        "attributed": attributed,
        "logits": logits,
        "metric": metric,
        "golden": golden,
    }


def test_the_machine_has_19_edges_and_7_are_true(machine):
    assert MACHINE.edges.sum() == 19 and TRUE.sum() == 7
    assert set(MACHINE.named(TRUE)) == set(InductionMachine.EDGES)
    np.testing.assert_allclose(machine["logits"], machine["golden"]["logits"], atol=1e-5)


def test_zero_ablation_finds_the_true_edges_and_no_others(machine):
    effects, keep = machine["effects"][0], machine["keep"][0]
    assert np.all(effects[~TRUE] == 0) and effects[TRUE].min() > 100
    for found in keep:
        np.testing.assert_array_equal(precision_recall(found, TRUE), (1, 1))
    gone = np.mean(np.sum(machine["golden"]["logits"] ** 2, axis=2))  # nothing arrives: all logits are 0
    assert effects[MACHINE.at("1.0", "out")] == pytest.approx(gone, rel=1e-5)
    assert effects[MACHINE.at("embed", "1.0.v")] == pytest.approx(gone, rel=1e-5)


def test_resampling_misses_the_positions_which_are_the_same_in_every_input(machine):
    effects, keep = machine["effects"][1], machine["keep"][1]
    unseen = MACHINE.mask([("pos", "0.0.q"), ("pos", "0.0.k")])
    assert np.all(effects[~TRUE | unseen] == 0) and np.all(effects[TRUE & ~unseen] > 100)
    np.testing.assert_array_equal(keep, np.broadcast_to(TRUE & ~unseen, keep.shape))


@pytest.mark.slow
def test_attribution_is_blind_behind_saturated_patterns_and_along_the_way_sees_them(machine):
    plain, integrated = machine["attributed"]
    behind = TRUE & ~MACHINE.mask([("embed", "1.0.v"), ("1.0", "out")])
    assert np.abs(plain[behind]).max() < 1e-12 and np.abs(plain[TRUE & ~behind]).min() > 10
    assert float(roc(np.abs(integrated), TRUE, MACHINE.edges)[2]) == 1
    assert -integrated.sum() == pytest.approx(float(machine["metric"]), rel=2e-3)  # with all edges cut the metric is 0


def random_network(**fields):
    sizes = {"d_vocab": 5, "d_vocab_out": 5, "n_ctx": 4, "n_layers": 2, "n_heads": 2, "d_model": 8, "d_mlp": 6}
    net = Net.of(Transformer, **{**sizes, "readout": "all", **fields})
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params = {name: np.float32(rng.normal(size=leaf.shape) * 0.7) for name, leaf in shapes.items()}
    x, other = rng.integers(0, 5, (2, 3, 4))
    return net.apply, params, x, other


@pytest.mark.slow
def test_a_cut_edge_is_a_patch_of_the_receivers_input():
    apply, params, x, other = random_network(layer_norm=True)
    graph = Graph(n_layers=2, n_heads=2, mlps=True)
    every = jnp.asarray(graph.edges, jnp.float32)

    def both_ways():
        """Logits with an edge cut, to zero or to the other input, in the graph and by a patch: [edges, 2, …]."""
        sent, instead = written(apply, params, graph, x), written(apply, params, graph, other)
        embed, pos, first, _, mlp, *_, last = sent
        by_hand = {
            ("pos", "0.1.q"): {"q_input": lambda v, layer: v.at[:, 1].add(-pos) if layer == 0 else v},
            ("embed", "0.0.v"): {"v_input": lambda v, layer: v.at[:, 0].add(-embed) if layer == 0 else v},
            ("0.0", "1.1.k"): {"k_input": lambda v, layer: v.at[:, 1].add(-first) if layer == 1 else v},
            ("0.0", "mlp0.in"): {"mlp_input": lambda v, layer: v - first if layer == 0 else v},
            ("mlp0", "mlp1.in"): {"mlp_input": lambda v, layer: v - mlp if layer == 1 else v},
            ("mlp1", "out"): {"resid_post": lambda v, layer: v - last if layer == 1 else v},
        }
        cuts = jnp.stack([every, *(every - graph.mask([edge]) for edge in by_hand)])
        ours = jax.lax.map(lambda keep: circuit(apply, params, graph, x, keep), cuts)
        patched = jnp.stack([apply(params, x, patch)[0] for patch in ({}, *by_hand.values())])
        swap = {"resid_post": lambda v, layer: v - last + instead[-1] if layer == 1 else v}
        swapped = circuit(apply, params, graph, x, cuts[-1], instead), apply(params, x, swap)[0]
        return ours, patched, *swapped, sent.sum(axis=0), apply(params, x)[1]["resid_post"][-1]

    ours, patched, ours_swapped, patched_swapped, total, resid = jax.jit(both_ways, compiler_options=QUICK)()
    np.testing.assert_allclose(ours, patched, atol=2e-5)
    np.testing.assert_allclose(ours_swapped, patched_swapped, atol=2e-5)
    np.testing.assert_allclose(total, resid, atol=1e-5)
    assert np.abs(ours[1:] - ours[0]).max(axis=(1, 2, 3)).min() > 1e-3


def test_acdc_is_the_greedy_sweep_and_attribution_the_slope():
    """Against a plain loop over edges, and against finite differences; positions are not in the residual here."""
    apply, params, x, other = random_network(n_heads=1, d_mlp=0, positions="rotary")
    graph = Graph(n_layers=2, n_heads=1, positions=False)
    every = graph.edges.astype(np.float32)

    @partial(jax.jit, compiler_options=QUICK)
    def at(keep):
        """The distance from the whole network and the mean of the first logit."""
        sub = written(apply, params, graph, other)
        logits = circuit(apply, params, graph, x, keep, sub)
        return kl_divergence(logits, apply(params, x)[0]), jnp.mean(logits[..., 0])

    @partial(jax.jit, compiler_options=QUICK)
    def found():
        sub = written(apply, params, graph, other)
        scores = edge_attribution(apply, params, graph, x, lambda logits: jnp.mean(logits[..., 0]), sub)
        return acdc(apply, params, graph, x, kl_divergence, 1.0, sub), scores

    keep, now = every, 0.0
    for receiver in reversed(graph.receivers):
        for sender in reversed(graph.senders):
            if graph.edges[graph.at(sender, receiver)]:
                without = keep - graph.mask([(sender, receiver)])
                after = float(at(without)[0])
                keep, now = (without, after) if after - now < 1 else (keep, now)
    kept, scores = found()
    np.testing.assert_array_equal(kept, keep > 0)
    assert 0 < keep.sum() < graph.edges.sum()
    for edge in (("0.0", "1.0.v"), ("embed", "0.0.q"), ("1.0", "out")):
        by = np.float32(1e-2) * graph.mask([edge])
        slope = (at(every - by)[1] - at(every + by)[1]) / 2e-2
        assert scores[graph.at(*edge)] == pytest.approx(float(slope), abs=3e-4)


SIZES = {"d_vocab": 7, "d_vocab_out": 6, "n_ctx": 5, "n_layers": 3, "d_model": 8, "n_heads": 2, "d_mlp": 6}
FULL = {**SIZES, "layer_norm": True, "readout": "all"}
NETS = {  # every module with heads, by what it adds to the residual and how it reads it
    **{f"biases, {kind}": Net.of(BiasedTransformer, **FULL, positions=kind)
       for kind in ("abs", "shortformer", "rotary", "relative", "none")},
    "not causal, read at the end": Net.of(BiasedTransformer, **{**SIZES, "d_mlp": 0}, causal=False),
    "hidden read-out": Net.of(Transformer, **FULL, activation="gelu", readout_layers=2),
    "no output matrix": Net.of(Transformer, **SIZES, output_matrix=False),
    "vectors": Net.of(Transformer, **FULL, inputs="vectors"),
    "residual": Net.of(Transformer, **{**FULL, "d_vocab": 8}, inputs="residual"),
    "pizza": Net.of(PizzaTransformer, **SIZES, attention_rate=0.3),
    "exemplars": Net.of(ExemplarTransformer, d_features=5, n_labels=3, n_layers=2, d_model=8, n_heads=2),
    "written by hand": Net.of(Histogram, d_vocab=7, n_ctx=5, ),
}  # fmt: skip


def drawn(net, scale=0.5):
    """Params of which none is 0, and inputs [3, 5, …]."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params = {name: jnp.asarray(rng.normal(size=leaf.shape) * scale, jnp.float32) for name, leaf in shapes.items()}
    kind = "vectors" if net.module is ExemplarTransformer else dict(net.sizes).get("inputs", "tokens")
    width = params["W_Q"].shape[2] if kind == "residual" else len(params.get("W_E", ()))
    x = rng.integers(0, net.d_vocab, (3, 5)) if kind == "tokens" else rng.normal(size=(3, 5, width))
    return params, jnp.asarray(x, jnp.int32 if kind == "tokens" else jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_the_circuit_of_all_edges_is_the_network(name):
    """What no sender writes (b_O, biases of other kinds) is there in every circuit, with no edge too."""
    net = NETS[name]
    params, x = drawn(net)
    graph = Graph.of(params)

    def found():
        logits, cache = net.apply(params, x)
        every, none = (circuit(net.apply, params, graph, x, keep * graph.edges) for keep in (1, 0))
        carried = jnp.sum(params["b_O"], axis=0) if "b_O" in params else 0
        alone = net.apply(
            params, x, {"resid_post": lambda v, layer: 0 * v + carried if layer == len(cache["z"]) - 1 else v}
        )
        total = written(net.apply, params, graph, x).sum(axis=0) + carried
        return logits, every, total, cache["resid_post"][-1], none, alone[0]

    with jax.default_matmul_precision("highest"):
        logits, every, total, resid, none, alone = jax.jit(found, compiler_options=QUICK)()
    for ours, theirs in ((every, logits), (total, resid), (none, alone)):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(resid).max()))


def test_edges_of_positions_that_are_not_added_carry_nothing():
    """W_pos of shortformer goes to queries and keys past the residual: "pos" writes 0, "embed" the embedding."""
    net = NETS["biases, shortformer"]
    params, x = drawn(net)
    graph = Graph.of(params)
    sent = written(net.apply, params, graph, x)
    assert graph.senders[:2] == ("embed", "pos") and not sent[1].any()
    np.testing.assert_array_equal(sent[0], params["W_E"][x])


def test_attribution_along_the_way_sums_to_what_all_edges_do_with_biases_too():
    """The integrated scores sum to M(none) − M(all): with one head and no LayerNorm a polynomial, to rounding."""
    net = Net.of(BiasedTransformer, **{**SIZES, "n_layers": 1, "d_mlp": 0}, readout="all")
    params, x = drawn(net, 0.3)
    graph = Graph.of(params)
    metric = lambda logits: jnp.mean(logits[..., 0])  # noqa: E731

    def found():
        scores = edge_attribution(net.apply, params, graph, x, metric, None, 32)
        none = circuit(net.apply, params, graph, x, 0 * graph.edges)
        effects = edge_effects(net.apply, params, graph, x, squared_distance)
        kept = acdc(net.apply, params, graph, x, squared_distance, 0.0)
        return scores.sum(), metric(none) - metric(net.apply(params, x)[0]), effects, kept

    total, change, effects, kept = jax.jit(found, compiler_options=QUICK)()
    assert float(total) == pytest.approx(float(change), abs=2e-4) and abs(float(change)) > 1e-2
    assert (effects[graph.edges] > 0).all()
    np.testing.assert_array_equal(kept, graph.edges)  # no edge is for nothing, so none falls at threshold 0


def double(value, layer):
    return 2 * value


def test_a_graph_of_another_network_is_refused_and_so_is_a_clamp_on_what_is_patched():
    net = NETS["no output matrix"]
    params, x = drawn(net)
    keep = np.ones((3, 5))
    for graph in (Graph(1, 2, mlps=True), Graph(3, 1, mlps=True)):
        with pytest.raises(
            ValueError, match=r"^graph is Graph\(n_layers=.*, and of these params it is Graph\(n_layers=3"
        ):
            written(net.apply, params, graph, x)
        with pytest.raises(ValueError, match=r"^graph is Graph\("):
            circuit(net.apply, params, graph, x, np.ones(graph.edges.shape))
    rotary = {name: value for name, value in params.items() if name != "W_pos"}
    with pytest.raises(ValueError, match=r"positions=True.* and of these params .*positions=False"):
        circuit(net.apply, rotary, Graph(3, 2, mlps=True), x, np.ones(Graph(3, 2, mlps=True).edges.shape))
    with pytest.raises(ValueError, match=r"^params has W_E, W_U: a graph of heads needs W_Q\.$"):
        Graph.of({"W_E": keep, "W_U": keep})
    clamped = net.replace(clamps=(("resid_post", double),))
    with pytest.raises(ValueError, match=r"^net\.clamps has resid_post, which is patched here"):
        circuit(clamped.apply, params, Graph.of(params), x, Graph.of(params).edges)


class Overwriting(Transformer):
    """Adds 1 to the residual stream where no sender is."""

    def attended(self, layer, added):
        return added + 1


def test_clamps_elsewhere_are_in_force_in_every_circuit():
    net = NETS["biases, abs"].replace(clamps=(("z", double),))
    params, x = drawn(net)
    graph = Graph.of(params)
    with jax.default_matmul_precision("highest"):
        ours = circuit(net.apply, params, graph, x, graph.edges)
        np.testing.assert_allclose(ours, net.apply(params, x)[0], atol=2e-5)


def test_what_no_sender_writes_and_nothing_names_is_refused_and_nan_under_jit():
    net = Net.of(Overwriting, **FULL)
    params, x = drawn(net)
    graph = Graph.of(params)
    with pytest.raises(ValueError, match=r"^the residual stream is off by 3 from what its senders and b_O write"):
        circuit(net.apply, params, graph, x, graph.edges)
    assert np.isnan(jax.jit(lambda x: circuit(net.apply, params, graph, x, graph.edges))(x)).all()


def test_mlps_that_are_no_nodes_are_carried():
    net = NETS["hidden read-out"]
    params, x = drawn(net)
    graph = Graph(3, 2, mlps=False)
    with jax.default_matmul_precision("highest"):
        ours = circuit(net.apply, params, graph, x, graph.edges)
        np.testing.assert_allclose(ours, net.apply(params, x)[0], atol=2e-5)


def test_rates_and_area():
    true, edges = np.array([[True, True, False, False]]), np.ones((1, 4), bool)
    false_rate, true_rate, area = roc(jnp.array([[3.0, 1.0, 1.0, 0.0]]), true, edges)
    assert area == pytest.approx((2 + 0.5 + 1) / 4)  # one tie among four pairs
    np.testing.assert_allclose(true_rate, [0, 0.5, 1, 1, 1])
    np.testing.assert_allclose(false_rate, [0, 0, 0, 0.5, 1])
    found = np.array([[[True, False, True, False]], [[False] * 4]])
    np.testing.assert_allclose(precision_recall(found, true), [[0.5, 1], [0.5, 0]])


def test_the_curve_over_thresholds_runs_from_no_edge_to_all():
    """Of four edges two are true; the method drops a false one first, then a true one together with the other false one."""
    true, edges = np.array([[True, True, False, False]]), np.ones((1, 4), bool)
    kept = np.array([[[[True, True, False, True]], [[True, False, False, False]]]])  # [batch, thresholds, S, R]
    false_rate, true_rate, area = threshold_roc(kept, true, edges)
    np.testing.assert_array_equal(false_rate, [[0, 0, 0.5, 1]])
    np.testing.assert_array_equal(true_rate, [[0, 0.5, 1, 1]])
    np.testing.assert_array_equal(area, [0.75 / 2 + 0.5])


def test_the_best_f1_is_over_thresholds():
    true = np.array([[True, True, False]])
    kept = np.array([[[[True, True, True]], [[True, False, False]]], [[[False] * 3]] * 2])  # [batch, thresholds, S, R]
    np.testing.assert_allclose(best_f1(kept, true), [0.8, 0])  # P 2/3, R 1; and P 1, R 1/2 gives 2/3


def test_the_nearest_level_is_so_by_ratio():
    assert nearest(np.array([1.0, 10, 100]), 4) == 1 and nearest(np.array([1.0, 10, 100]), 0.01) == 0


def test_edges_between_two_layers_go_from_heads_to_queries_keys_and_values():
    graph = Graph(2, 2)
    named = graph.named(graph.between(0, 1))
    assert len(named) == 12 and ("0.0", "1.1.k") in named and {sender for sender, _ in named} == {"0.0", "0.1"}


def test_an_edge_that_is_not_there():
    with pytest.raises(
        ValueError, match=r"edge .'1.0', '0.0.q'. is not in the graph: senders are embed, pos, 0.0, 1.0,"
    ):
        MACHINE.mask([("1.0", "0.0.q")])
