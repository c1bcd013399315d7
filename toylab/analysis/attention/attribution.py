"""Direct logit attribution: a transformer's logit as a sum over what its parts write into the residual stream.

With r the residual after the last layer, W_U's column u of a token and a final LayerNorm of weight w and bias b,

    logit = u · (w ∘ (r − mean r) / σ + b) + b_U = Σ_parts part · d + u · b + b_U,      d = (w ∘ u − mean(w ∘ u)) / σ

where σ = √(var r + 1e-5) is held at what it is in this forward pass, as TransformerLens' `ActivationCache.logit_attrs`
does; without LayerNorm d = u. Parts are the embedding, the positions, heads and MLPs, or finer ones. The sum is exact;
it is compared with the network's own logits. Direct effects only: what a part does by way of later layers belongs to
these (Elhage et al. 2021; Wang et al. 2022, arXiv 2211.00593). Path patching has the others (routes.py).

A logit means something only beside others: take the difference from another token's (`against`), or from the mean of
all, which is what the params of `centred_unembedding` give.
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Shaped

from toylab.analysis.attention.interventions import check_unclamped
from toylab.analysis.attention.read_out import centred_unembedding, logit_direction
from toylab.analysis.numbers import floating
from toylab.base import Apply, Cache, Params, Run
from toylab.shapes import shaped

Parts = Literal["head", "neuron", "source"]

UNTOLD = 0.01  # share of the parts' sizes that the sum may be off: a half-precision product's rounding is below
SHOWN = 16  # sequences of an evaluation set that an analyzer looks at


@shaped
def logit_attribution(
    apply: Apply,
    params: Params,
    x: Shaped[ArrayLike, "B P ..."],
    target: Integer[ArrayLike, "B ..."],
    against: Integer[ArrayLike, "B ..."] | None = None,
    parts: Parts = "head",
) -> dict[str, Float[Array, "..."]]:
    """What each part of the network adds to a logit, or to the difference of two. All entries of a position sum to `logit`.

    Args:
        apply: The network, a transformer with W_U on the residual stream.
        params: Its weights.
        x: A batch of inputs.
        target: Tokens [B, P] whose logit is taken apart at each position; [B] where the network reads out its last
            position.
        against: Other tokens, whose logits are taken off.
        parts: "head": each head and MLP. "neuron": MLPs by neuron. "source": heads by the position they attend to.

    Returns:
        A dict of arrays, in units of logits; the axis P is missing where the network reads out its last position.

        - `embed`, `pos` [B, P]: the embedding, and positions where they are added to the residual stream (else 0).
        - `head` [L, B, H, P], or `source` [L, B, H, P, keys]: A[q, k] v[k] W_O; b_V goes with the head.
        - `mlp` [L, B, P] with b_out, or `neuron` [L, B, P, d_mlp] without; none where there are no MLPs.
        - `bias` [B, P]: every b_O, and with neurons every b_out. `constant` [B, P]: the final LayerNorm's bias, and b_U.
        - `logit` [B, P]: the network's own.

    Raises:
        ValueError: For a network with other read-outs (W_R) or without these activations, for tokens that are not there, a
            clamp on `embed`, and where the parts do not add up to the logit (under jit all are nan then).
    """
    if parts not in get_args(Parts):
        raise ValueError(f"parts is {parts!r}: it must be one of {', '.join(get_args(Parts))}.")
    logits, cache, embedded = run_with_embedding(apply, params, x)
    if lacking := [name for name in ("resid_pre", "z", "pattern", "v", "resid_post") if name not in cache]:
        raise ValueError(f"the cache has {', '.join(cache)}: the attribution needs {', '.join(lacking)} too.")
    target = _fitting("target", target, logits)
    against = None if against is None else _fitting("against", against, logits)
    last = logits.ndim == 2  # read out at the last position alone
    at = slice(-1, None) if last else slice(None)
    if last:
        target, logits = target[:, None], logits[:, None]
        against = None if against is None else against[:, None]
    direction, constant = logit_direction(params, cache["resid_post"][-1][:, at], target, against)
    found = {
        "embed": _dot(embedded[:, at], direction),
        "pos": _dot((cache["resid_pre"][0] - embedded)[:, at], direction),
        **_heads(params, cache, direction, at, parts),
        **_mlps(params, cache, direction, at, parts),
        "constant": constant,
    }
    logit = jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
    if against is not None:
        logit = logit - jnp.take_along_axis(logits, against[..., None], -1)[..., 0]
    found = _adding_up({name: floating(value) for name, value in found.items()}, logit)
    positions = {"head": 3, "source": 3, "neuron": 2, "mlp": 2}
    return {name: value.squeeze(positions.get(name, 1)) for name, value in found.items()} if last else found


@shaped
def run_with_embedding(apply: Apply, params: Params, x: Shaped[ArrayLike, "B P ..."]) -> tuple[Array, Cache, Array]:
    """A forward pass, with what enters as the embedding, before positions are added.

    Args:
        apply: The network.
        params: Its weights.
        x: A batch of inputs.

    Returns:
        The logits, the cache, and the embedding [B, P, d_model].

    Raises:
        ValueError: For a net with a clamp on `embed`, and for one that has no such activation.
    """
    check_unclamped(apply, "embed")
    seen: list[Array] = []

    def see(value: Array, layer: int) -> Array:
        seen.append(value)
        return value

    logits, cache = apply(params, jnp.asarray(x), {"embed": see}, full=True)
    if not seen:
        raise ValueError(f"the network has no activation embed: its cache has {', '.join(cache) or 'none'}.")
    return logits, cache, seen[0]


def _fitting(name: str, tokens: ArrayLike, logits: Array) -> Array:
    if logits.ndim not in (2, 3):
        raise ValueError(f"the network gives outputs {list(logits.shape)}: they must be logits [B, C] or [B, P, C].")
    if jnp.shape(tokens) != logits.shape[:-1]:
        raise ValueError(
            f"{name} has shape {jnp.shape(tokens)}: it must be {list(logits.shape[:-1])}, a token for each of the network's"
            f" logits {list(logits.shape)}."
        )
    return jnp.asarray(tokens)


def _heads(params: Params, cache: Cache, direction: Array, at: slice, parts: Parts) -> dict[str, Array]:
    """`head` or `source`, and `bias` of b_O; each head reads the direction through its own W_O."""
    z = cache["z"][:, :, :, at]  # [L, B, H, P, dh]
    n_layers, _, n_heads, _, d_head = z.shape
    if "W_O" in params:
        read = jnp.einsum("bpd,lhed->lbhpe", direction, floating(params["W_O"]), precision="highest")
    else:  # heads side by side
        by_head = direction.reshape(*direction.shape[:2], n_heads, d_head)
        read = jnp.broadcast_to(jnp.moveaxis(by_head, 2, 1), (n_layers, *z.shape[1:]))
    bias = jnp.zeros(direction.shape[:2], direction.dtype)
    if "b_O" in params:
        bias = jnp.einsum("bpd,ld->bp", direction, floating(params["b_O"]), precision="highest")
    if parts != "source":
        return {"head": _dot(z, read), "bias": bias}
    by_value = jnp.einsum("lbhpe,lbhke->lbhpk", read, cache["v"], precision="highest")
    return {"source": cache["pattern"][:, :, :, at] * by_value, "bias": bias}


def _mlps(params: Params, cache: Cache, direction: Array, at: slice, parts: Parts) -> dict[str, Array]:
    """`mlp` or `neuron` (whose b_out joins `head`'s bias in `_adding_up`)."""
    if "mlp_out" not in cache:
        return {}
    if parts != "neuron":
        return {"mlp": _dot(cache["mlp_out"][:, :, at], direction)}
    read = jnp.einsum("bpd,lmd->lbpm", direction, floating(params["W_out"]), precision="highest")
    bias = jnp.einsum("bpd,ld->bp", direction, floating(params["b_out"]), precision="highest")
    return {"neuron": cache["mlp_post"][:, :, at] * read, "b_out": bias}


def _adding_up(found: dict[str, Array], logit: Array) -> dict[str, Array]:
    """With `logit`, if the parts sum to it; where they do not all are nan, or refused."""
    if "b_out" in found:
        found["bias"] = found["bias"] + found.pop("b_out")
    rest = {"head": (0, 2), "source": (0, 2, 4), "mlp": (0,), "neuron": (0, 3)}

    def summed(of: Callable[[Array], Array]) -> Array:
        return jnp.sum(jnp.stack([jnp.sum(of(value), rest.get(name, ())) for name, value in found.items()]), axis=0)

    total, size = summed(jnp.asarray), summed(jnp.abs)
    off = jnp.max(jnp.abs(total - logit))
    fits = off <= UNTOLD * jnp.max(size)
    if not isinstance(fits, jax.core.Tracer) and not (fits or jnp.isnan(off)):
        raise ValueError(
            f"the parts are off by {off:.3g} from the logit: the network has other parts than embedding, positions, heads,"
            " MLPs and biases, or another read-out."
        )
    return {name: jnp.where(fits, value, jnp.nan) for name, value in found.items()} | {"logit": logit}


def _dot(a: Array, b: Array) -> Array:
    return jnp.einsum("...d,...d->...", a, b, precision="highest")


def next_token_attribution(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of next-token tasks: `logit_attribution` of the right next token's logit above the mean of all, averaged
    over positions and the first `SHOWN` evaluation sequences, `run.data["tokens"]` [N, P + 1].

    Returns:
        A dict, in logits: `head` [L, H], `mlp` [L] where there are MLPs, and scalars `embed`, `pos`, `bias`, `constant` and
        `logit`, the sum.
    """
    tokens = run.data["tokens"][:SHOWN]
    found = logit_attribution(run.config.net.apply, centred_unembedding(params), tokens[:, :-1], tokens[:, 1:])
    means = {"head": (1, 3), "mlp": (1, 2)}
    return {name: jnp.mean(value, means.get(name)) for name, value in found.items()}
