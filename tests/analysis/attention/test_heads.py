"""Scores of patterns whose answer is known, then the reference data."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import attention, checkpoint

from toylab.analysis import analyze, together
from toylab.analysis.attention import heads
from toylab.analysis.attention.paths import frozen_pattern, path_expansion
from toylab.base import Config, Run
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.tasks import ModularArithmetic


def lookback(T: int, offset: int) -> np.ndarray:
    """Every query attends to the key `offset` back; the first ones, which have none, to nothing."""
    return np.eye(T, k=-offset)


def uniform(T: int) -> np.ndarray:
    return np.tri(T) / np.arange(1, T + 1)[:, None]


@pytest.mark.parametrize("bos", [0, 1])
def test_heads_that_look_back_a_fixed_way(bos):
    m = 5
    T = 2 * m + bos
    A = np.stack([lookback(T, offset) for offset in range(T)])  # one head for each offset
    read = {"previous": heads.previous_token_score(A), "current": heads.current_token_score(A),
            "induction": heads.induction_score(A, m), "duplicate": heads.duplicate_token_score(A, m)}  # fmt: skip
    for name, offset in {"previous": 1, "current": 0, "induction": m - 1, "duplicate": m}.items():
        np.testing.assert_allclose(read[name], np.arange(T) == offset, atol=1e-6)
    np.testing.assert_allclose(heads.first_token_score(A), 1 / (T - 1) * (np.arange(T) > 0), atol=1e-6)


def test_which_queries_are_averaged():
    """One query after the other attends to its own key: exactly those that a score reads count, each the same."""
    m = 4
    for bos in (0, 1):
        T = 2 * m + bos
        for fn, offset in ((heads.induction_score, m - 1), (heads.duplicate_token_score, m)):
            single = [fn(np.eye(T, k=-offset) * (np.arange(T) == t)[:, None], m) for t in range(T)]
            np.testing.assert_allclose(single, np.where(np.arange(T) >= m + bos, 1 / m, 0), atol=1e-7)


def test_leading_axes_and_dtype_are_kept():
    A = np.random.default_rng(0).dirichlet(np.ones(8), (2, 3, 4, 8))
    scores = [heads.previous_token_score, heads.current_token_score, heads.first_token_score, heads.attention_entropy,
              lambda A: heads.induction_score(A, 4), lambda A: heads.duplicate_token_score(A, 4)]  # fmt: skip
    with jax.enable_x64():
        whole = [fn(A) for fn in scores]
        assert all(x.shape == (2, 3, 4) and x.dtype == np.float64 for x in whole)
        for fn, x in zip(scores, whole, strict=True):
            np.testing.assert_allclose(x[1, 2, 3], fn(A[1, 2, 3]), atol=1e-12)
    assert heads.induction_score(A.astype(np.float32), 4).dtype == jnp.float32


def test_entropy_of_known_patterns():
    np.testing.assert_allclose(heads.attention_entropy(uniform(6)), np.log(np.arange(1, 7)).mean(), rtol=1e-6)
    assert heads.attention_entropy(np.eye(6)) == 0


def matching_by_hand(A: np.ndarray, tokens: np.ndarray) -> float:
    """Of one head, by its definition: A [B, T, T]."""
    found = []
    for b, t in np.ndindex(tokens.shape):
        keys = [s for s in range(1, t + 1) if tokens[b, s - 1] == tokens[b, t]]
        found += [A[b, t, keys].sum()] if keys else []
    return float(np.mean(found))


def test_prefix_matching_pools_over_sequences():
    rng = np.random.default_rng(1)
    tokens = np.concatenate([rng.integers(0, 4, (2, 9)), rng.integers(0, 40, (3, 9))])  # many matches, and few
    A = rng.dirichlet(np.ones(9), (2, 5, 3, 9))
    with jax.enable_x64():
        found = jax.jit(heads.prefix_matching_score)(A, tokens)
    assert found.shape == (2, 3) and found.dtype == np.float64
    by_hand = [[matching_by_hand(A[layer, :, h], tokens) for h in range(3)] for layer in range(2)]
    np.testing.assert_allclose(found, by_hand, atol=1e-12)
    assert np.isnan(heads.prefix_matching_score(A[0, :1], np.arange(9)[None])).all()


def test_detect_head_of_what_it_looks_for():
    tokens = np.array([[3, 1, 3, 1, 2, 3]])
    induction = np.zeros((6, 6))
    induction[2, 1] = induction[3, 2] = induction[5, 1] = induction[5, 3] = 1
    duplicate = np.zeros((6, 6))
    duplicate[2, 0] = duplicate[3, 1] = duplicate[5, 0] = duplicate[5, 2] = 1
    looked_for = {"previous": np.eye(6, k=-1), "duplicate": duplicate, "induction": induction}
    for name, D in looked_for.items():
        A = np.stack([D, np.eye(6)])[None]  # heads: the pattern itself, and one that looks at itself
        np.testing.assert_allclose(heads.detect_head(A, tokens, name, "mul"), [[1, 0]], atol=1e-6)
        np.testing.assert_allclose(heads.detect_head(A, tokens, name, "abs"), [[1, 1 - (D.sum() + 6) / 6]], atol=1e-6)


def test_losses_by_position_and_halves():
    rng = np.random.default_rng(2)
    logits, tokens = rng.normal(size=(3, 8, 5)), rng.integers(0, 5, (3, 9))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -np.take_along_axis(log_p, tokens[:, 1:, None], -1)[..., 0]
    with jax.enable_x64():
        np.testing.assert_allclose(heads.per_token_loss(logits, tokens), nats, atol=1e-12)
        np.testing.assert_allclose(heads.loss_by_position(logits, tokens[:, :8]), nats[:, :7].mean(0), atol=1e-12)
    for T, first, second in ((8, [0, 1, 2], [4, 5, 6]), (9, [0, 1, 2, 3], [5, 6, 7])):
        loss = 10.0 ** -np.arange(T - 1)
        found = heads.half_losses(loss, 4)
        np.testing.assert_allclose(found, [loss[first].mean(), loss[second].mean()], rtol=1e-5)
        halves = heads.in_context_learning_score(loss, "halves", 4)
        np.testing.assert_allclose(halves, found[1] - found[0], rtol=1e-6)


def test_in_context_learning_scores():
    loss = 1000.0 - np.arange(512.0)
    assert heads.in_context_learning_score(loss) == -450
    assert heads.in_context_learning_score(loss, "scaled") == -(511 - 64)
    assert heads.in_context_learning_score(loss[:15], "repeated", 8) == -(14 - 4)


def test_pca_of_losses_finds_the_path():
    """Losses that move along two orthogonal directions: shares, path and directions are known."""
    rng = np.random.default_rng(3)
    directions = np.linalg.qr(rng.normal(size=(20, 2)))[0].T
    path = rng.normal(size=(9, 2)) * [3.0, 1.0]
    path -= path.mean(0)
    losses = 2 + path @ directions
    with jax.enable_x64():
        found = {name: np.asarray(x) for name, x in heads.loss_pca(losses, 2).items()}
        three = heads.loss_pca(losses, 3)
    np.testing.assert_allclose(found["path"] @ found["directions"], losses - losses.mean(0), atol=1e-12)
    np.testing.assert_allclose(found["directions"] @ found["directions"].T, np.eye(2), atol=1e-12)
    variances = np.linalg.svd(path, compute_uv=False) ** 2
    np.testing.assert_allclose(three["share"], [*variances / variances.sum(), 0], atol=1e-12)
    largest = np.abs(found["directions"]).argmax(1)
    assert (found["directions"][[0, 1], largest] > 0).all()


@pytest.mark.parametrize(("call", "match"), [
    (lambda: heads.induction_score(np.eye(7), 4), r"period is 4: pattern has T = 7, which must be 2·period"),
    (lambda: heads.duplicate_token_score(np.eye(8), 3), "period is 3"),
    (lambda: heads.previous_token_score(np.ones((3, 4))), r"pattern has shape \(3, 4\)"),
    (lambda: heads.previous_token_score(np.ones((1, 1))), "at least 2 positions"),
    (lambda: heads.prefix_matching_score(np.ones((2, 3, 8, 8)), np.ones((3, 8), int)), r"tokens has shape \(3, 8\)"),
    (lambda: heads.detect_head(np.ones((2, 3, 8, 8)), np.ones((2, 8), int), "next"), "detected is 'next'"),
    (lambda: heads.detect_head(np.ones((2, 3, 8, 8)), np.ones((2, 8), int), "previous", "max"), "measure is 'max'"),
    (lambda: heads.per_token_loss(np.ones((2, 8, 5)), np.ones((2, 7), int)), r"tokens has shape \(2, 7\)"),
    (lambda: heads.half_losses(np.ones(6), 4), "period is 4: loss has T = 7"),
    (lambda: heads.in_context_learning_score(np.ones(100)), "needs 501"),
    (lambda: heads.in_context_learning_score(np.ones(100), "early"), "score is 'early'"),
    (lambda: heads.in_context_learning_score(np.ones(15), "halves"), "period is None"),
    (lambda: heads.loss_pca(np.ones((3, 4)), 5), r"losses has shape \(3, 4\)"),
])  # fmt: skip
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.slow
@pytest.mark.usefixtures("float16")
def test_analyzers_on_a_trajectory():
    sizes = {"d_vocab": 7, "d_vocab_out": 7, "n_ctx": 8, "n_layers": 2, "d_model": 8, "n_heads": 2, "d_mlp": 0}
    net = Net.of(Transformer, **sizes, readout="all")
    config = Config(task=ModularArithmetic(p=5, n_train=20), net=net, optimizer=AdamW())
    shapes, rng = jax.eval_shape(net.init, jax.random.key(0)), np.random.default_rng(4)
    params = {name: rng.normal(size=(1, 2, *x.shape)).astype(np.float32) for name, x in shapes.items()}  # [R, T, …]
    run = Run(config=config, data={"tokens": np.zeros((1, 3, 9), int)})
    names = ("head_scores", "example_pattern", "position_losses")
    found = analyze(together(**{name: getattr(heads, name) for name in names}), params, run)
    own = {name.removeprefix("head_scores/"): x for name, x in found.items() if name.startswith("head_scores/")}
    assert set(own) == {"previous_token", "induction", "duplicate_token", "prefix_matching", "attention_entropy"}
    assert all(x.shape == (1, 2, 2, 2) for x in own.values())
    assert found["example_pattern/pattern"].shape == (1, 2, 2, 2, 4, 4)
    one = {name: x[0, 1] for name, x in params.items()}
    tokens = heads.blocks(one, jax.tree.map(lambda x: x[0] if np.ndim(x) else x, run))
    assert tokens.shape == (64, 8) and (tokens[:, :4] == tokens[:, 4:]).all() and tokens.max() == 6
    _, cache = jax.jit(net.apply)(one, tokens)
    by_hand = jnp.diagonal(cache["pattern"], -3, -2, -1)[..., -4:].mean((1, -1))
    np.testing.assert_allclose(own["induction"][0, 1], by_hand, atol=1e-6)
    logits = jax.jit(net.apply)(one, jnp.zeros((1, 8), int))[0]  # the data's tokens are all 0
    loss = heads.loss_by_position(logits, jnp.zeros((1, 9), int))
    np.testing.assert_allclose(found["position_losses/loss"][0, 1], loss, rtol=1e-4)


# --- the reference data


@partial(jax.jit, static_argnums=2)
def scores(A: jax.Array, tokens: jax.Array, period: int) -> dict[str, jax.Array]:
    """All of [L, H], from the pattern [L, B, H, T, T]."""
    found = {"prev_token": heads.previous_token_score(A), "current_token": heads.current_token_score(A),
             "first_token": heads.first_token_score(A), "induction": heads.induction_score(A, period),
             "duplicate": heads.duplicate_token_score(A, period), "attn_entropy": heads.attention_entropy(A)}  # fmt: skip
    for detected in ("previous", "duplicate", "induction"):
        for measure in ("mul", "abs"):
            found[f"tl_{measure}_{detected}"] = heads.detect_head(A, tokens, detected, measure)
    return {name: x.mean(1) for name, x in found.items()} | {"prefix_matching": heads.prefix_matching_score(A, tokens)}


@partial(jax.jit, static_argnums=2)
def losses(logits: jax.Array, tokens: jax.Array, period: int) -> dict[str, jax.Array]:
    loss = heads.loss_by_position(logits, tokens)
    first, second = heads.half_losses(loss, period)
    score = heads.in_context_learning_score(loss, "repeated", period)
    return {"loss_by_pos": loss, "first_half_loss": first, "second_half_loss": second, "icl_score": score}


@pytest.mark.parametrize("x64", [True, False])
def test_reference_models(reference, x64):
    for name in ("g1_abs_noln", "g3_shortformer", "g4_rotary"):
        found = attention(reference, name)[1]
        dtype, tolerance = (np.float64, 1e-10) if x64 else (np.float32, 1e-5)
        with jax.enable_x64(x64):
            ours = scores(found["s_patterns"].astype(dtype), found["s_tokens"], 8)
            ours |= losses(found["s_logits"].astype(dtype), found["s_tokens"], 8)
        for key, value in ours.items():
            assert value.dtype == dtype
            np.testing.assert_allclose(
                value, found[f"s_{key}"], rtol=tolerance, atol=tolerance, err_msg=f"{name} {key}"
            )


def test_reference_induction_machine(reference):
    """With a BOS: T = 2·8 + 1."""
    found = attention(reference, "g6_handbuilt_induction")[1]
    with jax.enable_x64():
        ours = scores(np.stack([found["pattern_0"], found["pattern_1"]]), found["tokens"], 8)
        loss = np.asarray(heads.per_token_loss(found["logits"], found["tokens"]))
        ours = {name: np.asarray(x) for name, x in ours.items()}
    for key in ("prev_token", "induction", "duplicate"):
        np.testing.assert_allclose(ours[key], found[key], atol=1e-8)
    np.testing.assert_allclose(loss, found["loss_per_token"], atol=1e-8)
    assert ours["induction"][1, 0] > 1 - 1e-6 and ours["prev_token"][0, 0] > 1 - 1e-6


@jax.jit
def checkpoint_scores(W: dict[str, jax.Array], tokens: jax.Array) -> dict[str, jax.Array]:
    """Logits by `path_expansion`, the patterns by `frozen_pattern`: these models' positions are shortformer's."""
    terms = path_expansion(W, tokens, "shortformer", causal=True)
    logits = terms["direct"] + terms["head0"].sum(0) + terms["head1"].sum(0) + terms["virtual"].sum((0, 1))
    x = W["W_E"][tokens]
    A = frozen_pattern(W, x, 0, "shortformer")
    written = jnp.einsum("bhts,bsd,hde,hef->btf", A, x, W["W_V"][0], W["W_O"][0])
    A = jnp.stack([A, frozen_pattern(W, x + written, 1, "shortformer")])
    return scores(A, tokens, 16) | losses(logits, tokens, 16)


def test_reference_checkpoints(reference):
    found = attention(reference, "g7_trained_induction_checkpoints")[1]
    tokens = np.tile(found["eval_blocks"], (1, 2))
    for step in (0, 600, 2000):
        params, theirs = checkpoint(found, step)
        with jax.enable_x64():
            ours = checkpoint_scores({name: w.astype(float) for name, w in params.items()}, tokens)
        assert len(ours.keys() & theirs.keys()) == 9
        for key in ours.keys() & theirs.keys():
            np.testing.assert_allclose(ours[key], theirs[key], atol=1e-5, rtol=1e-5, err_msg=f"{step} {key}")
