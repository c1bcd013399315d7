"""How a network adds modulo p: the measures of "The Clock and the Pizza" (Zhong et al. 2023, arXiv 2306.17844).

    gradient_symmetricity(net, params)    distance_irrelevance(logits)    circularity(W_E)
    circle_fve(net, params, circle=0)     circuit_report(net, params), which prints as a short report of all

They take any network of two tokens a, b (or a, b, "=") with `net.apply(params, tokens) -> (logits, cache)`, whose
embedding is `W_E`, looked up by token. The modulus and the tokens are read from the shapes of the weights; `p=` and
`n_tokens=` override. The results are Python floats, computed in float64, but for the network's own passes in
`gradient_symmetricity`, `circle_fve` and ablations, which keep the dtype of the weights. The array functions are in
`circles.py` and `measures.py`. Here are the analyzers for trajectories, in the dtype of the weights.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis.modular.circles import circularity_of
from toylab.analysis.modular.fourier import task_modulus
from toylab.analysis.modular.inputs import Prompt, number_part, number_table, operands_of, published_triples
from toylab.analysis.modular.measures import (
    circle_fve,
    circle_fves,
    circle_shares,
    circularity,
    distance_irrelevance,
    first_circles,
    gradient_symmetricity,
    irrelevance,
    symmetricity,
)
from toylab.analysis.modular.networks import last_logits
from toylab.analysis.modular.report import CircuitReport, circuit_report
from toylab.base import Params, Run

__all__ = [
    "CircuitReport",
    "circle_fve",
    "circle_fves",
    "circles",
    "circuit_report",
    "circularity",
    "distance",
    "distance_irrelevance",
    "gradient_symmetricity",
    "roundness",
    "symmetry",
]


def symmetry(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict: `gradient_symmetricity` [] over the paper's 100 triples.
    """
    p = task_modulus(run)
    triples = published_triples(p)
    tokens = jnp.asarray(run.data["tokens"])[triples[:, 0] * p + triples[:, 1]]
    operands = operands_of(_prompt(run))
    return {"gradient_symmetricity": symmetricity(run.config.net, params, tokens, triples[:, 2], operands=operands)}


def distance(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: distance irrelevance.

    Returns:
        A dict of scalars: `correct`, by its definition, and `incorrect`, by the largest incorrect logit.
    """
    p = task_modulus(run)
    cube = last_logits(run.config.net, params, run.data["tokens"]).reshape(p, p, -1)
    return {"correct": irrelevance(cube, "correct"), "incorrect": irrelevance(cube, "incorrect")}


def roundness(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer.

    Returns:
        A dict: `circularity` [] of the embedding.
    """
    p = task_modulus(run)
    return {"circularity": circularity_of(number_table(number_part(params["W_E"], p, _prompt(run))[0]), p)}


def circles(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the first circles of the embedding.

    Returns:
        A dict of arrays [4], or as many as there are: `frequency`, and the shares of `circles.explained`.
    """
    p, prompt = task_modulus(run), _prompt(run)
    first = np.array(first_circles(number_part(params["W_E"], p, prompt)[0]), int)
    return circle_shares(run.config.net, params, run.data["tokens"], first, p, prompt)


def _prompt(run: Run) -> Prompt | None:
    """Of a task of prompts, as ModularPrompts."""
    return getattr(run.config.task, "prompt", None)
