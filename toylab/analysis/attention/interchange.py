"""Interchange interventions: does a part of an activation hold a variable of a causal model?

A causal model says which label follows if one of its variables had the value that it has on another input. An interchange
intervention does the same to the network: on the base input, the site takes what it is on the source input (Geiger et al.
2021, arXiv 2106.02997). A variable need not lie along neurons. With Q [d, k] an orthonormal basis of a subspace of the
site,

    v ← v_base + (v_source − v_base) Q Qᵀ

swaps the first k coordinates of a rotated site; the others of the rotation change nothing, so that Q is all of it. The
share of pairs whose label comes out as the causal model says is the interchange-intervention accuracy. Hold it against
that without a swap, and with the whole site swapped. alignment.py fits Q.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Integer, Real, Shaped

from toylab.analysis.attention.interventions import check_unclamped
from toylab.analysis.numbers import floating, nan_where
from toylab.base import Apply, Params
from toylab.shapes import shaped

SKEW = 1e-3  # of QᵀQ from 1: more than rounding of any basis that was made orthonormal in float32


class Site(NamedTuple):
    """Where a variable may lie: one vector of an activation for each example.

    `Site("resid_post", 0, position=-1)`, `Site("z", 1, position=4, head=0)`, `Site("post_0")` of a network on vectors.

    Attributes:
        name: Of the activation in the cache, [L, B, …, d].
        layer: Its layer.
        position: Its position, where the activation has such an axis.
        head: Its head, where the activation has such an axis.
    """

    name: str
    layer: int = 0
    position: int | None = None
    head: int | None = None


@shaped
def site_values(apply: Apply, params: Params, x: Shaped[Array, "B ..."], site: Site) -> Float[Array, "B d"]:
    """The site's vector on each input.

    Args:
        apply: The network.
        params: Its weights.
        x: A batch of inputs.
        site: Where.

    Returns:
        [B, d].

    Raises:
        ValueError: For an activation, layer, position or head that is not there, and for a position or head that is needed
            or that the activation has no axis for.
    """
    _, cache = apply(params, x, full=True)
    if site.name not in cache:
        raise ValueError(f"site.name is {site.name!r}: the activations are {', '.join(cache)}.")
    n_layers = len(cache[site.name])
    if not 0 <= site.layer < n_layers:
        raise ValueError(f"site.layer is {site.layer}: {site.name} has the layers 0 to {n_layers - 1}.")
    value = cache[site.name][site.layer]
    return value[_index(site, value.shape)]


@shaped
def interchanged(
    apply: Apply,
    params: Params,
    base: Shaped[Array, "B ..."],
    source: Shaped[Array, "B ..."],
    site: Site,
    basis: Real[ArrayLike, "d k"] | None = None,
) -> Float[Array, "B ..."]:
    """Logits on the base inputs with a subspace of the site as on the source inputs, row by row.

    Args:
        apply: The network.
        params: Its weights.
        base: A batch of inputs.
        source: Another.
        site: Where.
        basis: Q, orthonormal columns; None: the whole site.

    Returns:
        Logits, as of `apply`.

    Raises:
        ValueError: As of `site_values`, for a basis that is not orthonormal, and a clamp at the site.
    """
    return swapped(apply, params, base, site_values(apply, params, source, site), site, basis)


@shaped
def swapped(
    apply: Apply,
    params: Params,
    base: Shaped[Array, "B ..."],
    values: Real[Array, "B d"],
    site: Site,
    basis: Real[ArrayLike, "d k"] | None = None,
) -> Float[Array, "B ..."]:
    """Logits on the base inputs with a subspace of the site as in given values of it, row by row.

    Args:
        apply: The network.
        params: Its weights.
        base: A batch of inputs.
        values: What the site takes, as of `site_values`.
        site: Where.
        basis: Q, orthonormal columns; None: the whole site.

    Returns:
        Logits, as of `apply`.

    Raises:
        ValueError: As of `site_values`, for a basis that is not orthonormal, and a clamp at the site.
    """
    check_unclamped(apply, site.name)
    Q = None if basis is None else floating(basis)
    if Q is not None and not isinstance(Q, jax.core.Tracer):
        off = jnp.max(jnp.abs(jnp.matmul(Q.T, Q, precision="highest") - jnp.eye(Q.shape[1])), initial=0)
        if off > SKEW:
            raise ValueError(
                f"basis has columns that are off by {off:.3g} from orthonormal: alignment.orthonormal makes them so."
            )

    def swap(value: Array, layer: int) -> Array:
        if layer != site.layer:
            return value
        at = _index(site, value.shape)
        change = values - value[at]
        along = (
            change if Q is None else jnp.matmul(jnp.matmul(change, Q, precision="highest"), Q.T, precision="highest")
        )
        return value.at[at].add(along)

    return apply(params, base, {site.name: swap}, full=True)[0]


@shaped
def interchange_accuracy(
    logits: Real[ArrayLike, "*batch n_classes"],
    labels: Integer[ArrayLike, "*batch"],
    where: Bool[ArrayLike, "*batch"] | None = None,
) -> Float[Array, ""]:
    """The share of answers that are what the causal model says: the interchange-intervention accuracy (Geiger et al. 2021).

    Args:
        logits: Of `interchanged`.
        labels: What the causal model says, with the variable's value on the source input.
        where: The answers that count; None: all.

    Returns:
        In 0 to 1; nan of nan, and where none counts.
    """
    logits = floating(logits)
    right = (jnp.argmax(logits, axis=-1) == jnp.asarray(labels)).astype(logits.dtype)
    return jnp.mean(nan_where(jnp.isnan(logits).any(-1), right), where=None if where is None else jnp.asarray(where))


def _index(site: Site, shape: tuple[int, ...]) -> tuple[slice | int, ...]:
    """Of the site's vectors in one layer of its activation [B, d], [B, P, d] or [B, H, P, d]."""
    axes = {2: (), 3: ("position",), 4: ("head", "position")}.get(len(shape))
    if axes is None:
        raise ValueError(
            f"site.name is {site.name!r}, an activation of shape {shape}: it must be vectors of each example."
        )
    for name in ("position", "head"):
        at = getattr(site, name)
        if (at is None) == (name in axes):
            needs = (
                f"must be given: {site.name} has such an axis"
                if at is None
                else f"is {at}: {site.name} has no such axis"
            )
            raise ValueError(f"site.{name} {needs}.")
    for axis, name in enumerate(axes, start=1):
        if not -shape[axis] <= getattr(site, name) < shape[axis]:
            raise ValueError(f"site.{name} is {getattr(site, name)}: {site.name} has {shape[axis]} of them.")
    return (slice(None), *(getattr(site, name) for name in axes))
