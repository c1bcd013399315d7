"""Subnetworks: what is left of a network's accuracy when its neurons go in some order, and the fewest that keep it."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real

from toylab.analysis.numbers import floating, ratio, scaled
from toylab.losses import margin, right
from toylab.shapes import shaped


@shaped
def kept_accuracy(
    neurons: Real[ArrayLike, "n m"], W_out: Real[ArrayLike, "m n_outputs"], labels: Integer[ArrayLike, " n"],
    order: Integer[ArrayLike, " m"], bias: Real[ArrayLike, " n_outputs"] | None = None,
    of: Bool[ArrayLike, " n"] | None = None, every: int = 1,
) -> Float[Array, " _"]:  # fmt: skip
    """The accuracy with the first 0, 1, …, m neurons of an order alone.

    Args:
        neurons: The last hidden layer's values on examples, [n, m].
        W_out: What each adds to the outputs, [m, n_outputs]; of two classes there may be one output, by its sign.
        labels: [n].
        order: Neurons as they are added, [m]: each once.
        bias: Of the outputs, [n_outputs].
        of: Which examples count, [n]: all by default.
        every: How many neurons are added at a time; it divides m.

    Returns:
        [m / every + 1], of 1; nan where no example counts.

    Raises:
        ValueError: Where the order is no permutation of the neurons, and where they cannot be added so many at a time.
    """
    neurons, W_out, order = floating(neurons), floating(W_out), jnp.asarray(order)
    known = None if isinstance(order, jax.core.Tracer) else np.sort(np.asarray(order))
    if known is not None and not np.array_equal(known, np.arange(neurons.shape[1])):
        raise ValueError(f"order is no permutation of the {neurons.shape[1]} neurons.")
    if every < 1 or neurons.shape[1] % every:
        raise ValueError(f"every is {every}: it must divide the number of neurons, {neurons.shape[1]}.")

    def accuracy(outputs: Array) -> Array:
        if outputs.shape[-1] == 1:
            correct = (margin(outputs, jnp.asarray(labels)) > 0).astype(outputs.dtype)
        else:
            correct = right(outputs, jnp.asarray(labels))
        return correct.mean() if of is None else jnp.where(of, correct, 0).sum() / jnp.sum(jnp.asarray(of))

    def add(outputs: Array, some: Array) -> tuple[Array, Array]:
        outputs = outputs + jnp.matmul(neurons[:, some], W_out[some], precision="highest")
        return outputs, accuracy(outputs)

    empty = jnp.zeros((len(neurons), W_out.shape[1]), neurons.dtype) + (0 if bias is None else floating(bias))
    _, found = jax.lax.scan(add, empty, order.reshape(-1, every))
    return jnp.concatenate([accuracy(empty)[None], found])


@shaped
def least_faithful(accuracies: Real[ArrayLike, "*batch m1"]) -> Integer[Array, "*batch"]:
    """The fewest neurons with exactly the accuracy of all, of `kept_accuracy` (Merrill et al. 2023, arXiv 2303.11873).

    Args:
        accuracies: With 0 … m neurons, [..., m + 1].

    Returns:
        [...], from 0 to m.
    """
    accuracies = jnp.asarray(accuracies)
    return (accuracies == accuracies[..., -1:]).argmax(axis=-1)


@shaped
def weight_share(W_in: Real[ArrayLike, "d m"], inputs: Bool[ArrayLike, " d"]) -> Float[Array, " m"]:
    """The share of each neuron's squared weights that lies on given inputs.

    Args:
        W_in: [d, m].
        inputs: Which, [d].

    Returns:
        [m], of 1; 0 for a neuron without weights.
    """
    squares = scaled(floating(W_in), 0)[0] ** 2
    return ratio(jnp.where(jnp.asarray(inputs)[:, None], squares, 0).sum(axis=0), squares.sum(axis=0))
