"""What a network that composes group elements has learned, by irreducible representations.

Chughtai et al. 2023, A toy model of universality (arXiv 2302.03025): inputs a and b are embedded as ρ(a) and ρ(b), the
hidden layer multiplies, and logits are tr ρ(a)ρ(b)ρ(c⁻¹) for a few irreps ρ. Semantics are those of the code behind the
published numbers; every deviation is said. g elements, K irreps, `reps` from `irreps.representations`; arrays over inputs
are [g, g, …] for (a, b). Values are shares of 1, losses mean nats. Everything works under jit (reps being static there).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from toylab import cayley
from toylab.analysis.fourier import floating
from toylab.analysis.irreps import Representations, representations
from toylab.analysis.norms import sum_of_squares
from toylab.base import Network, Params, Run
from toylab.losses import cross_entropy

KEY = 0.005  # Chughtai et al. 2023's code


def logit_similarity(logits: ArrayLike, reps: Representations) -> Array:
    """Cosine of the logits [g, g, g], centred over c for each input, with tr ρ(a)ρ(b)ρ(c⁻¹), for each irrep: [K].

    That trace depends on h = abc⁻¹ alone, so the logits are first summed by it; its norm over the cube is g·‖χ‖. 0 for the
    trivial irrep, which centring takes out. ValueError for other shapes.
    """
    z = _cube(logits, reps)
    z = z - z.mean(axis=-1, keepdims=True)
    by_element = _by_product(_by_product(z, reps)[:, reps.inverse], reps)  # [g]: first by ab and c, then by abc⁻¹
    characters = _constant(reps.characters, z)
    lengths = len(reps.table) * jnp.linalg.norm(characters, axis=1) * jnp.linalg.norm(z)
    return jnp.where(
        jnp.arange(len(characters)) == 0, 0, _dot(characters, by_element) / jnp.where(lengths > 0, lengths, 1)
    )


def key_representations(similarity: ArrayLike, threshold: float = KEY) -> Array:
    """bool [K]: the irreps, the trivial one apart, with a logit similarity above the threshold."""
    return (jnp.asarray(similarity) > threshold).at[0].set(False)


def logit_fve(similarity: ArrayLike, key: ArrayLike | None = None) -> Array:
    """Σ similarity² over the key irreps: the share of the centred logits' energy that their traces explain. Without `key`
    over all but the trivial one, as in the code; the two differ by less than 1e-4 in the published models."""
    squares = jnp.asarray(similarity)[1:] ** 2
    return squares.sum() if key is None else jnp.where(jnp.asarray(key)[1:], squares, 0).sum()


def element_fve(x: ArrayLike, reps: Representations) -> Array:
    """Share of the energy Σ x² of functions x [g, m] on the group in the span of each irrep's matrix elements: [K]; the sum
    over irreps is 1. Not centred: the trivial irrep holds the mean."""
    x = floating(x)
    if x.ndim != 2 or len(x) != len(reps.table):
        raise ValueError(f"x has shape {x.shape}: it must be [g, m] with g = {len(reps.table)}, the group's order.")
    return _energies(x, reps) / jnp.sum(x**2)


def hidden_fve(hidden: ArrayLike, reps: Representations) -> dict[str, Array]:
    """Shares of the variance of hidden activations [g, g, m] over all inputs in the spans of ρ(a), ρ(b) and ρ(ab), for each
    irrep: "a", "b", "ab" and their sum "total", all [K]. Each neuron is centred over inputs.

    Deviation: the published code orthonormalises, in float32, all four entries of a rotation of C_n, of which two are
    independent; its two other directions are rounding noise, left out here. On a network of 13 ideal cosines of C113 they
    add 0.01 (LAPACK) to 0.03 (torch) to the sum of "total" over key irreps, 0.003 to that of "ab", nothing to the losses.
    """
    h = _inputs(hidden, reps)
    h = h - h.mean(axis=(0, 1))
    g = len(h)
    sums = {"a": h.sum(1), "b": h.sum(0), "ab": _by_product(h, reps)}
    energy = jnp.sum(h**2)
    shares = {
        name: _energies(x, reps) / (g * energy) for name, x in sums.items()
    }  # an input of a stands for g of (a, b)
    return {**shares, "total": shares["a"] + shares["b"] + shares["ab"]}


def hidden_losses(
    hidden: ArrayLike, W: ArrayLike, reps: Representations, key: ArrayLike, train: ArrayLike, *, each: bool = True
) -> dict[str, Array]:
    """Cross-entropy when hidden activations [g, g, m] keep only, or lose, their projection on ρ(ab) of the key irreps.

    "restricted_loss": of what is kept, on all inputs; "excluded_loss": of what is left, on the training inputs `train`,
    bool [g, g] (nan where there are none); both for all key irreps at once, scalars, and, if `each`, "…_loss_each" [K].
    Logits are hidden·W, W [m, g], and nothing else: no mean is added back, and in a transformer neither biases nor the
    residual stream.
    """
    h, W, key, train = _inputs(hidden, reps), floating(W), jnp.asarray(key), jnp.asarray(train)
    g, labels = len(reps.table), jnp.asarray(reps.table)
    means = _dot(_by_product(h, reps) / g, W)  # [g, C]: projections on functions of ab, read out
    basis, owner = _constant(reps.basis, h), reps.owner
    coefficients, full = _dot(basis.T, means), _dot(h, W)

    def losses(some: Array) -> tuple[Array, Array]:
        kept = _dot(basis, jnp.where(some[owner][:, None], coefficients, 0))  # [g, C], by ab
        left = cross_entropy(full - kept[labels], labels)
        excluded = jnp.where(train, left, 0).sum() / train.sum()
        return cross_entropy(kept, jnp.arange(g)).mean(), excluded  # every ab has g inputs

    restricted, excluded = losses(key)
    found = {"restricted_loss": restricted, "excluded_loss": excluded}
    if each:
        one = jax.lax.map(losses, jnp.eye(len(reps.irreps), dtype=bool))
        found |= {"restricted_loss_each": one[0], "excluded_loss_each": one[1]}
    return found


def logit_losses(logits: ArrayLike, reps: Representations, key: ArrayLike, train: ArrayLike) -> dict[str, Array]:
    """As `hidden_losses`, for the logits themselves: centred over c, and projected on the traces of the key irreps.
    "restricted_loss" on all inputs, "excluded_loss" on `train`: total_logit_…_loss of the published tables, not in the
    paper."""
    z, train = _cube(logits, reps), jnp.asarray(train)
    z = z - z.mean(axis=-1, keepdims=True)
    g, labels, characters = len(z), jnp.asarray(reps.table), _constant(reps.characters, z)
    along = jnp.where(jnp.asarray(key), logit_similarity(z, reps), 0) * jnp.linalg.norm(z)
    by_element = _dot(along / (g * jnp.linalg.norm(characters, axis=1)), characters)  # [g], of abc⁻¹
    kept = by_element[reps.table[:, reps.inverse]]  # [ab, c]
    left = cross_entropy(z - kept[labels], labels)
    excluded = jnp.where(train, left, 0).sum() / train.sum()
    return {"restricted_loss": cross_entropy(kept, jnp.arange(g)).mean(), "excluded_loss": excluded}


def order_learned(similarity: np.ndarray, key: np.ndarray, threshold: float = 0.05) -> np.ndarray:
    """int [K]: the place (1, 2, …) at which each key irrep is learned over checkpoints, similarity [T, K]; 0 if not key.

    As in the published code: at each checkpoint the first key irrep (in the order of names) not yet learned whose
    similarity is above 0.05 is; those that never are follow in the order of names. One a checkpoint at most."""
    similarity, key = np.asarray(similarity), np.asarray(key)
    if similarity.ndim != 2 or key.shape != similarity.shape[1:]:
        raise ValueError(f"similarity has shape {similarity.shape} and key {key.shape}: they must be [T, K] and [K].")
    if len(similarity) < 2:
        raise ValueError(f"similarity has {len(similarity)} checkpoints: an order of learning needs at least 2.")
    learned: list[int] = []
    for row in similarity:
        new = [k for k in np.flatnonzero(key & (row > threshold)) if k not in learned]
        learned += [int(k) for k in new[:1]]
    learned += [int(k) for k in np.flatnonzero(key) if k not in learned]
    places = np.zeros(len(key), int)
    places[learned] = np.arange(1, len(learned) + 1)
    return places


def tables(params: Params, g: int) -> dict[str, Array]:
    """The functions on the group in a network's weights, [g, m] each: "a" and "b", what each operand adds to the hidden
    layer (of a transformer, for both, the rows of W_E without "="), and "U", the columns of `read_out`."""
    pair = jnp.broadcast_to(params["W_E"], (2, *params["W_E"].shape[-2:]))[:, :g]
    if "W_out" not in params:
        pair = jnp.matmul(pair, params["W_in"], precision="highest")
    return {"a": pair[0], "b": pair[1], "U": read_out(params, g).T}


def read_out(params: Params, g: int) -> Array:
    """Hidden layer to logits [m, g]: W_U, of a transformer W_out W_U."""
    W_U = params["W_U"][:, :g]
    return _dot(params["W_out"][-1], W_U) if "W_out" in params else W_U


def measure(
    net: Network, params: Params, reps: Representations, train: ArrayLike, key: ArrayLike | None = None
) -> dict[str, Array]:
    """All measures of a `ModularMLP` or a one-layer `Transformer`; in brackets their names in the published tables.

    similarity [K], key [K] (or the given one); logit_fve, logit_fve_all [percent_logits_explained]; W_a_fve, W_b_fve,
    W_U_fve, hidden_fve, hidden_ab_fve over the key irreps [percent_x_embed, y_embed, unembed, hidden, hidden_xy…], and by
    irrep as "…_fve_each" [K]; restricted_loss, excluded_loss [total_hidden_…] and "…_loss_each" [K];
    logit_restricted_loss, logit_excluded_loss [total_logit_…]; accuracy and loss [all_loss] over all pairs; train_loss,
    test_loss; test_ratio = test_loss / restricted_loss; sum_of_squares [sum_of_squared_weights].
    `train` is bool [g, g]; what has no pairs is nan.
    """
    g, labels, train = len(reps.table), jnp.asarray(reps.table), jnp.asarray(train)
    if train.shape != (g, g) or train.dtype != bool:
        raise ValueError(f"train is {train.dtype} of shape {train.shape}: it must be bool [g, g] = {(g, g)}.")
    z, hidden = activations(net, params, g)
    similarity = logit_similarity(z, reps)
    key = key_representations(similarity) if key is None else jnp.asarray(key)
    of_hidden = hidden_fve(hidden, reps)
    each = {f"W_{name}": element_fve(x, reps) for name, x in tables(params, g).items()}
    each |= {"hidden": of_hidden["total"], "hidden_ab": of_hidden["ab"]}
    ablated = hidden_losses(hidden, read_out(params, g), reps, key, train)
    losses = cross_entropy(z, labels)
    test_loss = jnp.where(train, 0, losses).sum() / (~train).sum()
    return {
        "similarity": similarity,
        "key": key,
        "logit_fve": logit_fve(similarity, key),
        "logit_fve_all": logit_fve(similarity),
        **{f"{name}_fve": jnp.where(key, x, 0).sum() for name, x in each.items()},
        **{f"{name}_fve_each": x for name, x in each.items()},
        **ablated,
        **{f"logit_{name}": x for name, x in logit_losses(z, reps, key, train).items()},
        "accuracy": (jnp.argmax(z, axis=-1) == labels).mean(dtype=z.dtype),
        "loss": losses.mean(),
        "train_loss": jnp.where(train, losses, 0).sum() / train.sum(),
        "test_loss": test_loss,
        "test_ratio": test_loss / ablated["restricted_loss"],
        "sum_of_squares": sum_of_squares(params)["total"],
    }


def activations(net: Network, params: Params, g: int) -> tuple[Array, Array]:
    """Logits [g, g, g] and hidden activations [g, g, m] of all inputs, at the last position, "=" being token g."""
    a, b = jnp.divmod(jnp.arange(g * g), g)
    logits, cache = net.apply(params, jnp.stack([a, b, jnp.full_like(a, g)], axis=1))
    hidden = cache["mlp_post"][-1]  # [g², m], or [g², positions, m]
    last = [x.reshape(g * g, -1, x.shape[-1])[:, -1] for x in (logits, hidden)]
    return last[0][:, :g].reshape(g, g, g), last[1].reshape(g, g, -1)


def report(
    net: Network,
    params: Params,
    group: cayley.Group,
    n: int,
    *,
    train: ArrayLike | None = None,
    elements: cayley.Elements | None = None,
) -> dict[str, Any]:
    """`measure` of given weights, in python: similarity and the "…_each" by the name of the irrep, `key` a tuple of names.

    `train` bool [g, g] says which pairs were trained on (None: all; then what is about the others is nan), `elements` in
    which order the weights number the permutations of S_n or A_n (None: lexicographic). Chughtai et al.'s have sympy's:
    `tuple(tuple(p.array_form) for p in SymmetricGroup(5).generate())`."""
    reps = representations(group, n, elements)
    g = len(reps.table)
    table = params["W_E"].shape[-2]
    if table not in (g, g + 1) or params["W_U"].shape[-1] not in (g, g + 1):
        raise ValueError(f"W_E has {table} tokens: the {group} group with n = {n} has {g} elements.")
    if bad := sorted(name for name, x in params.items() if not np.isfinite(np.asarray(x)).all()):
        raise ValueError(f"params {', '.join(bad)} hold nan or infinite numbers: all must be finite.")
    found = _measured(net, params, jnp.ones((g, g), bool) if train is None else jnp.asarray(train), group, n, elements)
    named: dict[str, Any] = {}
    for name, value in found.items():
        values = np.asarray(value)
        if name == "key":
            named[name] = tuple(irrep for irrep, is_key in zip(reps.names, values, strict=True) if is_key)
        else:
            named[name] = dict(zip(reps.names, values.tolist(), strict=True)) if values.ndim else float(values)
    return named


@partial(jax.jit, static_argnames=("group", "n", "elements"))
def _measured(net: Network, params: Params, train: Array, group: str, n: int, elements: Any) -> dict[str, Array]:
    return measure(net, params, representations(group, n, elements), train)


def _cube(logits: ArrayLike, reps: Representations) -> Array:
    z, g = floating(logits), len(reps.table)
    if z.shape != (g, g, g):
        raise ValueError(f"logits has shape {z.shape}: it must be [g, g, g] with g = {g}, the group's order.")
    return z


def _inputs(hidden: ArrayLike, reps: Representations) -> Array:
    h, g = floating(hidden), len(reps.table)
    if h.ndim != 3 or h.shape[:2] != (g, g):
        raise ValueError(f"hidden has shape {h.shape}: it must be [g, g, m] with g = {g}, the group's order.")
    return h


def _by_product(x: Array, reps: Representations) -> Array:
    """Σ over the inputs (a, b) with ab = s: [g, g, …] → [g, …]. Such inputs are (a, a⁻¹s)."""
    g = len(reps.table)
    return x[np.arange(g)[:, None], reps.table[reps.inverse]].sum(axis=0)


def _energies(x: Array, reps: Representations) -> Array:
    """[K]: the energy of x [g, m] in the span of each irrep's matrix elements."""
    rows = jnp.sum(_dot(_constant(reps.basis, x).T, x) ** 2, axis=1)
    return jax.ops.segment_sum(rows, reps.owner, num_segments=len(reps.irreps), indices_are_sorted=True)


def _constant(x: np.ndarray, like: Array) -> Array:
    return jnp.asarray(x, like.dtype)


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def learned(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: `measure` for a task of group composition, key irreps chosen at each point by itself."""
    return measure(run.config.net, params, _of_task(run), run.data["train_mask"])


def formation(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: similarity [K], and for the key irreps of the run's last point (`learned` as a final analyzer) logit_fve,
    restricted_loss and excluded_loss: the paper's progress measures."""
    reps, key = _of_task(run), run.final["learned/key"]
    z, hidden = activations(run.config.net, params, len(reps.table))
    similarity = logit_similarity(z, reps)
    ablated = hidden_losses(hidden, read_out(params, len(reps.table)), reps, key, run.data["train_mask"], each=False)
    return {"similarity": similarity, "logit_fve": logit_fve(similarity, key), **ablated}


def _of_task(run: Run) -> Representations:
    return representations(run.config.task.group, run.config.task.n)  # type: ignore[attr-defined]
