"""How attention-only networks come to learn in context: quantities of what was measured of them through training.

`m` holds measures by name, as a page of the lab has them: `steps` [T], `valid` [R, T], `heads/…` [R, T, L, H] of
`heads.head_scores`, `circuits/…` of `circuits.circuit_scores`, `in_context/score` [R, T], `ablation/zero`,
`path_ablation/…` of induction.py and `final/eigenvalues/…` of `composed.eigenvalue_scores`. Results are numpy arrays, a
value for each of R runs."""

from collections.abc import Callable, Mapping

import numpy as np

from toylab.analysis import transitions

Saved = Mapping[str, np.ndarray]
Curve = Callable[[Saved], np.ndarray]


def last(m: Saved, name: str) -> np.ndarray:
    """[R, …]: the value at each run's last point."""
    valid = m["valid"]
    return m[name][np.arange(len(valid)), valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)]


def in_context(m: Saved) -> np.ndarray:
    """[R, T]: the in-context score, nats."""
    return m["in_context/score"]


def halves(m: Saved) -> np.ndarray:
    """[R, T]: another in-context score, the loss of the second half of the context less that of the first."""
    return m["second_half_loss"] - m["first_half_loss"]


def burst(m: Saved, score: Curve = in_context, factor: float = 2.0) -> np.ndarray:
    """[R]: nats by which an in-context score falls at most within a factor of steps."""
    return transitions.largest_fall(m["steps"], score(m), factor)


def at_once(m: Saved, score: Curve = in_context, factor: float = 2.0) -> np.ndarray:
    """[R]: `burst` over the whole fall, from the first point to the last."""
    return burst(m, score, factor) / (score(m)[:, 0] - score(m)[:, -1])


def bump(m: Saved, log_steps: bool = False) -> np.ndarray:
    """[R]: height of the loss above its convex hull, nats; over log steps without the start."""
    start = int(log_steps)
    steps = np.log(m["steps"][1:]) if log_steps else m["steps"]
    return transitions.bump(steps, m["loss"][:, start:])


def best(m: Saved, name: str, layer: int | None = None) -> np.ndarray:
    """[R, T]: the score of the best head, of a layer or of all."""
    scores = m[name] if layer is None else m[name][:, :, layer]
    return np.nanmax(scores, axis=tuple(range(2, scores.ndim)))


def composed(m: Saved, kind: str) -> np.ndarray:
    """[R, T]: the largest composition of a kind, Q, K or V, of two heads."""
    return np.nanmax(m[f"circuits/{kind}_composition"], axis=(-2, -1))


def previous_token_head(m: Saved) -> np.ndarray:
    """[R]: the head of layer 0 with the best previous-token score at the end."""
    return np.nanargmax(last(m, "heads/previous_token")[:, 0], axis=-1)


def ablated(m: Saved) -> np.ndarray:
    """[R, T]: nats lost without the previous-token head."""
    return m["ablation/zero"][np.arange(len(m["valid"])), :, 0, previous_token_head(m)]


def unread(m: Saved, read: str) -> np.ndarray:
    """[R, T]: nats lost if only the q, k or v of layer 1 do not read the previous-token head."""
    return m[f"path_ablation/{read}"][np.arange(len(m["valid"])), :, previous_token_head(m)]


def by_norms(m: Saved) -> np.ndarray:
    """[R]: the largest K-composition over the larger of Q- and V-composition, at the end."""
    q, k, v = (composed(m, kind)[:, -1] for kind in "QKV")
    return k / np.maximum(q, v)


def by_ablation(m: Saved) -> np.ndarray:
    """[R]: nats lost through keys over the larger of those lost through queries and values, at the end."""
    q, k, v = (unread(m, read)[:, -1] for read in "qkv")
    return k / np.maximum(q, v)


def from_previous(m: Saved) -> np.ndarray:
    """[R]: the largest K-composition with the previous-token head less that with any other head of layer 0."""
    by_head = np.nanmax(last(m, "circuits/K_composition"), axis=2)
    chosen = np.arange(by_head.shape[1]) == previous_token_head(m)[:, None]
    return np.where(chosen, by_head, -np.inf).max(axis=1) - np.where(chosen, -np.inf, by_head).max(axis=1)


def matching(m: Saved) -> np.ndarray:
    """[R, L, H]: QK eigenvalue scores, above layer 0 through the previous-token head."""
    alone = m["final/eigenvalues/matching"]
    through = m["final/eigenvalues/composed_matching"][np.arange(len(alone)), :, :, 0, previous_token_head(m)]
    return np.where(np.arange(alone.shape[1])[:, None] > 0, through, alone)


def corner(m: Saved) -> np.ndarray:
    """[R, L, H]: the lesser of the eigenvalue scores of OV and QK: near 1 for a head that matches and copies."""
    return np.minimum(m["final/eigenvalues/copying"], matching(m))


def induction_corner(m: Saved) -> np.ndarray:
    """[R]: `corner` of the best induction head of layer 1."""
    head = np.nanargmax(last(m, "heads/induction")[:, 1], axis=-1)
    return corner(m)[np.arange(len(head)), 1, head]


def corner_alone(m: Saved) -> np.ndarray:
    """[R]: `induction_corner` less `corner` of the best head of layer 0."""
    return induction_corner(m) - np.nanmax(corner(m)[:, 0], axis=-1)


CURVES: dict[str, Curve] = {
    "OV copying, layer 1": lambda m: best(m, "circuits/copying", 1),
    "K-composition": lambda m: composed(m, "K"),
    "in-context score": in_context,
    "second-half loss": lambda m: m["second_half_loss"],
    "ablation: no previous-token head": ablated,
    "ablation: keys not reading it": lambda m: unread(m, "k"),
    "prefix matching": lambda m: best(m, "heads/prefix_matching"),
    "induction score": lambda m: best(m, "heads/induction", 1),
    "previous-token score": lambda m: best(m, "heads/previous_token", 0),
}


def halfway(m: Saved, name: str) -> np.ndarray:
    """[R]: the step, interpolated, at which one of `CURVES` has first gone half its way from the start to the end."""
    return transitions.halfway(m["steps"], CURVES[name](m))


def lead(m: Saved, first: str, second: str) -> np.ndarray:
    """[R]: steps by which one of `CURVES` is halfway before another."""
    return halfway(m, second) - halfway(m, first)


def together(m: Saved, score: str = "induction score") -> np.ndarray:
    """[R]: the step at which a score is halfway over that at which the in-context score is."""
    return halfway(m, score) / halfway(m, "in-context score")
