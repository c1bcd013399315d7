"""The measures of Zhong et al. 2023: networks by hand with known answers, formulas written out, the authors' numbers."""

import json
import random
import time
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import cosine_logits, exact, hand_run, sums

from toylab import importers
from toylab.analysis import analyze, together
from toylab.analysis.modular import circuits as mc
from toylab.analysis.modular.circles import alone, circularities, components, explained
from toylab.analysis.modular.inputs import inputs_of, published_triples
from toylab.analysis.modular.measures import input_gradients, most_varying
from toylab.analysis.modular.networks import passable
from toylab.analysis.modular.report import kind, verdict
from toylab.models import ModularMLP, Net, PizzaLinear

P, K = 7, 2


def wave(p: int, k: float, n: Any = None) -> np.ndarray:
    """(cos, sin) of 2πkn/p, [..., 2]."""
    angle = 2 * np.pi * k * (np.arange(p) if n is None else n) / p
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


class Handmade:
    """A network of two tokens from a formula of their embeddings [B, d] and W_U; no pytree, and no patch is known."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def apply(self, params: Any, tokens: Any, patch: Any = None, *, full: bool = True) -> tuple[Any, dict]:
        a, b = jnp.moveaxis(params["W_E"][tokens[:, :2]], 1, 0)
        a, b, c = a[:, :2], b[:, :2], params["W_U"][:2]
        both = a + b
        if self.kind == "pizza":  # W_U holds half angles
            turned = jnp.stack([-c[1], c[0]])
            return jnp.abs(both @ c) - jnp.abs(both @ turned), {}
        if self.kind == "accompanying":
            return -(both @ c), {}
        product = jnp.stack([a[:, 0] * b[:, 0] - a[:, 1] * b[:, 1], a[:, 0] * b[:, 1] + a[:, 1] * b[:, 0]], axis=1)
        return product @ c, {"mlp_post": product[None]}


NETS = {kind: Handmade(kind) for kind in ("clock", "pizza", "accompanying")}  # compiled once each


def handmade(kind: str, p: int = P, k: int = K) -> tuple[Any, dict[str, np.ndarray]]:
    """The logits are exactly the formula of `kind` at frequency k. The classes are waves of k, or of half of it."""
    by_class = {"clock": k, "pizza": k / 2, "accompanying": k * (p + 1) // 2}[kind]
    W_E, W_U = np.zeros((p, 4), np.float32), np.zeros((4, p), np.float32)
    W_E[:, :2], W_U[:2] = wave(p, k), wave(p, by_class).T
    return NETS[kind], {"W_E": W_E, "W_U": W_U}


def formulas(p: int, k: int) -> dict[str, np.ndarray]:
    """The candidates over the cube, as the catalogue has them."""
    a, b, c = np.meshgrid(*3 * [np.arange(p)], indexing="ij")
    w, v = 2 * np.pi * k / p, 2 * np.pi * (k * (p + 1) // 2 % p) / p
    S_c, S_s = np.cos(w * a) + np.cos(w * b), np.sin(w * a) + np.sin(w * b)
    cos, sin = np.cos(w * c / 2), np.sin(w * c / 2)
    edges = np.abs(S_c - S_s) - np.abs(S_c + S_s)
    both = np.cos(2 * v * a) + np.cos(2 * v * b), np.sin(2 * v * a) + np.sin(2 * v * b)
    return {
        "clock": np.cos(w * (a + b - c)),
        "pizza": np.abs(cos * S_c + sin * S_s) - np.abs(-sin * S_c + cos * S_s),
        "pizza_appendix": (np.abs(S_c) - np.abs(S_s)) * np.cos(w * c) - edges * np.sin(w * c) / 2**0.5,
        "accompanying": -(np.cos(v * c) * both[0] + np.sin(v * c) * both[1]),
    }


def explained_variance(logits: np.ndarray, formula: np.ndarray) -> float:
    z, q = ((x - x.mean()) / x.std() for x in (logits, formula))
    return 1 - (z - q).var() / z.var()


@pytest.mark.parametrize(("p", "k"), [(7, 3), (11, 4)])
def test_explained_shares_are_those_of_the_formulas_over_the_whole_cube(p, k):
    logits = np.random.default_rng(k).normal(size=(p, p, p + 2)) + cosine_logits(p, {k: 1})[..., :1]
    found = exact(jax.jit(explained), logits, k)
    for name, formula in formulas(p, k).items():
        np.testing.assert_allclose(found[name], explained_variance(logits[..., :p], formula), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["clock", "pizza", "accompanying"])
def test_handmade_circle_is_found_as_what_it_is(kind):
    found = mc.circle_fve(*handmade(kind))
    assert found["frequency"] == K
    assert found[kind] == pytest.approx(1, abs=1e-6)
    assert all(found[other] < 0.9 for other in {"clock", "pizza", "accompanying"} - {kind})
    assert list(found) == ["frequency", "clock", "pizza", "pizza_appendix", "accompanying"]


def test_gradient_symmetricity_in_closed_form():
    """The pizza sees E_a + E_b alone: 1. The clock's gradients are unit vectors at the angle k(a − b)."""
    assert mc.gradient_symmetricity(*handmade("pizza")) == pytest.approx(1, abs=1e-6)
    triples = np.array(list(product(range(P), repeat=3)))
    expected = np.cos(2 * np.pi * K * (triples[:, 0] - triples[:, 1]) / P)
    for some in (triples, triples[5:6], published_triples(P)):
        angles = expected if some is triples else np.cos(2 * np.pi * K * (some[:, 0] - some[:, 1]) / P)
        assert mc.gradient_symmetricity(*handmade("clock"), some) == pytest.approx(angles.mean(), abs=1e-6)


