"""What a network has learned of a group: hand-built logits, activations and weights whose answer is known, and the plain
formulas of the paper's code."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis.groups import composition as groups
from toylab.analysis.groups.irreps import representations
from toylab.models import ModularMLP, Net, Transformer

A4 = representations("alternating", 4)  # trivial, one of real type, one of complex type
NET = Net.of(ModularMLP, d_vocab=12, d_vocab_out=12, d_model=8, d_mlp=10)
QUICK = {"xla_backend_optimization_level": 0}  # halves the time to compile


def quickly(function):
    return jax.jit(function, compiler_options=QUICK)


def traces(reps):
    """tr ρ(a)ρ(b)ρ(c⁻¹), [K, g, g, g], multiplied out."""
    found = []
    for irrep in reps.irreps:
        rho = irrep.matrices
        product = np.einsum("aij,bjk->abik", rho, rho)
        found.append(np.einsum("abik,cki->abc", product, rho[reps.inverse]))
    return np.stack(found)


def cross_entropy(logits, labels):
    return (np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, labels[..., None], -1)[..., 0]).mean()


def test_logit_similarity_is_the_cosine_with_each_trace():
    similarity = quickly(lambda logits: groups.logit_similarity(logits, A4))
    with jax.enable_x64():
        cubes = traces(A4)
        logits = np.random.default_rng(0).standard_normal(cubes.shape[1:]) + 3 * cubes[1]
        centred = logits - logits.mean(-1, keepdims=True)
        wanted = np.einsum("abc,kabc->k", centred, cubes)
        wanted = wanted / np.sqrt((cubes**2).sum((1, 2, 3)) * (centred**2).sum())
        found = similarity(logits)
        np.testing.assert_allclose(found[1:], wanted[1:], atol=1e-12)
        assert found[0] == 0
        mixture = similarity(2 * cubes[1] + cubes[2] + 5)  # nothing but two traces, and a constant
        assert float((mixture**2).sum()) == pytest.approx(1)


def test_key_irreps_and_what_they_explain():
    similarity = jnp.array([0.9, 0.6, 0.004, 0.8])  # the trivial one never counts
    key = groups.key_representations(similarity)
    assert key.tolist() == [False, True, False, True]
    assert float(groups.logit_fve(similarity, key)) == pytest.approx(1)
    assert float(groups.logit_fve(similarity)) == pytest.approx(1.000016)


def test_hidden_activations_that_are_an_irrep_of_ab():
    """hidden = ρ_ij(ab) and a read-out that makes d·tr ρ(abc⁻¹) of it: nothing is outside the irrep."""
    rho, key = A4.irreps[1].matrices.reshape(12, 9), np.arange(3) == 1
    train = np.arange(144).reshape(12, 12) % 3 == 0
    fve = quickly(lambda hidden: groups.hidden_fve(hidden, A4))
    losses = quickly(lambda hidden: groups.hidden_losses(hidden, 3 * rho.T, A4, key, train))
    with jax.enable_x64():
        hidden = rho[A4.table]
        found, ablated = fve(hidden), losses(hidden)
        np.testing.assert_allclose(found["ab"], key, atol=1e-12)
        np.testing.assert_allclose(found["a"] + found["b"], 0, atol=1e-12)
        full = cross_entropy(hidden @ (3 * rho.T), A4.table)
        assert float(ablated["restricted_loss"]) == pytest.approx(full)
        assert float(ablated["excluded_loss"]) == pytest.approx(np.log(12))
        np.testing.assert_allclose(ablated["restricted_loss_each"], np.where(key, full, np.log(12)))
        for operand, table in (("a", rho[:, None] + 0 * hidden), ("b", rho[None] + 0 * hidden)):
            np.testing.assert_allclose(fve(table)[operand], key, atol=1e-12)


def test_a_network_measured_by_the_papers_formulas():
    """Projections on QR-orthonormalised matrix elements over all g² inputs, irrep by irrep, as in the paper's code."""
    g, rng = 12, np.random.default_rng(3)
    train, key = rng.random((g, g)) < 0.4, np.arange(3) > 0
    params = {name: np.asarray(2 * x, float) for name, x in NET.init(jax.random.key(0)).items()}
    with jax.enable_x64():
        found = quickly(lambda params: groups.measure(NET, params, A4, train, key))(params)
        found = jax.tree.map(np.asarray, found)
    W_E, W_in, W_U = (params[name] for name in ("W_E", "W_in", "W_U"))
    embedded = W_E @ W_in
    a, b = np.divmod(np.arange(g * g), g)
    c = A4.table.reshape(-1)
    hidden = np.maximum(embedded[0][a] + embedded[1][b], 0)
    logits, restricted, centred = hidden @ W_U, 0 * hidden, hidden - hidden.mean(0)
    shares = {"W_a": 0.0, "W_b": 0.0, "W_U": 0.0, "hidden": 0.0, "hidden_ab": 0.0}
    for irrep in A4.irreps[1:]:
        rho = irrep.matrices.reshape(g, -1)

        def onto(index, x, rho=rho, rank=irrep.rank):
            q = np.linalg.qr(rho[index])[0][:, :rank]
            return q @ (q.T @ x)

        of_ab = onto(c, hidden)
        restricted += of_ab
        for name, x in (("W_a", embedded[0]), ("W_b", embedded[1]), ("W_U", W_U.T)):
            shares[name] += (onto(np.arange(g), x) ** 2).sum() / (x**2).sum()
        parts = [(onto(index, centred) ** 2).sum() / (centred**2).sum() for index in (a, b, c)]
        shares["hidden"] += sum(parts)
        shares["hidden_ab"] += parts[2]
    of = train.reshape(-1)
    z = (logits - logits.mean(1, keepdims=True)).reshape(-1)
    cubes = traces(A4).reshape(3, -1)[1:]
    units = cubes / np.linalg.norm(cubes, axis=1, keepdims=True)
    kept = ((units @ z) @ units).reshape(g * g, g)
    wanted = {f"{name}_fve": value for name, value in shares.items()} | {
        "restricted_loss": cross_entropy(restricted @ W_U, c),
        "excluded_loss": cross_entropy(((hidden - restricted) @ W_U)[of], c[of]),
        "logit_restricted_loss": cross_entropy(kept, c),
        "logit_excluded_loss": cross_entropy((z.reshape(g * g, g) - kept)[of], c[of]),
        "loss": cross_entropy(logits, c),
        "train_loss": cross_entropy(logits[of], c[of]),
        "test_loss": cross_entropy(logits[~of], c[~of]),
        "accuracy": (logits.argmax(1) == c).mean(),
    }
    assert {name: float(found[name]) for name in wanted} == pytest.approx(wanted, abs=1e-10)
    for name in ("W_a", "W_b", "W_U"):
        assert found[f"{name}_fve_each"].sum() == pytest.approx(1)


