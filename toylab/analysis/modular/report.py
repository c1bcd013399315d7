"""What a modular-addition network does, in words and numbers: everything of `modular.circuits` about one network."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis.float64 import float64_on_host
from toylab.analysis.modular.circles import circularities, components
from toylab.analysis.modular.fourier import key_frequencies, neuron_frequencies, spectrum, waves
from toylab.analysis.modular.inputs import Inputs, Prompt, Weights, inputs_of, number_part, number_table
from toylab.analysis.modular.measures import circle_fves, circularity, distance_irrelevance, gradient_symmetricity
from toylab.analysis.modular.networks import in_float64, in_own_dtype, last_logits, passable
from toylab.base import Params
from toylab.losses import cross_entropy, right
from toylab.shapes import shaped

SOLVED = 0.99  # accuracy over all pairs from which a circuit is spoken of; ours (released runs: 1, or .97 and less)
EXPLAINED = 0.5  # FVE from which a circle's logits are called a clock or a pizza; ours
SINGLE = 0.85  # share of a neuron's variance from which it has one frequency (Nanda et al. 2023)


class CircuitReport(dict[str, Any]):
    """The findings by name; `print` gives them as a short report."""

    def __str__(self) -> str:
        return "\n".join(
            [self._task(), self["summary"], *self._measures(), *(self._circuit() if self["solved"] else [])]
        )

    def _task(self) -> str:
        form = f"{self['n_tokens']} tokens{', own tokens for b' if self['separate'] else ''}"
        form = f"prompts {' '.join(map(str, self['prompt']))}" if self["prompt"] else form
        chance = f", chance {1 / self['p']:.4f}"
        correct = f"accuracy {self['accuracy']:.4f} ({self['errors']} of {self['p'] ** 2} pairs wrong{chance})"
        return f"a + b mod {self['p']} ({form}): {correct}, loss {self['loss']:.3g}"

    def _measures(self) -> list[str]:
        di, incorrect = self["distance_irrelevance"], self["distance_irrelevance_incorrect"]
        lines = [
            f"gradient symmetricity {self['gradient_symmetricity']:.4f} (pizza: near 1)",
            f"distance irrelevance {di:.4f} (pizza: near 0.2; with the largest incorrect logit {incorrect:.4f})",
            f"circularity {self['circularity']:.4f}"
            + (" (of rows of both operands: near 1/2 at most)" if self["apart"] else ""),
        ]
        names = (
            ", ".join(map(str, self["frequencies"]))
            if self["solved"]
            else f"{len(self['frequencies'])} of {self['p'] // 2}"
        )
        return [*lines, f"frequencies with more than 2 % of the embedding: {names or 'none'}"]

    def _circuit(self) -> list[str]:
        lines = ["(of a circle's logits 100 % is all and -100 % nothing: no correlation)"]
        for i, one in enumerate(self["circles"]):
            shares = ", ".join(f"{name} {100 * one[name]:.1f} %" for name in ("clock", "pizza", "accompanying"))
            lines.append(
                f"circle {i} (frequency {one['frequency']}), logit variance explained: {shares} -> {one['kind']}"
            )
        for k, cost in self["ablation"].items():
            neurons = f"{self['neurons_per_frequency'].get(k, 0)} of {self['neurons']} neurons of the last layer"
            after = f"accuracy {cost['accuracy']:.4f}, loss {cost['loss']:.3g}"
            lines.append(f"frequency {k}: {neurons}; without it in the embedding: {after}")
        return lines


@shaped
def circuit_report(
    net: Any,
    params: Weights,
    *,
    p: int | None = None,
    n_tokens: int | None = None,
    prompt: Prompt | None = None,
) -> CircuitReport:
    """Everything about one network of a + b mod p, as a mapping that prints as a short report.

    The measures stand there for every network, since they are facts about its weights and logits. What is said of a circuit
    (`circuit`, the circles' kinds, ablations) is not, unless the network solves the task: the kinds are then "none" and the
    ablations left out.

    Args:
        net: Anything with `apply(params, tokens) -> (logits, cache)`.
        params: Its weights.
        p: The modulus, where it cannot be read from the weights.
        n_tokens: 2 (a, b) or 3 (a, b, "="), likewise.
        prompt: What stands at each position of another network, whose answer is read at the last: `("a", 98, "b", 97)` for
            prompts a ∘ b = with the tokens ∘ = 98, "=" = 97. Numbers are the tokens and classes 0 … p−1, and p is given.

    Returns:
        A mapping.

        - `p`, `n_tokens`, `separate`, `prompt`: what the network was asked (`inputs.inputs_of`).
        - `apart`: a number has an embedding as a and another as b, by tokens or tables [2, V, d] of their own.
        - `accuracy`, `errors`, `loss`: over all p² pairs and all classes, from logits in float64; the loss in nats.
        - `solved`: whether the accuracy is at least 0.99.
        - `circuit`: "clock", "pizza", "clock and pizza", "other", or "none" if not solved; `summary`: a sentence.
        - `gradient_symmetricity`: over the paper's 100 triples.
        - `distance_irrelevance`: of the correct logit; `distance_irrelevance_incorrect`: of the largest other one.
        - `circularity` and `circularity_per_component` [4]: of all of W_E, as in the authors' code; with a prompt of the
          rows of numbers alone, as for `circles`.
        - `frequencies`: those with more than 2 % of the non-constant energy of W_E (first p rows); `power`: every share.
        - `circles`: of the first four, `circle_fve` and a "kind"; `clock_fve` and `pizza_fve` [4] as lists.
        - `neurons`: of the last layer; `neurons_per_frequency`: how many have each frequency;
          `single_frequency_neurons`: how many have more than 85 % of their variance at theirs.
        - `ablation`: by frequency, accuracy and loss without it in W_E, and by how much the loss rises ("cost").

    Raises:
        ValueError: As of `inputs.inputs_of`.
    """
    inputs = inputs_of(params, p, n_tokens, prompt)
    asked: dict[str, Any] = {"p": inputs.p, "n_tokens": None if prompt else inputs.n_tokens, "prompt": inputs.prompt}
    with float64_on_host():
        found = {name: np.asarray(x) for name, x in _forward(passable(net), in_float64(params), inputs).items()}
    accuracy = 1 - int(found["errors"]) / inputs.p**2
    solved = accuracy >= SOLVED
    frequencies = [int(k) for k in np.flatnonzero(found["key"])]
    circles = circle_fves(net, params, **asked)
    for circle in circles:
        circle["kind"] = kind(circle, inputs.apart) if solved else "none"  # type: ignore[assignment]
    report = CircuitReport(
        **inputs._asdict(),
        accuracy=accuracy,
        errors=int(found["errors"]),
        loss=float(found["loss"]),
        solved=solved,
        gradient_symmetricity=gradient_symmetricity(net, params, **asked),
        distance_irrelevance=distance_irrelevance(found["logits"]),
        distance_irrelevance_incorrect=distance_irrelevance(found["logits"], "incorrect"),
        circularity=circularity(number_part(params["W_E"], inputs.p, inputs.prompt)[0], p=inputs.p),
        circularity_per_component=found["circularities"].tolist(),
        frequencies=frequencies,
        power={k: float(share) for k, share in enumerate(found["power"]) if k},
        circles=circles,
        clock_fve=[circle["clock"] for circle in circles],
        pizza_fve=[circle["pizza"] for circle in circles],
        neurons=int(found["neurons"]),
        single_frequency_neurons=int(found["single"]),
        neurons_per_frequency={k: int(n) for k, n in enumerate(found["census"]) if k and n},
        ablation=ablations(net, params, inputs, frequencies, float(found["loss"])) if solved else {},
    )
    return CircuitReport(report, **verdict(report))


@partial(jax.jit, static_argnums=2)
def _forward(net: Any, params: Params, inputs: Inputs) -> dict[str, Array]:
    """All that one pass over all pairs and the embedding itself show."""
    p, n = inputs.p, np.arange(inputs.p)
    logits, cache = net.apply(params, jnp.asarray(inputs.all_tokens()), full=True)
    logits = logits.reshape(p, p, -1, logits.shape[-1])[:, :, -1]
    labels = jnp.asarray((n[:, None] + n) % p)
    rows, _ = number_part(params["W_E"], p, inputs.prompt)
    power = spectrum(number_table(params["W_E"])[:p])
    frequency = share = jnp.zeros(0)
    if "mlp_post" in cache:
        last = cache["mlp_post"][-1]
        frequency, share = neuron_frequencies(last.reshape(p, p, -1, last.shape[-1])[:, :, -1])
    return {
        "logits": logits,
        "errors": (logits.argmax(-1) != labels).sum(),
        "loss": cross_entropy(logits, labels).mean(),
        "circularities": circularities(components(number_table(rows)).scores[:, :4], p),
        "key": key_frequencies(power),
        "power": power / power[1:].sum(),
        "neurons": np.asarray(len(share)),
        "single": (share > SINGLE).sum(),
        "census": (frequency == jnp.arange(p // 2 + 1)[:, None]).sum(1),
    }


@shaped
def ablations(
    net: Any, params: Weights, inputs: Inputs, frequencies: list[int], loss: float
) -> dict[int, dict[str, float]]:
    """What is left over all pairs when a frequency is taken out of the rows of W_E, of either operand's own numbers."""
    if not frequencies:
        return {}
    with float64_on_host():
        arguments = in_own_dtype(params), np.array(frequencies), inputs
        accuracies, losses = (np.asarray(x).tolist() for x in _without(passable(net), *arguments))
    return {
        k: {"accuracy": accuracy, "loss": after, "cost": after - loss}
        for k, accuracy, after in zip(frequencies, accuracies, losses, strict=True)
    }


@partial(jax.jit, static_argnums=3)
def _without(net: Any, params: Params, frequencies: Array, inputs: Inputs) -> tuple[Array, Array]:
    """Accuracy and loss [m] without each of the frequencies [m]: the network in its own dtype, the loss in float64."""
    p, W_E, tokens = inputs.p, params["W_E"], inputs.all_tokens()
    labels = jnp.asarray(tokens[:, 0] + tokens[:, 1]) % p

    def of(k: Array) -> tuple[Array, Array]:
        pair = waves(p)[k - 1].astype(W_E.dtype)  # [2, p]
        table = W_E
        for start in (0, p)[: 1 + inputs.separate]:
            rows = W_E[..., start : start + p, :]
            table = table.at[..., start : start + p, :].add(-jnp.matmul(pair.T, jnp.matmul(pair, rows)))
        logits = last_logits(net, {**params, "W_E": table}, tokens).astype(jnp.float64)
        return right(logits, labels).mean(), cross_entropy(logits, labels).mean()

    return jax.lax.map(of, frequencies)


def kind(circle: Mapping[str, float], apart: bool) -> str:
    """The best of clock, pizza and accompanying where it explains more than half of the variance, else "other".

    Where the operands have embeddings of their own it is "other": their circles may be turned against each other, and the
    formulas, functions of a − b, suppose that they are one.
    """
    best = max(("clock", "pizza", "accompanying"), key=lambda name: circle[name])
    return best if circle[best] > EXPLAINED and not apart else "other"


def verdict(report: Mapping[str, Any]) -> dict[str, str]:
    """`circuit` and the `summary`, a sentence."""
    kinds = [circle["kind"] for circle in report["circles"]]
    names = [name for name in ("clock", "pizza") if name in kinds]
    if not report["solved"]:
        accuracy = f"accuracy {report['accuracy']:.4f}"
        return {"circuit": "none", "summary": f"It does not solve the task ({accuracy}): no circuit is reported."}
    if report["apart"]:
        why = (
            "the operands have embeddings of their own, and the formulas of clock and pizza suppose one circle for both"
        )
        return {"circuit": "other", "summary": f"It solves the task; {why}."}
    if not names:
        why = "no circle of its embedding alone makes the logits of a clock or a pizza"
        return {"circuit": "other", "summary": f"It solves the task; {why}."}
    found = []
    for name in names:
        frequencies = [str(circle["frequency"]) for circle in report["circles"] if circle["kind"] == name]
        found.append(f"{name} (frequency {', '.join(frequencies)})")
    return {"circuit": " and ".join(names), "summary": f"It solves the task, by {' and '.join(found)}."}