@pytest.mark.parametrize(
    "net",
    [
        Net.of(PizzaLinear, d_vocab=5, d_vocab_out=5, d_model=4, d_mlp=8, kind="delta"),
        Net.of(ModularMLP, d_vocab=6, d_vocab_out=5, d_model=4, d_mlp=8, embedding="separate"),
    ],
)
def test_gradient_is_that_of_the_embeddings_output(net):
    """Rows of its own for each input's a and b give what the "embed" patch gives, a = b included."""
    params, zero = net.init(jax.random.key(0)), jnp.zeros((3, 2, 4))
    tokens, classes = np.array([[1, 1, 4], [0, 4, 4], [3, 2, 4]]), np.array([2, 0, 4])

    def total(shift):
        logits, _ = net.apply(params, tokens, {"embed": lambda value, layer: value + shift})
        return logits[np.arange(3), classes].sum()

    found = jnp.stack(jax.jit(input_gradients)(net, params, tokens, classes), axis=1)
    np.testing.assert_allclose(found, jax.jit(jax.grad(total))(zero), rtol=1e-5, atol=1e-7)


def test_published_triples_are_the_shuffled_list(reference):
    every = list(product(range(P), repeat=3))
    random.Random(42).shuffle(every)
    assert published_triples(P).tolist() == [list(triple) for triple in every[:100]]
    golden = json.loads((reference / "pizza" / "golden.json").read_text())
    assert published_triples(59).tolist() == golden["grad_sym_triples_abc"]


def test_distance_irrelevance_by_its_definition():
    p = P
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(p * p, p + 1))
    tables = {"correct": np.zeros((p, p)), "incorrect": np.zeros((p, p))}
    for a, b in product(range(p), repeat=2):
        row = logits[a * p + b]
        tables["correct"][(a + b) % p, (a - b) % p] = row[(a + b) % p]
        tables["incorrect"][(a + b) % p, (a - b) % p] = np.delete(row, (a + b) % p).max()
    for which, table in tables.items():
        expected = table.std(axis=0).mean() / table.std()
        assert mc.distance_irrelevance(logits, which) == pytest.approx(expected, abs=1e-12)
    cube, distance = np.zeros((p, p, p)), np.subtract.outer(np.arange(p), np.arange(p)) % p
    assert mc.distance_irrelevance(cube + sums(p)[..., None]) == pytest.approx(1)  # a function of a + b
    assert mc.distance_irrelevance(cube + distance[..., None]) == pytest.approx(0)  # and of a − b
    assert np.isnan(mc.distance_irrelevance(cube + 0.1))


