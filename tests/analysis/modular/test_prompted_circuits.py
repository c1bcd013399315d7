"""The measures of circuits for networks of prompts a ∘ b =: those of the same network of two tokens, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab.analysis import analyze, together
from toylab.analysis.modular import circuits as mc
from toylab.analysis.modular.inputs import inputs_of
from toylab.base import Config, Run
from toylab.models import ModularMLP, Net, PostNormTransformer
from toylab.tasks import ModularPrompts

P, PROMPT = 7, ("a", 8, "b", 7)


class Clock:
    """Logits 30·cos(2πk(a+b−c)/p) by the embeddings at two positions; 0 where a sign of the prompt has not its own."""

    def __init__(self, at: tuple[int, int], signs: dict[int, int]) -> None:
        self.at, self.signs = at, signs

    def apply(self, params, tokens, patch=None, *, full=True):
        embedded = params["W_E"][tokens]
        a, b = (embedded[:, position] for position in self.at)
        product = jnp.stack([a[:, 0] * b[:, 0] - a[:, 1] * b[:, 1], a[:, 0] * b[:, 1] + a[:, 1] * b[:, 0]], axis=1)
        right = [jnp.all(embedded[:, at] == params["signs"][token - P], axis=1) for at, token in self.signs.items()]
        logits = (
            product @ params["W_U"] * jnp.all(jnp.array(right), axis=0)[:, None] if right else product @ params["W_U"]
        )
        return logits, {"mlp_post": product[None]}


def waves(k=2):
    angle = 2 * np.pi * k * np.arange(P) / P
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def clocks():
    """The clock of two tokens, and the same of prompts, with rows for "=", ∘ and "<|eos|>" behind those of the numbers."""
    W_E = np.zeros((P, 4), np.float32)
    W_E[:, :2] = waves() + 0.05
    signs = np.float32(np.random.default_rng(1).normal(size=(3, 4)))
    params = {"W_E": W_E, "W_U": np.float32(30 * waves().T)}
    prompted = {"W_E": np.concatenate([W_E, signs]), "W_U": params["W_U"], "signs": signs}
    return (Clock((0, 1), {}), params), (Clock((0, 2), {1: 8, 3: 7}), prompted)


def test_a_report_of_prompts_is_that_of_the_same_network_of_two_tokens():
    (two, params), (four, prompted) = clocks()
    plain = mc.circuit_report(two, params)
    report = mc.circuit_report(four, prompted, p=P, prompt=PROMPT)
    assert report["accuracy"] == 1 and report["circuit"] == "clock" and report["frequencies"] == [2]
    assert {name for name in report if report[name] != plain[name]} - {"ablation"} == {"prompt", "n_tokens", "d_vocab"}
    # that ablation is of another table, whose products round otherwise: in float32, by 1e-7 of logits of size 30
    assert report["ablation"][2]["loss"] == pytest.approx(plain["ablation"][2]["loss"], abs=1e-5)
    assert str(report).startswith("a + b mod 7 (prompts a 8 b 7): accuracy 1.0000 (0 of 49 pairs wrong, chance 0.1429)")
    swapped = mc.circuit_report(Clock((3, 1), {}), prompted, p=P, prompt=(9, "b", 8, "a", 7))
    assert swapped["gradient_symmetricity"] == plain["gradient_symmetricity"] and swapped["n_tokens"] == 5


@pytest.mark.slow  # compiles each measure twice
def test_analyzers_of_prompts_give_the_numbers_of_the_report():
    task = ModularPrompts(p=P, n_train=20)
    sizes = {"d_vocab": P + 2, "d_vocab_out": P + 2, "n_ctx": 4, "n_layers": 1, "d_model": 8, "n_heads": 2, "d_mlp": 8}
    net = Net.of(PostNormTransformer, **sizes)
    params = net.init(jax.random.key(0))
    run = Run(config=Config(task, net, None), data=task.data(jax.random.key(1)))
    each = together(gs=mc.symmetry, di=mc.distance, round=mc.roundness, circle=mc.circles)
    batched = jax.tree.map(lambda x: np.asarray(x)[None, None], dict(params))
    found = analyze(each, batched, jax.tree.map(lambda x: np.asarray(x)[None], run))
    report = mc.circuit_report(net, params, p=P, prompt=task.prompt)
    assert not report["solved"] and "no circuit is reported" in str(report)
    # the report is in float64, the analyzers in float32: circularity has the condition of a principal component analysis
    assert found["gs/gradient_symmetricity"][0, 0] == pytest.approx(report["gradient_symmetricity"], abs=1e-4)
    assert found["di/incorrect"][0, 0] == pytest.approx(report["distance_irrelevance_incorrect"], abs=1e-4)
    assert found["round/circularity"][0, 0] == pytest.approx(report["circularity"], abs=1e-4)
    assert found["circle/frequency"][0, 0].tolist() == [circle["frequency"] for circle in report["circles"]]
    np.testing.assert_allclose(
        found["circle/clock"][0, 0], [circle["clock"] for circle in report["circles"]], atol=1e-3
    )


ONES = {"W_E": np.ones((9, 4)), "W_U": np.ones((4, 9))}


@pytest.mark.parametrize(
    ("params", "given", "said"),
    [
        (
            {"ln1_post_w": np.ones((1, 4))},
            {"p": 7},
            r'^the network is one of prompts a ∘ b =: give prompt, such as \("a", p',
        ),
        ({}, {"prompt": "a 8 b 7", "p": 7}, r"^prompt is 'a 8 b 7', it must be a tuple such as"),
        ({}, {"prompt": [*PROMPT], "p": 7}, r"^prompt is \['a', 8, 'b', 7\], it must be a tuple"),
        ({}, {"prompt": PROMPT}, "^prompt is given: give p too, and no n_tokens$"),
        ({}, {"prompt": PROMPT, "p": 7, "n_tokens": 3}, "^prompt is given: give p too, and no n_tokens$"),
        ({}, {"prompt": ("a", 8, "a", 7), "p": 7}, r'"a" and "b" must each stand there once, between tokens$'),
        ({}, {"prompt": ("a", 8, "b", "="), "p": 7}, r'"a" and "b" must each stand there once, between tokens$'),
        (
            {},
            {"prompt": ("a", 3, "b", 7), "p": 7},
            "^prompt has 3: its tokens must lie in p to 8, as numbers are 0 to 6$",
        ),
        ({}, {"prompt": ("a", 9, "b", 7), "p": 7}, "^prompt has 9: its tokens must lie in p to 8"),
        ({}, {"prompt": PROMPT, "p": 6}, "^p is 6, the modulus must be an odd prime"),
        (
            {},
            {"prompt": PROMPT, "p": 11},
            r"^p is 11, W_E has shape \(9, 4\) and W_U 9 classes: numbers are the first p",
        ),
        ({"W_pos": np.ones((3, 4))}, {"prompt": PROMPT, "p": 7}, "^prompt has 4 positions, and W_pos 3 rows$"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(params, given, said):
    with pytest.raises(ValueError, match=said):
        inputs_of(ONES | params, **given)
    with pytest.raises(ValueError, match=said):
        net = Net.of(ModularMLP, d_vocab=9, d_vocab_out=9)
        mc.circuit_report(net, ONES | params, **given)
