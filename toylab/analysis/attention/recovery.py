"""How well methods recover a known circuit, and where a known edge ranks among others.

Masks and scores are [S, R] over the senders and receivers of `edges.Graph`. These functions work on measures, after runs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from toylab.analysis.attention.discovery import precision_recall, roc, threshold_roc

Edge = tuple[int, int]
"""The index of an edge in arrays [S, R]."""

Curves = tuple[np.ndarray, np.ndarray, float]
"""False and true positive rates [runs, points], and the median of the areas."""


def padded_rates(kept: np.ndarray, true: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of circuits of several graphs, whose masks are padded to the sizes of the largest.

    Args:
        kept: Masks [circuits, ..., S, R] of the edges that are kept.
        true: Of each circuit the mask of its true edges, in its own size.

    Returns:
        Precision [circuits, ...], 1 where no edge is kept, and recall [circuits, ...].

    Raises:
        ValueError: Unless there is one mask of true edges for each circuit.
    """
    found = [
        precision_recall(own[..., : len(mask), : mask.shape[1]], mask) for own, mask in zip(kept, true, strict=True)
    ]
    precision, recall = zip(*found, strict=True)
    return np.stack([np.asarray(rate) for rate in precision]), np.stack([np.asarray(rate) for rate in recall])


def n_faint(scores: np.ndarray, true: np.ndarray, share: float) -> int:
    """The number of true edges with |score| below a share of the largest |score|.

    Args:
        scores: [S, R].
        true: Mask [S, R] of the true edges.
        share: Between 0 and 1.
    """
    size = np.abs(scores)
    return int((size[true] < share * size.max()).sum())


def strong(scores: np.ndarray, share: float) -> np.ndarray:
    """The mask [..., S, R] of edges with |score| above a share of the largest |score|.

    Args:
        scores: [..., S, R].
        share: Between 0 and 1.
    """
    size = np.abs(scores)
    return np.asarray(size > share * size.max(axis=(-2, -1), keepdims=True))


def areas(scores: np.ndarray, true: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The area under the receiver operating curve of |score| in each run, [runs] (see `discovery.roc`).

    Args:
        scores: [runs, S, R].
        true: Mask [S, R] of the true edges.
        edges: Mask [S, R] of all edges.
    """
    return np.array([roc(np.abs(one), true, edges)[2] for one in scores])


def compared_roc(
    kept: np.ndarray, scores: Mapping[str, np.ndarray], true: np.ndarray, edges: np.ndarray
) -> dict[str, Curves]:
    """Receiver operating curves of ACDC, by its thresholds, and of other methods, by the size of their scores.

    Args:
        kept: What ACDC keeps in each run by rising threshold, [runs, thresholds, S, R].
        scores: By method, [runs, S, R].
        true: Mask [S, R] of the true edges.
        edges: Mask [S, R] of all edges.

    Returns:
        By method, ACDC first: false and true positive rates [runs, points], and the median area under the curves.
    """
    false_rate, true_rate, under = threshold_roc(kept, true, edges)
    curves: dict[str, Curves] = {"ACDC": (false_rate, true_rate, float(np.median(under)))}
    for name, of in scores.items():
        found = [roc(np.abs(one), true, edges) for one in of]
        x, y, under = (np.stack([np.asarray(each) for each in part]) for part in zip(*found, strict=True))
        curves[name] = x, y, float(np.median(under))
    return curves


def ranks(scores: np.ndarray, at: Sequence[tuple[int, ...]], among: np.ndarray | None = None) -> np.ndarray:
    """The rank of one entry in each run: 1 if it is the largest.

    Args:
        scores: [runs, ...].
        at: The index of the entry in each run.
        among: Mask [...] of the entries that are ranked; None: all.

    Returns:
        [runs].
    """
    ranked = np.ones(scores.shape[1:], bool) if among is None else among
    return np.array([int((own[ranked] > own[entry]).sum()) + 1 for own, entry in zip(scores, at, strict=True)])


def strongest(scores: np.ndarray, among: np.ndarray) -> list[Edge]:
    """The edge with the highest score in each run.

    Args:
        scores: [runs, S, R].
        among: Mask [S, R] of the edges that are compared.
    """
    shown = np.where(among, scores, -np.inf)
    found = [np.unravel_index(own.argmax(), own.shape) for own in shown]
    return [(int(s), int(r)) for s, r in found]


def at_edges(values: np.ndarray, edges: Sequence[Edge]) -> np.ndarray:
    """The value of one edge in each run, [runs].

    Args:
        values: [runs, S, R].
        edges: The index of the edge in each run.
    """
    return np.array([own[edge] for own, edge in zip(values, edges, strict=True)])
