"""Circuits of hand-built heads, exact identities between them, then the reference data."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import attention, checkpoint

from toylab.analysis.attention import circuits, trigrams
from toylab.analysis.attention.paths import path_expansion
from toylab.models import BiasedTransformer, Net, Transformer

SHAPES = {"W_E": (7, 8), "W_pos": (6, 8), "W_Q": (2, 3, 8, 4), "W_K": (2, 3, 8, 4), "W_V": (2, 3, 8, 4),
          "W_O": (2, 3, 4, 8), "W_U": (8, 7)}  # fmt: skip


def random_params(seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in (SHAPES | shapes).items()}


@jax.jit
def measured(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Everything, under the names of the reference data."""
    found = {"full_QK": circuits.qk_circuit(params), "full_OV": circuits.ov_circuit(params),
             "direct": circuits.direct_path(params), "copy_OV": circuits.copying_score(params),
             "copy_QK": circuits.matching_score(params), "virtual_OV": circuits.virtual_ov(params),
             "kcomp_full_QK": circuits.composed_qk(params), "eig_OV": circuits.ov_eigenvalues(params)}  # fmt: skip
    found |= {f"comp_{kind}": circuits.composition(params, kind) for kind in ("Q", "K", "V")}
    found["diag_frac_OV"] = circuits.diagonal_share(found["full_OV"])
    return found | ({"pos_QK": circuits.positional_qk(params)} if "W_pos" in params else {})


def exact(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with jax.enable_x64():
        return {name: np.asarray(x) for name, x in measured({k: w.astype(float) for k, w in params.items()}).items()}


def test_eigenvalues_of_the_small_product_are_those_of_the_circuit():
    params = random_params()
    found = exact(params)
    for circuit, score in (("full_OV", "copy_OV"), ("full_QK", "copy_QK")):
        values = np.linalg.eigvals(found[circuit])
        np.testing.assert_allclose(found[score], values.sum(-1).real / np.abs(values).sum(-1), atol=1e-10)
    largest = np.sort(np.abs(np.linalg.eigvals(found["full_OV"])), axis=-1)[..., ::-1]
    np.testing.assert_allclose(np.abs(found["eig_OV"]), largest[..., :4], atol=1e-9)
    np.testing.assert_allclose(largest[..., 4:], 0, atol=1e-9)  # rank dh


def test_composition_is_the_ratio_of_whole_products():
    params = random_params(1)
    found = exact(params)
    W_QK, W_OV = params["W_Q"] @ params["W_K"].swapaxes(-1, -2), params["W_V"] @ params["W_O"]
    size = partial(np.linalg.norm, axis=(-2, -1))
    later = {"Q": W_QK[1], "K": W_QK[1].swapaxes(-1, -2), "V": W_OV[1]}
    for kind, read in later.items():
        whole = size(W_OV[0][:, None] @ read) / (size(W_OV[0])[:, None] * size(read))
        np.testing.assert_allclose(found[f"comp_{kind}"], whole, atol=1e-12)


def test_scores_know_no_scale_and_no_change_of_basis_within_a_head():
    """W_V G and G⁻¹ W_O are the same circuit, and so are W_Q G and W_K G⁻ᵀ."""
    params, G = random_params(2), np.random.default_rng(3).normal(size=(4, 4))
    other = dict(params)
    other["W_V"], other["W_O"] = 1e-4 * params["W_V"] @ G, np.linalg.inv(G) @ params["W_O"]
    other["W_Q"], other["W_K"] = 1e3 * params["W_Q"] @ G, params["W_K"] @ np.linalg.inv(G).T
    one, two = exact(params), exact(other)
    for name in ("copy_OV", "copy_QK", "comp_Q", "comp_K", "comp_V"):
        np.testing.assert_allclose(one[name], two[name], atol=1e-9, err_msg=name)


def test_heads_that_copy_and_heads_that_forbid():
    """Orthonormal embeddings, read back by W_U: the identity copies, minus the identity forbids, a shift does neither."""
    basis, zero, shift = np.eye(4), np.zeros((4, 4)), np.roll(np.eye(4), 1, axis=1)
    ov = np.stack([basis, -basis, shift, zero])[None]
    params = {"W_E": basis, "W_U": basis, "W_V": ov, "W_O": np.stack([basis] * 4)[None], "W_Q": ov}
    params["W_K"] = params["W_O"]
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            single = {name: w.astype(dtype) for name, w in params.items()}
            found = circuits.copying_score(single), circuits.matching_score(single)
            for score in found:
                assert score.dtype == dtype and np.isnan(score[0, 3])
                np.testing.assert_allclose(score[0, :3], [1, -1, 0], atol=1e-6)
            np.testing.assert_array_equal(circuits.diagonal_share(circuits.ov_circuit(single))[0], [1, 0, 0, 0.25])


def test_random_baseline():
    mean, sd = circuits.random_composition(32, 8)
    np.testing.assert_allclose(mean, 0.17609, atol=4 * 0.0196 / 2048**0.5)  # 4 se of 2048 pairs
    np.testing.assert_allclose(sd, 0.0196, atol=0.001)
    np.testing.assert_allclose(mean**2 + sd**2, 1 / 32, rtol=0.01)  # exact in the mean for directions that are random


def test_skip_trigrams_are_the_best_of_all_triples():
    params = random_params(4, W_Q=(1, 2, 8, 4), W_K=(1, 2, 8, 4), W_V=(1, 2, 8, 4), W_O=(1, 2, 4, 8), W_U=(8, 5))
    with jax.enable_x64():
        found = {name: np.asarray(x) for name, x in trigrams.skip_trigrams(params, k=9).items()}
        scores, effect = np.asarray(circuits.qk_circuit(params)) / 2, np.asarray(circuits.ov_circuit(params))
    share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)  # [L, H, B, A]
    all_triples = np.einsum("lhba,lhac->lhabc", share, effect - effect.mean(-1, keepdims=True))
    best = np.sort(all_triples.reshape(1, 2, -1))[..., ::-1][..., :9]
    np.testing.assert_allclose(found["contribution"], best, rtol=1e-10)
    A, B, C, head = found["source"], found["destination"], found["output"], np.arange(2)[:, None]
    np.testing.assert_allclose(all_triples[0, head, A, B, C][0], best[0], rtol=1e-10)
    np.testing.assert_allclose(found["preference"][0], scores[0, head, B[0], A[0]], rtol=1e-10)
    np.testing.assert_allclose(found["effect"][0], effect[0, head, A[0], C[0]], rtol=1e-10)