def test_circularity_by_the_strides_of_the_authors():
    p, rng = 11, np.random.default_rng(1)
    scores, t = rng.normal(size=(p + 3, 4)), np.arange(p)
    found = exact(jax.jit(circularities, static_argnums=1), scores, p)
    for j, column in enumerate(scores.T):
        v = column / np.linalg.norm(column) / p**0.5
        best = max(2 * abs(np.sum(v[t * i % p] * np.exp(2j * np.pi * t / p))) ** 2 for i in range(1, p))
        assert found[j] == pytest.approx(min(best, 1), abs=1e-12)
    circles = np.hstack([3 * wave(p, 2), wave(p, 5)]) @ np.linalg.qr(rng.normal(size=(6, 4)))[0].T
    assert mc.circularity(circles) == pytest.approx(1, abs=1e-12)
    one = (wave(p, 2) + 0.3) @ np.linalg.qr(rng.normal(size=(6, 2)))[0].T
    assert mc.circularity(one) == pytest.approx(0.5, abs=1e-12)  # two of four components are zero but for rounding
    assert mc.circularity(np.vstack([circles, circles]), p=p) == pytest.approx(0.5, abs=1e-12)  # two operands' tables


def test_circles_alone_add_up_to_the_embedding():
    W_E = np.random.default_rng(2).normal(size=(P, 6))
    each, _ = exact(jax.jit(alone, static_argnums=2), W_E, np.arange(3), P)
    np.testing.assert_allclose(each.sum(0) - 2 * W_E.mean(0), W_E, atol=1e-12)
    assert exact(components, W_E).scores.shape == (P, 6)


@pytest.mark.parametrize(
    ("rows", "classes", "context", "expected"),
    [
        (59, 59, None, (59, 2, False)),
        (118, 118, 2, (59, 2, True)),  # separate vocabularies
        (60, 60, 3, (59, 3, False)),  # "="
        (119, 119, 3, (59, 3, True)),
        (114, 114, 3, (113, 3, False)),  # Nanda et al. 2023
        (8, 7, None, (7, 2, False)),  # a token that is not used
        (62, 31, 2, (31, 2, True)),
    ],
)
def test_modulus_and_tokens_are_read_from_the_shapes(rows, classes, context, expected):
    params = {"W_E": np.zeros((rows, 4)), "W_U": np.zeros((4, classes))}
    params |= {"W_pos": np.zeros((context, 4))} if context else {}
    found = inputs_of(params)
    assert found[:3] == expected
    p, n_tokens, separate = expected
    want = [1, 2 + p * separate, rows - 1][:n_tokens]
    assert found.all_tokens()[p + 2].tolist() == want


