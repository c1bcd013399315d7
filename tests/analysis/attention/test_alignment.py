"""Interchange interventions and DAS on networks whose variables are known, hidden in a rotated basis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.attention import alignment as das
from toylab.analysis.attention import interchange
from toylab.analysis.attention.interchange import Site
from toylab.base import Config, Run
from toylab.models import Dense, Net, Reverse, Transformer
from toylab.tasks import Program

WIDTH = 8
NET = Net.of(Dense, d_in=6, d_out=2, widths=(WIDTH,), activation="linear")
SITE = Site("post_0")
KEY = jax.random.key(0)


def rotation(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


@pytest.fixture(scope="module")
def adder():
    """Inputs ±1. The hidden layer holds u = x₀ + x₁ and v = x₂ + x₃ along two of eight rotated directions, and x₀, x₂, x₄,
    x₅ along others, which nothing reads. The answer is whether u + v > 0 (1/2 is added, so that it is never a tie)."""
    R, reads = rotation(WIDTH), np.zeros((6, WIDTH))
    reads[[0, 1], 0] = reads[[2, 3], 1] = 1
    reads[0, 2] = reads[2, 3] = reads[4, 4] = reads[5, 5] = 1
    out = np.zeros((WIDTH, 2))
    out[:2, 1] = 3
    params = {"W_0": reads @ R, "W_out": R.T @ out, "b_0": np.zeros(WIDTH), "b_out": np.array([0, 1.5])}
    params = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    base, source = np.random.default_rng(1).choice([-1.0, 1.0], (2, 400, 6)).astype(np.float32)
    return params, jnp.asarray(base), jnp.asarray(source), R


def answers(base, source, variable):
    """Of the causal model, with a variable of the source: u, or x₀ + x₂ (a wrong model: the network reads no such sum)."""
    own = [0, 1] if variable == "u" else [0, 2]
    mixed = base.at[:, own].set(source[:, own])
    return (mixed[:, :4].sum(1) > -0.5).astype(int)


def test_a_swap_along_the_variable_swaps_it(adder):
    params, base, source, R = adder
    labels = answers(base, source, "u")
    score = lambda basis: interchange.interchange_accuracy(  # noqa: E731
        interchange.interchanged(NET.apply, params, base, source, SITE, basis), labels
    )
    assert score(R[:1].T) == 1  # u's own direction
    whole = interchange.interchanged(NET.apply, params, base, source, SITE)
    np.testing.assert_allclose(whole, NET.apply(params, source)[0], atol=1e-5)  # the site is all that is read
    assert score(R[1:2].T) < 0.9 and score(None) < 0.9
    assert interchange.interchange_accuracy(NET.apply(params, base)[0], labels) < 0.9


def test_das_finds_the_direction_and_no_wrong_variable(adder):
    params, base, source, R = adder
    found = {}
    for variable in ("u", "wrong"):
        data = {"base": base, "source": source, "label": answers(base, source, variable)}
        fitted = das.alignment(SITE, 1, 150)
        found[variable] = jax.jit(lambda data, fitted=fitted: fitted(params, Run(Config(None, NET, None), data)))(data)
    own = found["u"]
    assert own["aligned"] == 1 > own["whole"] and own["none"] < 0.9
    assert (
        abs(own["basis"][:, 0] @ R[0]) > 0.95
    )  # a little beside it margins are wider; of a random direction it is 0.35
    assert found["wrong"]["aligned"] < 0.9  # of no direction does a swap give x₀ + x₂


@pytest.fixture(scope="module")
def backwards():
    """`Reverse`, whose residual stream is rotated: MLP 0 writes the length, MLP 1 reads it. At position 1 the answer is the
    base's token at the source's length, where that is not beyond the base's end."""
    machine, task = Net.of(Reverse), Program(name="reverse", d_vocab=5, n_ctx=6)
    params = machine.init(jax.random.key(0))
    d_model = params["W_E"].shape[1]
    R = jnp.asarray(rotation(d_model), jnp.float32)
    into, out_of = ("W_E", "W_pos", "W_O", "W_out"), ("W_Q", "W_K", "W_V", "W_in", "W_U")
    params |= {name: params[name] @ R for name in into}
    params |= {name: jnp.einsum("ed,...dn->...en", R.T, params[name]) for name in out_of}
    params["b_out"] = params["b_out"] @ R
    base, source = (task.sample(jax.random.key(seed), 256) for seed in (1, 2))
    lengths, own = ((x < 3).sum(1) for x in (source, base))
    labels = jnp.zeros((256, 6), int).at[:, 1].set(jnp.take_along_axis(base, lengths[:, None], 1)[:, 0])
    counts = jnp.zeros((256, 6), bool).at[:, 1].set(lengths <= own)
    return machine.apply, params, base, source, jnp.where(counts, labels, 0), counts, R[12:17].T