@pytest.mark.slow
def test_a_transformer_is_read_through_its_mlp():
    net = Net.of(Transformer, d_vocab=8, d_vocab_out=7, n_ctx=3, d_model=4, n_heads=1, d_mlp=4)
    params = net.init(jax.random.key(0))
    made = groups.report(net, params, "cyclic", 7)
    W_L = np.asarray(params["W_out"][0]) @ np.asarray(params["W_U"])
    tables = groups.tables(params, 7)
    np.testing.assert_allclose(tables["U"], W_L.T, rtol=1e-5)
    np.testing.assert_array_equal(tables["a"], params["W_E"][:7])
    assert made["W_a_fve_each"]["freq_2"] == made["W_b_fve_each"]["freq_2"] > 0
    assert list(made["similarity"]) == ["trivial", "freq_1", "freq_2", "freq_3"]
    assert (
        np.isnan(made["test_loss"])
        and np.isfinite(made["loss"])
        and made["key"] == tuple(name for name, value in made["similarity"].items() if value > 0.005)
    )


def test_the_order_in_which_irreps_are_learned():
    similarity = np.array(
        [[0.9, 0.0, 0, 0.1, 0.0], [0.9, 0.06, 0, 0.3, 0.2], [0.9, 0.1, 0, 0.3, 0.2], [0.9, 0, 0.04, 0, 0]]
    )
    key = np.array([False, True, True, True, True])
    assert groups.order_learned(similarity, key).tolist() == [0, 2, 4, 1, 3]  # 1 and 4 cross together: 1 comes first


def test_published_fve_is_the_sum_over_irreps(reference):
    published = json.loads((reference / "published_numbers.json").read_text())["chughtai"]
    for model in published.values():
        key = np.array([0, *model["logit_similarity_of_key_reps"].values()])
        total = model["summary_metrics"]["percent_logits_explained"]
        assert float(groups.logit_fve(key)) == pytest.approx(total, abs=1e-4)
        assert np.asarray(groups.key_representations(key))[1:].all()


def test_what_does_not_fit_is_refused():
    params = NET.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"^W_E has 12 tokens: the symmetric group with n = 3 has 6 elements\.$"):
        groups.report(NET, params, "symmetric", 3)
    with pytest.raises(ValueError, match=r"^params has no W_U: it has W_E\.$"):
        groups.report(NET, {"W_E": params["W_E"]}, "alternating", 4)
    with pytest.raises(ValueError, match=r"^params W_U hold nan or infinite numbers: all must be finite\.$"):
        groups.report(NET, params | {"W_U": params["W_U"].at[0, 0].set(jnp.nan)}, "alternating", 4)
    with pytest.raises(ValueError, match=r"^similarity has 1 checkpoints: an order of learning needs at least 2\.$"):
        groups.order_learned(np.zeros((1, 3)), np.ones(3, bool))
    with pytest.raises(
        ValueError, match=r"^train has shape \(12, 12\) and dtype float32, it must be booleans \[g, g\]$"
    ):
        groups.measure(NET, params, A4, np.ones((12, 12), np.float32))
    with pytest.raises(ValueError, match=r"^logits has shape \(6, 6, 6\): it must be \[g, g, g\] with g = 12"):
        groups.logit_similarity(np.zeros((6, 6, 6)), A4)
    with pytest.raises(
        ValueError, match=r"^key has shape \(4,\): it must be \[K\] with K = 3, the number of irreps\.$"
    ):
        groups.logit_losses(np.zeros((12, 12, 12)), A4, np.ones(4, bool), np.ones((12, 12), bool))
