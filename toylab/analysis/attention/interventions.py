"""Causal interventions on one forward pass: ablation of heads, activation patching, path patching, attribution patching.

All of them take `apply(params, x, patch) -> (logits, cache)` of base.py, a batch of inputs `x` [B, …] and a score, a
function from logits to one number (a loss, a logit difference). Patching compares a clean batch with a corrupt one, row
by row: it runs the corrupt batch, inserts clean activations, and gives how much of the score they restore,

    (M − M_corrupt) / (M_clean − M_corrupt)        0: nothing, 1: all of it

(Wang et al. 2022, arXiv 2211.00593; Heimersheim & Nanda 2024, arXiv 2404.15255). What is inserted is told by the name of
an activation in the cache and the axes of its array [L, B, …] along which it is cut into units, one pass for each:
`("z", (0, 2))` is every head, [L, H]; `("z", (0, 2, 3))` every head at every position, [L, H, P]; `("pattern", (0, 2))` the
heads' patterns; `("resid_pre", (0, 2))` the residual at every layer and position, [L, P]; `("resid_pre", (0,))` at all
positions of a layer at once. The passes run inside one compiled loop, so all of this may be jitted and mapped by `analyze`.

Interventions *during training* are not here: a `Net` has static `clamps`, patches that are in force at every call. A patch
takes the place of a clamp of the same name, which would make it another network: ValueError.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real, Shaped

from toylab.base import Apply, Params, Patch
from toylab.shapes import shaped

Score = Callable[[Array], Array]
"""logits → a scalar."""

HEADS = (0, 2)  # of z or pattern [L, B, H, …]
POSITIONS = (0, 2)  # of the residual stream [L, B, P, d_model]
HEADS_AND_POSITIONS = (0, 2, 3)  # of z [L, B, H, P, d_head]


@shaped
def head_ablation(
    apply: Apply,
    params: Params,
    x: Shaped[Array, "B ..."],
    loss: Score,
    kind: Literal["zero", "mean", "resample"] = "zero",
) -> Float[Array, "n_layers n_heads"]:
    """What each head's removal adds to the loss: Δ = loss(ablated) − loss.

    Args:
        apply: The network.
        params: Its weights.
        x: A batch of inputs.
        loss: From logits to a number.
        kind: What takes the place of the head's z. "zero": 0. "mean": its average over the batch, position by position.
            "resample": the z of the batch's neighbour; row b gets that of row b − 1 (Wang et al. 2022; Chan et al. 2022
            argue for resampling).

    Returns:
        [L, H].

    Raises:
        ValueError: For mean and resample of a batch of one, which has no other example.
    """
    check_unclamped(apply, "z")
    logits, cache = apply(params, x, full=True)
    z = cache["z"]  # [L, B, H, P, d_head]
    if kind not in ("zero", "mean", "resample"):
        raise ValueError(f"kind is {kind!r}: it must be zero, mean or resample.")
    if kind != "zero" and len(x) < 2:
        raise ValueError(
            f"x has shape {x.shape}: kind {kind!r} takes from other examples, so there must be at least 2."
        )
    substitute = {"zero": 0 * z, "mean": jnp.mean(z, axis=1, keepdims=True), "resample": jnp.roll(z, 1, axis=1)}[kind]
    substitute = jnp.broadcast_to(substitute, z.shape)

    def ablated(where: Array) -> Array:
        return loss(apply(params, x, inserting("z", where, substitute), full=True)[0])

    return one_by_one(ablated, z.shape, HEADS) - loss(logits)


@shaped
def activation_patching(
    apply: Apply,
    params: Params,
    clean: Shaped[Array, "*inputs"],
    corrupt: Shaped[Array, "*inputs"],
    metric: Score,
    name: str = "z",
    axes: tuple[int, ...] = HEADS,
) -> Float[Array, "*units"]:
    """The share of a metric that each unit's clean activation restores in the corrupt run (see above).

    Args:
        apply: The network.
        params: Its weights.
        clean: A batch of inputs.
        corrupt: Another, row by row to be compared.
        metric: From logits to a number.
        name: The activation.
        axes: The axes of its array along which units are told apart. Units must lie in layers: axes begins with 0.

    Returns:
        One entry for each unit.
    """
    check_unclamped(apply, name)
    (logits, cache), (without, _) = apply(params, clean, full=True), apply(params, corrupt, full=True)
    value = _named(cache, name, axes)

    def patched(where: Array) -> Array:
        return metric(apply(params, corrupt, inserting(name, where, value), full=True)[0])

    return restored(one_by_one(patched, value.shape, axes), metric(logits), metric(without))


@shaped
def attribution_patching(
    apply: Apply,
    params: Params,
    clean: Shaped[Array, "*inputs"],
    corrupt: Shaped[Array, "*inputs"],
    metric: Score,
    name: str = "z",
    axes: tuple[int, ...] = HEADS,
    at: Literal["corrupt", "clean"] = "corrupt",
) -> Float[Array, "*units"]:
    """The linear estimate of `activation_patching`, all units by one gradient (Nanda 2023, Attribution patching).

    It is Σ (a_clean − a_corrupt) · ∂M/∂a, divided by M_clean − M_corrupt, the sum over what `axes` leaves out. With the
    gradient at the corrupt run it is exact wherever M is linear in the activation, as in the z of the last layer without
    LayerNorm.

    Args:
        apply: The network.
        params: Its weights.
        clean: A batch of inputs.
        corrupt: Another, row by row to be compared.
        metric: From logits to a number.
        name: The activation.
        axes: As of `activation_patching`.
        at: Where the gradient is taken: at the "corrupt" run, or at the "clean" one, as edge attribution patching does
            (Syed et al. 2023, arXiv 2310.10348).

    Returns:
        One entry for each unit.
    """
    if at not in ("corrupt", "clean"):
        raise ValueError(f"at is {at!r}: it must be corrupt or clean.")
    check_unclamped(apply, name)
    (logits, cache), (without, cache_without) = apply(params, clean, full=True), apply(params, corrupt, full=True)
    change = _named(cache, name, axes) - cache_without[name]
    x = corrupt if at == "corrupt" else clean

    def shifted(by: Array) -> Array:
        return metric(apply(params, x, {name: lambda value, layer: value + by[layer]}, full=True)[0])

    gradient = jax.grad(shifted)(jnp.zeros_like(change))
    rest = tuple(axis for axis in range(change.ndim) if axis not in axes)
    return jnp.sum(change * gradient, axis=rest) / (metric(logits) - metric(without))


@shaped
def path_patching(
    apply: Apply,
    params: Params,
    clean: Shaped[Array, "*inputs"],
    corrupt: Shaped[Array, "*inputs"],
    metric: Score,
    receiver: Literal["q", "k", "v", "logits"] = "k",
) -> Float[Array, "n_layers n_heads n_layers n_heads"] | Float[Array, "n_layers n_heads"]:
    """The share of a metric that one path restores: a sender head's clean output, seen by a single receiver.

    The path is the direct one through the residual stream. What lies between is held at the corrupt run, MLPs included.
    What comes after the receiver is computed anew (Goldowsky-Dill et al. 2023, arXiv 2304.05969; Wang et al. 2022 let
    MLPs between recompute, which without MLPs is the same).

    Args:
        apply: The network.
        params: Its weights.
        clean: A batch of inputs.
        corrupt: Another, row by row to be compared.
        metric: From logits to a number.
        receiver: "q", "k" or "v", an input of a head, or "logits".

    Returns:
        [L, H, L, H] from sender to the input of a head, 0 where the sender is not in an earlier layer; or [L, H] from
        sender straight to the logits.

    Raises:
        ValueError: For another receiver, a clamp that would be lifted, and a network whose stream is no sum.
    """
    check_sum(params)
    if receiver not in ("q", "k", "v", "logits"):
        raise ValueError(f"receiver is {receiver!r}: it must be q, k, v or logits.")
    check_unclamped(apply, "resid_post" if receiver == "logits" else f"{receiver}_input")
    (logits, cache), (without, cache_without) = apply(params, clean, full=True), apply(params, corrupt, full=True)
    change = cache["result"] - cache_without["result"]  # [L, B, H, P, d_model]
    n_layers, _, n_heads = change.shape[:3]

    def sent(sender: Array) -> Array:  # of a mask [L, H] → [B, P, d_model]
        return jnp.einsum("lh,lbhpd->bpd", sender.astype(change.dtype), change)

    def patched(patch: Patch) -> Array:
        return metric(apply(params, corrupt, patch, full=True)[0])

    def to_logits(sender: Array) -> Array:
        last = n_layers - 1
        return patched({"resid_post": lambda value, layer: value + sent(sender) if layer == last else value})

    def to_head(sender: Array, at: Array) -> Array:
        added = sent(sender)[:, None]  # [B, 1, P, d_model]
        return patched(
            {f"{receiver}_input": lambda value, layer: jnp.where(at[layer, :, None, None], value + added, value)}
        )

    heads = units((n_layers, 1, n_heads), HEADS)[:, :, :, 0, :]  # [L, H, L, H]
    if receiver == "logits":
        by_sender = jax.lax.map(jax.vmap(to_logits), heads)
        return restored(by_sender, metric(logits), metric(without))
    flat = heads.reshape(-1, n_layers, n_heads)
    by_pair = jax.lax.map(lambda sender: jax.vmap(lambda at: to_head(sender, at))(flat), flat)
    share = restored(by_pair.reshape(n_layers, n_heads, n_layers, n_heads), metric(logits), metric(without))
    earlier = jnp.arange(n_layers)[:, None] < jnp.arange(n_layers)
    return jnp.where(earlier[:, None, :, None], share, 0)


@shaped
def restored(
    metric: Real[ArrayLike, "*#units"], clean: Real[ArrayLike, "*#units"], corrupt: Real[ArrayLike, "*#units"]
) -> Float[Array, "*units"]:
    """(M − M_corrupt) / (M_clean − M_corrupt)."""
    return (jnp.asarray(metric) - corrupt) / (jnp.asarray(clean) - corrupt)


@shaped
def inserting(name: str, where: Bool[Array, "n_layers ..."], substitute: Real[Array, "n_layers B ..."]) -> Patch:
    """Puts `substitute` [L, B, …] into the activation where the mask [L, …] (broadcast against it) is true."""
    return {name: lambda value, layer: jnp.where(where[layer], substitute[layer], value)}


def check_sum(params: Params) -> None:
    """Checks that the residual stream is the sum of what heads and MLPs write.

    Args:
        params: The weights.

    Raises:
        ValueError: Where a LayerNorm stands behind each sum.
    """
    if "ln1_post_w" in params:
        raise ValueError(
            "params has ln1_post_w: a LayerNorm behind each sum leaves no path that adds to what comes later."
        )


def check_unclamped(apply: Apply, *names: str) -> None:
    """Checks that no clamp would be lifted by a patch.

    Args:
        apply: The network.
        *names: Activations that are to be patched.

    Raises:
        ValueError: Where the network has a clamp on one of them.
    """
    while isinstance(apply, partial):
        apply = apply.func
    clamps = dict(getattr(getattr(apply, "__self__", None), "clamps", ()))
    if both := [name for name in names if name in clamps]:
        raise ValueError(f"net.clamps has {both[0]}, which is patched here: a patch would lift the clamp.")


def one_by_one(
    effect: Callable[[Array], Array], shape: tuple[int, ...], axes: tuple[int, ...]
) -> Float[Array, "*units"]:
    """`effect` of each unit's mask: the last of `axes` side by side in a vmap, the others in turn, which bounds memory."""
    masks = units(shape, axes)
    size = [shape[axis] for axis in axes]
    n_turns = math.prod(size[:-1])
    found = jax.lax.map(jax.vmap(effect), masks.reshape(n_turns, size[-1], *masks.shape[len(axes) :]))
    return found.reshape(size)


def units(shape: tuple[int, ...], axes: tuple[int, ...]) -> Bool[Array, "..."]:
    """bool [*units, …]: for each index along `axes` of an array of that shape the mask of its entries, with length 1 along
    the other axes."""
    size = [shape[axis] for axis in axes]
    spread = [n if axis in axes else 1 for axis, n in enumerate(shape)]
    return jnp.eye(math.prod(size), dtype=bool).reshape(*size, *spread)


def _named(cache: dict[str, Array], name: str, axes: tuple[int, ...]) -> Array:
    if name not in cache:
        raise ValueError(f"name is {name!r}: the activations are {', '.join(cache)}.")
    if not axes or axes[0] != 0 or list(axes) != sorted(set(axes)) or axes[-1] >= cache[name].ndim:
        raise ValueError(f"axes is {axes}: ascending axes of {name} {cache[name].shape} are needed, beginning with 0.")
    return cache[name]