@pytest.mark.parametrize(("call", "match"), [
    (lambda p: circuits.composition(p, "O"), "kind is 'O', it must be one of Q, K, V"),
    (lambda p: circuits.composition({name: w[:1] if w.ndim == 4 else w for name, w in p.items()}, "K"), "at least 2"),
    (lambda p: circuits.positional_qk({name: p[name] for name in ("W_Q", "W_K")}), "W_pos must be there too"),
    (lambda p: circuits.copying_score(p | {"W_U": np.ones((8, 6))}), r"W_U has shape \(8, 6\), .* d_vocab = 7 as in W_E"),
    (lambda p: path_expansion(p | {"ln1_w": np.ones((2, 8))}, np.zeros((1, 3), int)), "params has ln1_w"),
    (lambda p: path_expansion(p, np.zeros((1, 3))), r"tokens .* dtype float64, it must be integers \[B, T\]"),
    (lambda p: path_expansion(p, np.zeros((1, 3), int), "learned"), "positions is 'learned'"),
    (lambda p: path_expansion({name: np.stack([*w, w[0]]) if w.ndim == 4 else w for name, w in p.items()},
                              np.zeros((1, 3), int)), "n_layers must be 1 or 2"),
    (lambda p: path_expansion(p, np.zeros((1, 3), int)), "positions is None and causal None, they must be the net's"),
    (lambda p: path_expansion(p, np.zeros((1, 3), int), "abs"), "causal None, they must be the net's"),
    (lambda p: path_expansion(p, np.zeros((1, 3), int), "rotary", True), "params has W_pos, which positions 'rotary'"),
    (lambda p: path_expansion(p, np.zeros((1, 3), int), "relative", True), "W_rel must be there too"),
    (lambda p: path_expansion(p | {"W_R": np.ones((1, 8, 8))}, np.zeros((1, 3), int), "abs", True), "params has W_R"),
    (lambda p: path_expansion({k: w for k, w in p.items() if k != "W_O"}, np.zeros((1, 3), int), "abs", True), "W_O must"),
    (lambda p: path_expansion(p, np.zeros((1, 7), int), "abs", True), "tokens has 7 positions, .* at most n_ctx = 6"),
    (lambda p: path_expansion(p, np.full((1, 3), 7), "abs", True), "tokens has 7: W_E has 7 rows, so it must"),
    (lambda p: path_expansion(p, np.full((1, 3), -1), "abs", True), r"tokens has -1: W_E has 7 rows"),
    (lambda p: circuits.direct_path(p | {"W_R": np.ones((1, 8, 8))}), "params has W_R"),
    (lambda p: circuits.ov_circuit(p | {"b_V": np.ones((2, 3))}), r"b_V.* has shape \(2, 3\)"),
])  # fmt: skip
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call(random_params())


# --- the reference data

MODELS = {"g1_abs_noln": "abs", "g3_shortformer": "shortformer", "g4_rotary": "rotary", "g6_handbuilt_induction": "abs"}
EIGENVALUE = {"copy_OV", "copy_QK"}


