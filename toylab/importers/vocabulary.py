"""Params with the vocabulary in another order: analyzers of modular tasks take the first p tokens and classes."""

from collections.abc import Sequence

import numpy as np

from toylab.importers.naming import Refusal, printable_value
from toylab.importers.rules import Arrays
from toylab.models import Net


def order_of(vocabulary: Sequence[int], net: Net) -> np.ndarray:
    """The source's entries in the order of the params, [d_vocab]: those that are given, then the others as they stood.

    Raises:
        Refusal: where they are no entries, or twice there, or where the net's classes are not its tokens.
    """
    n = getattr(net, "d_vocab", 0)
    if not n or getattr(net, "d_vocab_out", 0) != n:
        classes = getattr(net, "d_vocab_out", 0)
        raise Refusal(f"vocabulary is given, and net has {n} tokens and {classes} classes: they must be the same.")
    given = np.asarray(vocabulary)
    if given.ndim != 1 or given.dtype.kind not in "iu" or not len(given):
        raise Refusal(f"vocabulary is {printable_value(vocabulary)}: it must be a list of whole numbers.")
    if given.min() < 0 or given.max() >= n or len(np.unique(given)) < len(given):
        raise Refusal(f"vocabulary has {printable_value(given.tolist())}: entries must lie in 0 to {n - 1}, each once.")
    return np.concatenate([given, np.setdiff1d(np.arange(n), given)])


def reordered(params: Arrays, order: np.ndarray) -> Arrays:
    """The params of a net for which entry i is the source's order[i]."""
    axes = {"W_E": -2, "W_U": -1, "b_U": -1}
    return {name: value.take(order, axes[name]) if name in axes else value for name, value in params.items()}
