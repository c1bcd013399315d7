"""What W_U and the final LayerNorm read of the residual stream: logits of any residual, and the direction of one logit.

`params` are a transformer's, of which W_U [d_model, C] and, where they are there, b_U [C], ln_final_w and ln_final_b
[d_model] are read. LayerNorm's ε is 1e-5.
"""

from collections.abc import Mapping
from typing import Annotated

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.numbers import floating
from toylab.base import Params
from toylab.shapes import shaped
from toylab.shapes.indices import check_range, nan_outside

ReadOut = Annotated[
    Mapping[str, ArrayLike],
    {
        "W_U": Real[ArrayLike, "d_model d_vocab_out"],
        "b_U": Real[ArrayLike, " d_vocab_out"],
        "ln_final_w": Real[ArrayLike, " d_model"],
        "ln_final_b": Real[ArrayLike, " d_model"],
    },
]
"""The weights from the residual stream to the logits, W_U and those that are there; others may be there."""

EPSILON = 1e-5  # of LayerNorm, as of the models


@shaped
def logit_lens(params: ReadOut, resid: Real[ArrayLike, "*batch d_model"]) -> Float[Array, "*batch d_vocab_out"]:
    """Logits that a residual would give if it were the last: LN(h) W_U + b_U, LN the final LayerNorm where there is one.

    Args:
        params: The weights from the residual to the logits.
        resid: h, as of `lens.residual_stream`.

    Returns:
        [..., C].

    Raises:
        ValueError: Without W_U, and with hidden read-out layers (W_R).
    """
    check_read_out(params)
    W, x = {name: floating(params[name]) for name in params}, floating(resid)
    if "ln_final_w" in W:
        x = x - jnp.mean(x, axis=-1, keepdims=True)
        x = x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + EPSILON) * W["ln_final_w"] + W["ln_final_b"]
    logits = jnp.matmul(x, W["W_U"], precision="highest")
    return logits + W["b_U"] if "b_U" in W else logits


@shaped
def logit_direction(
    params: ReadOut,
    resid: Real[ArrayLike, "*batch d_model"],
    target: Integer[ArrayLike, "*batch"],
    against: Integer[ArrayLike, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch d_model"], Float[Array, "*batch"]]:
    """The direction d of the residual stream that a logit reads, and the constant that it adds: logit = r · d + constant.

    The product of d with any part of the residual is what the part adds to the logit.

    Args:
        params: The weights: W_U [d_model, C] and, where there are, b_U [C], ln_final_w and ln_final_b [d_model].
        resid: The residual r after the last layer, which fixes the scale of the final LayerNorm.
        target: Tokens.
        against: Other tokens, whose logits are taken off.

    Returns:
        d [..., d_model] and the constant [...].

    Raises:
        ValueError: Without W_U, with hidden read-out layers (W_R), for tokens out of range (nan under jit).
    """
    check_read_out(params)
    W_U, resid = floating(params["W_U"]), floating(resid)
    b_U = floating(params["b_U"]) if "b_U" in params else jnp.zeros(W_U.shape[1], W_U.dtype)

    def read(tokens: ArrayLike, name: str) -> tuple[Array, Array]:
        check_range(name, tokens, W_U.shape[1], "W_U", "columns")
        columns = jnp.asarray(tokens)
        return nan_outside(W_U.T[columns], tokens, W_U.shape[1]), b_U[columns]

    u, constant = read(target, "target")
    if against is not None:
        other, other_constant = read(against, "against")
        u, constant = u - other, constant - other_constant
    if "ln_final_w" not in params:
        return u, constant
    weighed = u * floating(params["ln_final_w"])
    centred = resid - jnp.mean(resid, axis=-1, keepdims=True)
    scale = jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + EPSILON)
    direction = (weighed - jnp.mean(weighed, axis=-1, keepdims=True)) / scale
    return direction, constant + jnp.einsum("...d,d->...", u, floating(params["ln_final_b"]), precision="highest")


@shaped
def centred_unembedding(params: ReadOut) -> Params:
    """The params with the mean over tokens taken off W_U and b_U: logits less their mean, and the same probabilities.

    TransformerLens' `center_unembed`. Of these params a single logit's attribution means something.

    Args:
        params: The weights.

    Raises:
        ValueError: Without W_U, with hidden read-out layers (W_R).
    """
    check_read_out(params)
    W = {name: floating(params[name]) for name in ("W_U", "b_U") if name in params}
    centred = {name: value - jnp.mean(value, axis=-1, keepdims=True) for name, value in W.items()}
    return {**{name: jnp.asarray(value) for name, value in params.items()}, **centred}


def check_read_out(params: Mapping[str, ArrayLike]) -> None:
    """Checks that W_U reads the residual stream.

    Args:
        params: The weights.

    Raises:
        ValueError: Without W_U, with hidden layers before it (W_R), and for half of a final LayerNorm.
    """
    if "W_U" not in params or "W_R" in params:
        raise ValueError(f"params has {', '.join(sorted(params))}: W_U must read the residual stream, without W_R.")
    if ("ln_final_w" in params) != ("ln_final_b" in params):
        raise ValueError(
            f"params has {', '.join(sorted(params))}: ln_final_w and ln_final_b must be there both or neither."
        )
