"""GPT-NeoX's blocks: what attention and MLP read, what turns, and which nets there are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import edges
from toylab.models import BiasedTransformer, NeoXTransformer, Net
from toylab.models.positions import rotated

SIZES = {"d_vocab": 7, "d_vocab_out": 7, "n_ctx": 6, "n_layers": 2, "d_model": 8, "n_heads": 2, "d_mlp": 5}
TOKENS = jnp.array([[0, 1, 2, 3, 4, 5], [6, 6, 3, 2, 0, 1]])


def of(**fields):
    return Net.of(NeoXTransformer, **SIZES, **fields)


def drawn(net):
    """Params whose biases are not 0."""
    return {
        name: x + 0.3 * jax.random.normal(jax.random.key(i), x.shape)
        for i, (name, x) in enumerate(net.init(jax.random.key(0)).items())
    }


def test_without_parallel_and_all_turned_it_is_the_biased_transformer():
    net = of(parallel=False, readout="all")
    same = Net.of(BiasedTransformer, **SIZES, layer_norm=True, positions="rotary", activation="gelu", readout="all")
    params = drawn(net)
    found, cache = net.apply(params, TOKENS)
    wanted, other = same.apply(params, TOKENS)
    np.testing.assert_array_equal(found, wanted)
    assert all((cache[name] == other[name]).all() for name in other)
    np.testing.assert_array_equal(net.apply(params, TOKENS, full=False)[0], found)


@pytest.mark.parametrize("parallel", [True, False])
def test_what_the_mlp_reads_does_or_does_not_depend_on_its_layer_s_attention(parallel):
    net = of(parallel=parallel, rotary_dim=2)
    params = drawn(net)
    still = net.apply(params, TOKENS)[1]
    moved = net.apply(params, TOKENS, {"attn_out": lambda x, layer: x + 1.0 * (layer == 1) * jnp.arange(8)})[1]
    assert (moved["mlp_pre"][1] == still["mlp_pre"][1]).all() == parallel
    added = still["resid_pre"] + still["attn_out"] + still["mlp_out"]
    np.testing.assert_allclose(still["resid_post"], added, atol=1e-5)  # a few roundings of numbers below 10


def test_the_first_entries_turn_and_the_rest_stay():
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    found = np.asarray(rotated(jnp.asarray(x), 9, 4))
    np.testing.assert_array_equal(found[..., :4], rotated(jnp.asarray(x[..., :4]), 9))
    np.testing.assert_array_equal(found[..., 4:], x[..., 4:])
    for all_turn in (0, 6):
        np.testing.assert_array_equal(rotated(jnp.asarray(x), 9, all_turn), rotated(jnp.asarray(x), 9))


def test_scores_depend_on_distances_alone():
    """With one token everywhere a query's scores are those of the query before, one key on."""
    net = of(rotary_dim=2)
    scores = net.apply(drawn(net), jnp.full((1, 6), 3))[1]["scores"][0]
    np.testing.assert_allclose(
        scores[..., 5, 1:6], scores[..., 4, 0:5], atol=1e-4
    )  # products of some ten, by cos and sin
    assert float(jnp.abs(scores[..., 5, 5] - scores[..., 5, 0]).max()) > 1e-2


def test_nets_that_there_are_not_are_refused():
    for fields, message in (
        ({"rotary_dim": 3}, "net.rotary_dim is 3: it must be even, and at most a head's 4 dimensions."),
        ({"rotary_dim": 6}, "net.rotary_dim is 6: it must be even, and at most"),
        ({"n_heads": 3}, "net.d_model is 8: it must be divisible by net.n_heads, which is 3."),
        ({"d_mlp": 0}, "net.d_mlp is 0: it must be at least 1."),
    ):
        with pytest.raises(ValueError, match=message.split(":")[0]) as error:
            of().with_fields(**fields).check()
        assert message in str(error.value)


def test_what_takes_the_mlp_to_come_after_attention_is_refused():
    net = of()
    params = drawn(net)
    with pytest.raises(ValueError, match=r"^patch names \['mlp_input'\]: the activations are embed, q_input"):
        net.apply(params, TOKENS, {"mlp_input": lambda x, layer: x})
    graph = edges.Graph.of(params)
    with pytest.raises(ValueError, match="mlp_input"):
        edges.circuit(net.apply, params, graph, TOKENS, graph.edges)