ONES = {"W_E": np.ones((7, 4)), "W_U": np.ones((4, 7))}
NAN = np.where(np.eye(7, 4) == 1, np.nan, 1.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mc.circularity(NAN), "W_E has nan"),
        (lambda: mc.circularity(np.zeros((0, 4))), r"W_E has shape \(0, 4\)"),
        (lambda: mc.circularity(np.ones((58, 4))), "58 rows, which is no odd prime"),
        (lambda: mc.circularity(np.ones((57, 4))), "p is 57, the modulus must be an odd prime"),
        (lambda: mc.circularity(np.ones((5, 4)), p=7), "at least p = 7"),
        (lambda: mc.distance_irrelevance(np.full((7, 7, 7), np.nan)), "logits has nan"),
        (lambda: mc.distance_irrelevance(np.ones((8, 8, 8))), "p = 8, it must be odd"),
        (lambda: mc.distance_irrelevance(np.ones((7, 6, 7))), r"shape \(7, 6, 7\)"),
        (lambda: mc.distance_irrelevance(np.ones((7, 7, 7)), "wrong"), "which is 'wrong'"),
        (lambda: mc.gradient_symmetricity(NETS["clock"], ONES, [[0, 7, 1]]), r"triples has \[0, 7, 1\]"),
        (lambda: mc.gradient_symmetricity(NETS["clock"], ONES, np.zeros((0, 3), int)), r"triples has shape \(0, 3\)"),
        (lambda: mc.gradient_symmetricity(NETS["clock"], ONES, [[0.5, 1, 1]]), "must be integers"),
        (lambda: mc.circle_fve(NETS["clock"], ONES, 2), "circle is 2, W_E has the circles 0 … 1"),
        (lambda: mc.circle_fve(NETS["clock"], ONES | {"W_E": NAN}), "W_E has nan"),
        (lambda: mc.circuit_report(NETS["clock"], {"W_U": np.ones((4, 7))}), "no W_E"),
        (
            lambda: inputs_of({"W_E": np.ones((60, 4)), "W_U": np.ones((4, 60))}),
            "60 classes: give p = 59 if the last is",
        ),
        (lambda: mc.circuit_report(NETS["clock"], ONES, p=6), "p is 6, the modulus must be an odd prime"),
        (lambda: mc.circuit_report(NETS["clock"], ONES | {"W_E": np.ones((5, 7, 4))}), "of one point in training"),
        (lambda: mc.circuit_report(NETS["clock"], {k: np.ones((14, 14)) for k in ONES}), "each of 7, 13 fits"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(call, said):
    with pytest.raises(ValueError, match=said) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_report_of_a_handmade_clock():
    net, params = handmade("clock")
    report = mc.circuit_report(net, params | {"W_U": 30 * params["W_U"]})
    assert report["accuracy"] == 1 and report["circuit"] == "clock" and report["frequencies"] == [K]
    assert report["neurons_per_frequency"] == {K: 2} and report["clock_fve"][0] == pytest.approx(1)
    assert report["ablation"][K]["loss"] == pytest.approx(np.log(P))  # all logits are equal then
    assert "by clock (frequency 2)" in str(report)


def test_no_circle_is_judged_where_each_operand_has_a_table_of_its_own():
    inputs = inputs_of({"W_E": np.ones((2, 7, 4)), "W_U": np.ones((4, 7))})
    assert inputs.apart and not inputs.separate
    shares = {"clock": 0.9, "pizza": 0.6, "accompanying": -1.0}
    assert kind(shares, apart=False) == "clock" and kind(shares, apart=True) == "other"
    said = verdict({"solved": True, "apart": True, "circles": [{"kind": "other", "frequency": 1}]})
    assert said["circuit"] == "other" and "the operands have embeddings of their own" in said["summary"]


def test_a_network_that_does_not_solve_the_task_gets_no_circuit():
    net, params = handmade("clock")
    report = mc.circuit_report(net, params | {"W_U": np.roll(params["W_U"], 1, axis=1)})  # a clock of a + b + 1
    assert report["accuracy"] == 0 and report["circuit"] == "none" and report["ablation"] == {}
    assert {circle["kind"] for circle in report["circles"]} == {"none"}
    assert "no circuit is reported" in str(report) and "clock" not in str(report)


EACH = together(gs=mc.symmetry, di=mc.distance, round=mc.roundness, circle=mc.circles)


def test_analyzers_along_a_trajectory():
    net, params = handmade("clock")
    points = np.random.default_rng(3).normal(size=(1, 3, P, 4)).astype(np.float32)
    points[0, 2] += 5 * params["W_E"]
    run = jax.tree.map(lambda x: np.asarray(x)[None], hand_run(P).data)
    run = hand_run(P, net=passable(net)).replace(data=run)
    W_U = np.broadcast_to(params["W_U"], (1, 3, 4, P))
    found = analyze(EACH, {"W_E": points, "W_U": W_U}, run)
    for i in range(3):
        one = {"W_E": points[0, i], "W_U": W_U[0, i]}
        logits = net.apply({k: jnp.asarray(x) for k, x in one.items()}, inputs_of(one).all_tokens())[0]
        assert found["gs/gradient_symmetricity"][0, i] == pytest.approx(mc.gradient_symmetricity(net, one), abs=1e-5)
        assert found["di/incorrect"][0, i] == pytest.approx(mc.distance_irrelevance(logits, "incorrect"), abs=1e-5)
        assert found["round/circularity"][0, i] == pytest.approx(mc.circularity(one["W_E"]), abs=1e-4)
        circle = mc.circle_fve(net, one, 1)
        assert {k: pytest.approx(found[f"circle/{k}"][0, i, 1], abs=1e-3) for k in circle} == circle


GOLDEN = [
    "2fsoiei4o2", "2k4ohj6bhd", "7r4zst7evs", "f5dh675z97", "h9m153uuh9",
    "l8k1hzciux", "n9n7h3p965", "p71frej8t7", "p99zdpze5l", "w386br1duh",
]  # fmt: skip
SOME = ["n9n7h3p965", "p99zdpze5l"]  # of one shape: each other one compiles for seconds
NAMES = {
    "clock": "Qclock",
    "pizza": "Qpizza",
    "pizza_appendix": "Qpizza_appendix",
    "accompanying": "Qpizza_accomp_halffreq",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SOME else pytest.mark.slow) for n in GOLDEN])
