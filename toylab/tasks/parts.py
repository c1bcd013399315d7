"""Many examples passed through a network a part at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

PART = 1024  # examples


def in_parts(per_example: Callable[..., Any], *examples: Array) -> Any:
    """`per_example(*examples)` of arrays [n, …], in parts of `PART` one after another: what lies between fits into the
    cache of a CPU, where all at once take twice as long, and takes a part of a device's memory. The last part is shorter.

    Args:
        per_example: gives arrays [m, …] for m examples, each by that example alone.
        examples: arrays of the same length n.
    """
    n = len(examples[0])
    whole = n - n % PART
    if n <= PART:
        return per_example(*examples)
    split = [one[:whole].reshape(-1, PART, *one.shape[1:]) for one in examples]
    found = jax.lax.map(lambda part: per_example(*part), split)
    joined = jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), found)
    if whole == n:
        return joined
    rest = per_example(*(one[whole:] for one in examples))
    return jax.tree.map(lambda first, last: jnp.concatenate([first, last]), joined, rest)