def by_size(eigenvalues: np.ndarray) -> np.ndarray:
    """Conjugates have one modulus, so rounding would decide their order."""
    order = np.lexsort((eigenvalues.imag.round(8), eigenvalues.real.round(8), -np.abs(eigenvalues).round(8)))
    return np.take_along_axis(eigenvalues, order, -1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_reference_circuits(reference, dtype):
    for model in MODELS:
        params, theirs = attention(reference, model)
        with jax.enable_x64(dtype == np.float64):
            ours = measured({name: w.astype(dtype) for name, w in params.items()})
            ours = {name: np.asarray(x) for name, x in ours.items()}
        if "c_eig_OV" in theirs and dtype == np.float64:
            dh = ours["eig_OV"].shape[-1]
            np.testing.assert_allclose(by_size(ours["eig_OV"]), by_size(theirs["c_eig_OV"][..., :dh]), atol=1e-8)
        for key in {key.removeprefix("c_") for key in theirs} & ours.keys() - {"eig_OV"}:
            assert ours[key].dtype == dtype, key
            tolerance = 1e-5 if dtype == np.float32 else 1e-6 if key in EIGENVALUE else 1e-10
            scale = np.nanmax(np.abs(theirs[f"c_{key}"]), initial=1)
            atol = tolerance * scale
            np.testing.assert_allclose(ours[key], theirs[f"c_{key}"], rtol=0, atol=atol, err_msg=f"{model} {key}")
        assert len({key.removeprefix("c_") for key in theirs} & ours.keys()) >= 10


def test_reference_baseline(reference):
    theirs = attention(reference, "g1_abs_noln")[1]
    mean, sd = circuits.random_composition(32, 8)
    np.testing.assert_allclose([mean, sd], [theirs["c_comp_random_mean"], theirs["c_comp_random_std"]], atol=0.0018)


def test_reference_checkpoints(reference):
    found = attention(reference, "g7_trained_induction_checkpoints")[1]
    for step in (0, 500, 600, 2000):
        params, theirs = checkpoint(found, step)
        ours = exact(params)
        for key in ("copy_OV", "copy_QK", "comp_Q", "comp_K", "comp_V"):
            np.testing.assert_allclose(ours[key], theirs[key], atol=1e-5, err_msg=f"{step} {key}")


def test_induction_machine_composes_keys_only(reference):
    params, _ = attention(reference, "g6_handbuilt_induction")
    found = exact(params)
    np.testing.assert_allclose(found["comp_K"], 13**-0.5, atol=1e-12)
    assert not found["comp_Q"].any() and not found["comp_V"].any()
    assert np.isnan(found["copy_OV"][0, 0]) and found["copy_OV"][1, 0] == 1


expand = partial(jax.jit, static_argnames=("positions", "causal"))(path_expansion)


def whole(terms: dict[str, jax.Array]) -> jax.Array:
    """All paths together: the leading axes are heads."""
    return sum(x.sum(tuple(range(x.ndim - 3))) for x in terms.values())


def test_paths_sum_to_the_logits(reference):
    for model, positions in MODELS.items():
        params, theirs = attention(reference, model)
        with jax.enable_x64():
            terms = expand(params, theirs["tokens"], positions, True)
            np.testing.assert_allclose(whole(terms), theirs["logits"], atol=1e-10, err_msg=model)
            if model == "g1_abs_noln":
                for name, value in terms.items():
                    np.testing.assert_allclose(value, theirs[f"p_{name}"], atol=1e-10, err_msg=name)
        single = expand({k: w.astype(np.float32) for k, w in params.items()}, theirs["tokens"], positions, True)
        scale = np.abs(theirs["logits"]).max()
        assert whole(single).dtype == jnp.float32
        np.testing.assert_allclose(whole(single), theirs["logits"], atol=1e-5 * scale)


@pytest.mark.parametrize("module", [Transformer, BiasedTransformer])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize(("positions", "causal"), [
    ("abs", True), ("abs", False), ("shortformer", True), ("rotary", False), ("relative", True), ("none", False),
])  # fmt: skip
def test_paths_sum_to_the_logits_of_every_module_that_they_cover(module, n_layers, positions, causal):
    """All biases included, of which none is 0."""
    sizes = {"d_vocab": 7, "d_vocab_out": 6, "n_ctx": 5, "d_model": 8, "n_heads": 2, "d_mlp": 0, "readout": "all"}
    net = Net.of(module, **sizes, n_layers=n_layers, positions=positions, causal=causal)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params = {name: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32) for name, leaf in shapes.items()}
    tokens = rng.integers(0, 7, (3, 4))
    with jax.default_matmul_precision("highest"):
        logits = net.apply(params, tokens)[0]
        terms = expand(params, tokens, net.positions, net.causal)
    largest = max(float(jnp.abs(term).max()) for term in terms.values())
    np.testing.assert_allclose(whole(terms), logits, atol=3e-6 * largest)


def test_biases_of_queries_and_keys_are_in_the_scores_of_skip_trigrams():
    """A key that the query's bias alone prefers."""
    params = {"W_E": np.eye(3), "W_Q": np.zeros((1, 1, 3, 3)), "W_K": np.eye(3)[None, None], "W_V": np.eye(3)[None, None],
              "W_O": np.eye(3)[None, None], "W_U": np.eye(3), "b_Q": np.array([[[0.0, 30.0, 0.0]]])}  # fmt: skip
    found = trigrams.skip_trigrams(params, k=3)
    np.testing.assert_array_equal(found["source"], [[[1, 1, 1]]])
    np.testing.assert_allclose(found["preference"], np.full((1, 1, 3), 30 / 3**0.5), rtol=1e-6)