def test_the_length_lies_in_its_space(backwards):
    apply, params, base, source, labels, counts, space = backwards
    site = Site("resid_pre", 1, position=1)
    for basis, right in ((space, True), (None, False), (space[:, :4], False)):
        logits = interchange.interchanged(apply, params, base, source, site, basis)
        assert (interchange.interchange_accuracy(logits, labels, counts) > 0.999) == right
    elsewhere = interchange.interchanged(apply, params, base, source, Site("resid_pre", 1, position=2), space)
    assert interchange.interchange_accuracy(elsewhere, labels, counts) < 0.9


@pytest.mark.slow
def test_das_finds_the_space_of_the_length(backwards):
    apply, params, base, source, labels, counts, _ = backwards
    site = Site("resid_pre", 1, position=1)
    half = slice(128)
    basis, losses = jax.jit(
        lambda *given: das.fit_alignment(jax.random.key(0), apply, params, *given[:3], site, 5, 300, given[3])
    )(base[half], source[half], labels[half], counts[half])
    logits = interchange.interchanged(apply, params, base[128:], source[128:], site, basis)
    assert interchange.interchange_accuracy(logits, labels[128:], counts[128:]) > 0.95
    assert losses[-1] < np.log(
        1 + 2 / np.e
    )  # what the exact swap has: the right one of three logits is 1, the others 0


def test_bases_are_orthonormal():
    Q = das.orthonormal(np.random.default_rng(0).normal(size=(7, 3)))
    np.testing.assert_allclose(Q.T @ Q, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(das.orthonormal(-np.eye(4)[:, :2]), -np.eye(4)[:, :2], atol=1e-6)


@pytest.mark.parametrize(
    ("site", "sentence"),
    [
        (Site("resid"), "site.name is 'resid': the activations are resid_pre"),
        (Site("resid_pre", 2, 0), "site.layer is 2: resid_pre has the layers 0 to 1."),
        (Site("resid_pre", 0), "site.position must be given: resid_pre has such an axis."),
        (Site("resid_pre", 0, 5), "site.position is 5: resid_pre has 5 of them."),
        (Site("resid_pre", 0, 0, 1), "site.head is 1: resid_pre has no such axis."),
        (Site("z", 0, 0), "site.head must be given: z has such an axis."),
        (Site("result", 0, 0, 2), "site.head is 2: result has 2 of them."),
    ],
)
def test_sites_that_are_none_are_refused(site, sentence):
    sizes = {"d_vocab": 7, "d_vocab_out": 7, "n_ctx": 5, "n_layers": 2, "d_model": 8, "n_heads": 2, "d_mlp": 0}
    small = Net.of(Transformer, **sizes)
    params, x = small.init(jax.random.key(0)), jnp.zeros((3, 5), int)
    with pytest.raises(ValueError) as caught:
        interchange.site_values(small.apply, params, x, site)
    assert str(caught.value).startswith(sentence)


def test_what_does_not_fit_is_refused(adder):
    params, base, source, R = adder
    apply, labels = NET.apply, answers(base, source, "u")
    for call, sentence in (
        (lambda: interchange.interchanged(apply, params, base, source[:3], SITE), r"source has shape \(3, 6\)"),
        (lambda: interchange.interchanged(apply, params, base, source, SITE, R[:3]), r"basis has shape \(3, 8\)"),
        (lambda: das.fit_alignment(KEY, apply, params, base, source, labels, SITE, 9), "k must lie in 1 to 8"),
        (lambda: das.fit_alignment(KEY, apply, params, base, source, labels[:, None], SITE, 1),
         r"labels has shape \(400, 1\): it must be \[400\]"),
        (lambda: interchange.interchanged(apply, params, base, source, SITE, 2 * R[:1].T), "off by 3 from orthonormal"),
        (lambda: das.alignment(SITE, 1)(params, Run(Config(None, NET, None), {"base": [0], "source": [0], "label": 0})),
         "data has 1 pairs of base and source"),
        (lambda: das.orthonormal(np.ones((2, 3))), "at most as many columns as rows"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            call()