def test_published_models_have_the_authors_numbers(reference, name):
    folder = reference / "pizza"
    golden = json.loads((folder / "golden.json").read_text())["models"][name]
    net, params = importers.load(folder / f"{name}.npz", "pizza")
    report = mc.circuit_report(net, params)
    assert report["accuracy"] == pytest.approx(golden["accuracy_all_pairs"], abs=1e-7)
    assert report["errors"] == golden["n_errors"]
    assert report["gradient_symmetricity"] == pytest.approx(golden["gradient_symmetricity"], abs=1e-4)  # a ReLU at 0
    assert report["distance_irrelevance"] == pytest.approx(golden["distance_irrelevance"], abs=1e-5)
    variant = golden["distance_irrelevance_max_incorrect_logit"]
    assert report["distance_irrelevance_incorrect"] == pytest.approx(variant, abs=1e-5)
    assert report["circularity"] == pytest.approx(golden["circularity"], abs=1e-4)  # asked: 5e-4
    assert report["circularity_per_component"] == pytest.approx(golden["circularity_per_pc"], abs=1e-4)
    assert report["frequencies"] == golden["embed_dft_freqs_above_2pct"]
    assert report["loss"] == pytest.approx(golden["ce_float64_all_pairs"], rel=1e-3)
    assert report["solved"] == (golden["n_errors"] == 0) == (report["circuit"] != "none")
    for ours, theirs in zip(report["circles"], golden["circle_fve"], strict=True):
        assert ours["frequency"] == theirs["freq"]
        for key, their_key in NAMES.items():
            assert ours[key] == pytest.approx(theirs[their_key], abs=1e-4), key  # asked: 2e-4


@pytest.mark.slow
def test_all_measures_of_a_published_model_take_two_seconds_or_thirty_forward_passes(reference):
    """The latter on a slow machine, where the passes over all pairs, some of them with gradients, take the time."""
    net, params = importers.load(reference / "pizza" / "w386br1duh.npz", "pizza")  # four layers, the largest
    forward, pairs = jax.jit(lambda params, x: net.apply(params, x)[0]), np.indices((59, 59)).reshape(2, -1).T

    def seconds(function, *arguments):
        jax.block_until_ready(function(*arguments))
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        return time.perf_counter() - start

    assert seconds(mc.circuit_report, net, params) < max(2, 30 * seconds(forward, params, pairs))


@pytest.mark.parametrize(("kind", "symmetric"), [("alpha", True), ("beta", True), ("delta", False)])
def test_linear_models_that_add_their_embeddings_first_are_symmetric(kind, symmetric):
    net = Net.of(PizzaLinear, d_vocab=P, d_vocab_out=P, d_model=6, d_mlp=8, kind=kind)
    found = mc.gradient_symmetricity(net, net.init(jax.random.key(0)), p=P)
    assert (found == pytest.approx(1, abs=1e-6)) is symmetric


def test_what_varies_most_is_a_picture_over_pairs():
    a, b = np.divmod(np.arange(P**2), P)
    values = np.stack(
        [np.full(P**2, 1e3), np.cos(2 * np.pi * (a + b) / P), 3 * np.cos(2 * np.pi * (a - b) / P)], axis=1
    )
    picture = most_varying(values)
    np.testing.assert_array_equal(picture, np.reshape(values[:, 2], (P, P)).astype(picture.dtype))
    assert picture[1, 1] == picture[2, 2] != picture[1, 2]
    np.testing.assert_array_equal(most_varying(values[:, :1]), np.full((P, P), 1e3))
    with pytest.raises(ValueError, match=r"values has shape \(48, 3\): it must be \[p², n\]"):
        most_varying(values[:48])
