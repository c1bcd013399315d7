"""Tables of skip-trigrams against a network's own answers, where positions and the choice of fillers say nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from toylab.analysis.attention import trigrams
from toylab.base import Config, Run
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.tasks import SkipTrigrams

TASK = SkipTrigrams(n_sources=3, n_destinations=2, n_answers=4, n_fillers=1, n_ctx=5)


def network(positions):
    net = Net.of(Transformer, d_vocab=6, d_vocab_out=4, n_ctx=5, d_model=8, n_heads=2, d_mlp=0, positions="shortformer")
    params = net.init(jax.random.key(0))
    return net, params | {"W_pos": positions * params["W_pos"].at[:4].set(params["W_pos"][0])}  # the last is another


def test_tables_answer_as_the_network_does_with_one_filler_and_places_alike():
    pairs = [(a, b) for a in range(3) for b in range(2)]
    for positions in (0, 1):
        net, params = network(positions)
        logits, _ = net.apply(params, jnp.array([[5, a, 5, 5, 3 + b] for a, b in pairs]))
        share, effect, rest = trigrams._tables(params, 3, 2, 3)
        read = jnp.einsum("hab,hac->abc", share, effect) + rest
        np.testing.assert_allclose([read[a, b] for a, b in pairs], logits, atol=1e-5)
        said = np.asarray(logits).argmax(-1).reshape(3, 2)
        law = np.eye(4, dtype=np.float32)[said]
        law[0, 0] = np.roll(law[0, 0], 1)  # the network is wrong in one of six
        found = trigrams.table(params, Run(config=Config(TASK.replace(law=law), net, AdamW()), data={}))
        assert abs(found["answered"] - 5 / 6) < 1e-6


def test_the_strongest_skip_trigrams_are_the_largest_of_all_and_have_their_law():
    net, params = network(1)
    found = {key: np.asarray(x) for key, x in trigrams.table(params, Run(Config(TASK, net, AdamW()), {}), k=5).items()}
    share, effect, _ = (np.asarray(x) for x in trigrams._tables(params, 3, 2, 3))
    every = share[..., None] * (effect - effect.mean(-1, keepdims=True))[:, :, None]  # [H, A, B, C]
    for head in range(2):
        best = np.sort(every[head].ravel())[::-1][:5]
        np.testing.assert_allclose(found["contribution"][head], best, rtol=1e-5)
        at = tuple(found[key][head] for key in ("source", "destination", "output"))
        np.testing.assert_allclose(every[head][at], best, rtol=1e-5)
        np.testing.assert_array_equal(found["law"][head], np.asarray(TASK.answers())[at])
