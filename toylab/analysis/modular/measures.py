"""The measures of `modular.circuits`, of one network or array at a time; what they trace stands at the end."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Integer, Real

from toylab.analysis.float64 import float64_on_host, on_host
from toylab.analysis.modular.circles import alone, circularity_of, explained
from toylab.analysis.modular.inputs import (
    Prompt,
    Weights,
    check_modulus,
    checked_triples,
    inputs_of,
    number_part,
    number_table,
    operands_of,
    published_triples,
)
from toylab.analysis.modular.networks import in_own_dtype, last_logits, passable
from toylab.analysis.numbers import check_finite, floating, scaled, varying
from toylab.base import Params
from toylab.shapes import shaped
from toylab.shapes.indices import check_range

Which = Literal["correct", "incorrect"]
CANDIDATES = ("clock", "pizza", "pizza_appendix", "accompanying")
CIRCLES = 4  # that the authors' numbers are given for


@shaped
def gradient_symmetricity(
    net: Any,
    params: Weights,
    triples: Integer[ArrayLike, "n 3"] | None = None,
    *,
    p: int | None = None,
    n_tokens: int | None = None,
    prompt: Prompt | None = None,
) -> float:
    """Mean over triples (a, b, c) of cos(∂Q_c/∂E_a, ∂Q_c/∂E_b): near 1 for a pizza, about ⅓ for a clock (Zhong et al.
    2023).

    Q_c is the logit of class c on input (a, b), not a loss. E is the output of the token embedding, before positions. A
    vanishing gradient counts as 0. Gradients are in the dtype of the weights, as the authors have them, cosines in float64.

    Args:
        net: Anything with `apply(params, tokens) -> (logits, cache)`.
        params: Its weights.
        triples: The triples; by default the paper's, the first 100 of all of them, row-major, after
            `random.Random(42).shuffle`.
        p: The modulus, where it cannot be read from the weights.
        n_tokens: 2 (a, b) or 3 (a, b, "="), likewise.
        prompt: What stands at each position, of another network: as of `inputs.inputs_of`.

    Returns:
        A number in [−1, 1].

    Raises:
        ValueError: For triples of other shapes or out of range, and as of `inputs.inputs_of`.
    """
    inputs = inputs_of(params, p, n_tokens, prompt)
    triples = published_triples(inputs.p) if triples is None else checked_triples(triples, inputs.p)
    tokens = inputs.tokens(triples[:, 0], triples[:, 1])
    with float64_on_host():
        arguments = passable(net), in_own_dtype(params), tokens, triples[:, 2]
        return float(_symmetricity(*arguments, jnp.float64, operands_of(prompt)))


@shaped
def distance_irrelevance(
    logits: Real[ArrayLike, "*inputs d_vocab_out"], which: Which = "correct"
) -> float | Float[Array, ""]:
    """mean_d std_s L[s, d] / std(L), with L[a + b, a − b] the logit of (a, b): how little the distance a − b decides.

    It is near 0.2 where logits depend on a − b (pizza) and near 1 where they do not (Zhong et al. 2023). Standard
    deviations are those of the population (ddof 0).

    Args:
        logits: Logits of all pairs, [p, p, C] or [p², C] row-major, p odd, C ≥ p.
        which: "correct" takes the correct logit, the paper's definition. "incorrect" takes the largest other logit, which
            is the column of the authors' run table.

    Returns:
        A Python float where the values are known, else a scalar of the input's dtype; nan where all of L is equal.

    Raises:
        ValueError: For other shapes, nan, and an unknown `which`.
    """
    if which not in get_args(Which):
        raise ValueError(f'which is {which!r}, it must be "correct" or "incorrect"')
    shape = np.shape(logits)
    p = shape[0] if len(shape) == 3 else round(shape[0] ** 0.5)
    if len(shape) not in (2, 3) or shape[:-1] not in ((p, p), (p * p,)) or p < 3 or shape[-1] < p:
        raise ValueError(f"logits has shape {shape}, it must be [p, p, C] or [p², C] with C ≥ p ≥ 3")
    check_finite("logits", logits)
    if isinstance(logits, jax.core.Tracer):
        return irrelevance(logits.reshape(p, p, -1), which)
    with float64_on_host():  # keeps an input of 64 bits
        return float(_irrelevance(floating(on_host(logits)).reshape(p, p, -1), which))


@shaped
def circularity(W_E: Real[ArrayLike, "*operands d_vocab d_model"], *, p: int | None = None) -> float | Float[Array, ""]:
    """How circular the first four principal components of the embedding are, on average (`circles.circularities`).

    All rows enter the components and the first p are looked at, as in the authors' code. With separate vocabularies of the
    operands the number stays near ½ however round the circles are. It is computed in float64 where the values are known.

    Args:
        W_E: The embedding.
        p: The modulus; by default the number of rows. Give it where there are more rows than numbers.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: For nan, other shapes, n < p, and p that is no odd prime.
    """
    W_E = number_table(W_E) if np.ndim(W_E) == 3 else W_E
    shape = np.shape(W_E)
    if len(shape) != 2 or min(shape) < 2:
        raise ValueError(f"W_E has shape {shape}, it must be [d_vocab, d_model] with at least 2 of each")
    if p is None and not shape[0] % 2:
        raise ValueError(
            f"W_E has {shape[0]} rows, which is no odd prime: give the modulus p where some are no numbers"
        )
    p = shape[0] if p is None else p
    check_modulus(p)
    if shape[0] < p:
        raise ValueError(f"W_E has {shape[0]} rows, it must have at least p = {p}")
    check_finite("W_E", W_E)
    if isinstance(W_E, jax.core.Tracer):
        return circularity_of(W_E, p)
    with float64_on_host():
        return float(_circularity(jnp.asarray(on_host(W_E), jnp.float64), p))


@shaped
def circle_fve(
    net: Any,
    params: Weights,
    circle: int = 0,
    *,
    p: int | None = None,
    n_tokens: int | None = None,
    prompt: Prompt | None = None,
) -> dict[str, float]:
    """What explains the logits when the embedding keeps one circle alone: principal components 2·circle and 2·circle + 1.

    W_E is replaced as a whole by the inverse of its principal component analysis, mean included, as the authors do
    (Zhong et al. 2023). With a prompt that is done to the rows of the numbers alone: the other tokens keep theirs.

    Args:
        net: Anything with `apply(params, tokens) -> (logits, cache)`.
        params: Its weights.
        circle: The index of the circle, from 0.
        p: The modulus, where it cannot be read from the weights.
        n_tokens: 2 or 3, likewise.
        prompt: What stands at each position, of another network: as of `inputs.inputs_of`.

    Returns:
        A dict: `frequency` of the circle, int, and the shares `clock`, `pizza`, `pizza_appendix` and `accompanying` of
        `circles.explained`.

    Raises:
        ValueError: For a circle that is not there, and as of `inputs.inputs_of`.
    """
    return circle_fves(net, params, (circle,), p=p, n_tokens=n_tokens, prompt=prompt)[0]


@shaped
def circle_fves(
    net: Any,
    params: Weights,
    circles: tuple[int, ...] | None = None,
    *,
    p: int | None = None,
    n_tokens: int | None = None,
    prompt: Prompt | None = None,
) -> list[dict[str, float]]:
    """`circle_fve` of several circles (by default the first four), for the price of one decomposition."""
    inputs = inputs_of(params, p, n_tokens, prompt)
    W_E, tokens = number_part(params["W_E"], inputs.p, prompt)[0], inputs.all_tokens()
    rank = min(number_table(W_E).shape)
    circles = first_circles(W_E) if circles is None else circles
    for circle in circles:
        if circle not in range(rank // 2):
            raise ValueError(f"circle is {circle}, W_E has the circles 0 … {rank // 2 - 1}")
    with float64_on_host():
        weights = in_own_dtype(params)
        own, rest = number_part(weights["W_E"], inputs.p, prompt)
        tables, frequencies = _alone(own, np.array(circles, int), inputs.p)
        found = []
        for table, frequency in zip(tables, np.asarray(frequencies).tolist(), strict=True):
            logits = _logits(passable(net), {**weights, "W_E": jnp.concatenate([table, rest], axis=-2)}, tokens)
            shares = jax.device_get(_explained_exactly(logits, frequency, inputs.p))
            found.append({"frequency": frequency, **{name: float(shares[name]) for name in CANDIDATES}})
    return found


@shaped
def first_circles(W_E: Real[ArrayLike, "*operands d_vocab d_model"]) -> tuple[int, ...]:
    """The circles that the authors give numbers for, as far as W_E has them: 0 … 3."""
    *tables, d = np.shape(W_E)
    return tuple(range(min(CIRCLES, int(np.prod(tables)) // 2, d // 2)))


@shaped
def most_varying(values: Real[ArrayLike, "n_pairs n"]) -> Float[Array, "p p"]:
    """What varies most over all pairs (a, b) of several quantities, such as neurons, as a picture over the pairs.

    Args:
        values: Of pair a·p + b, [p², n].

    Returns:
        The column of the largest variance, [p, p]; of equal ones the first.

    Raises:
        ValueError: If the number of pairs is no square, or there is no quantity.
    """
    values = floating(values)
    p = round(len(values) ** 0.5)
    if p * p != len(values) or not values.size:
        raise ValueError(f"values has shape {values.shape}: it must be [p², n] with at least one quantity")
    return values[:, scaled(values)[0].var(axis=0).argmax()].reshape(p, p)


@shaped
def symmetricity(
    net: Any,
    params: Params,
    tokens: Integer[ArrayLike, "n n_tokens"],
    classes: Integer[ArrayLike, " n"],
    dtype: Any = None,
    operands: tuple[int, int] = (0, 1),
) -> Float[Array, ""]:
    """`gradient_symmetricity` for tokens [n, T] with a, b at `operands`, and the classes [n] whose logits are meant."""
    found = input_gradients(net, params, tokens, classes, operands)
    of_a, of_b = (scaled(x.astype(dtype or x.dtype), -1)[0] for x in found)
    norms = jnp.linalg.norm(of_a, axis=-1) * jnp.linalg.norm(of_b, axis=-1)
    return ((of_a * of_b).sum(-1) / jnp.where(norms > 0, norms, 1)).mean()


@shaped
def input_gradients(
    net: Any,
    params: Params,
    tokens: Integer[ArrayLike, "n n_tokens"],
    classes: Integer[ArrayLike, " n"],
    operands: tuple[int, int] = (0, 1),
) -> tuple[Float[Array, "n d_model"], Float[Array, "n d_model"]]:
    """∂Q_c/∂E_a and ∂Q_c/∂E_b of the logit of each class at its input, [n, d] each, in one backward pass.

    Each input's a and b become tokens of their own, with rows of their own below W_E: what a gradient with respect to
    these rows is, is that with respect to the embedding's output, whatever the network does with it.
    """
    W_E, d_vocab = params["W_E"], params["W_E"].shape[-2]
    check_range("tokens", tokens, d_vocab, "W_E", "rows")
    check_range("classes", classes, params["W_U"].shape[-1], "W_U", "classes")
    tokens, at = jnp.asarray(tokens), np.array(operands)
    n = len(tokens)
    own = jnp.concatenate([W_E[..., tokens[:, position], :] for position in operands], axis=-2)
    renamed = tokens.at[:, at].set(d_vocab + jnp.arange(2 * n, dtype=tokens.dtype).reshape(2, n).T)

    def total(own: Array) -> Array:
        table = jnp.concatenate([W_E, own], axis=-2)
        logits, _ = net.apply({**params, "W_E": table}, renamed, full=True)
        last = logits.reshape(n, -1, logits.shape[-1])[:, -1]
        return last[jnp.arange(n), jnp.asarray(classes)].sum()

    gradient = jax.grad(total)(own)
    each = gradient if gradient.ndim == 3 else jnp.stack([gradient, gradient])  # a table for each operand, or one
    return each[0, :n], each[1, n:]


@shaped
def irrelevance(logits: Real[Array, "p p d_vocab_out"], which: Which) -> Float[Array, ""]:
    """`distance_irrelevance` of a cube [p, p, C]."""
    p = len(logits)
    if p % 2 == 0:
        raise ValueError(f"logits has p = {p}, it must be odd: else (a + b, a − b) does not tell all pairs apart")
    n = np.arange(p)
    label = (n[:, None] + n) % p
    correct = jnp.arange(logits.shape[-1]) == label[..., None]
    L = jnp.where(correct == (which == "correct"), logits, -jnp.inf).max(-1)  # [a, b]
    half = (p + 1) // 2  # a = (s + d)/2, b = (s − d)/2 mod p
    L = L[(n[:, None] + n) * half % p, (n[:, None] - n) * half % p]  # [s, d]
    L, _ = scaled(varying(L, L - L[0, 0], None))  # where all are equal the mean's rounding is no deviation
    return L.std(0).mean() / L.std()


@shaped
def circle_shares(
    net: Any,
    params: Params,
    tokens: Integer[ArrayLike, "n n_tokens"],
    circles: Integer[ArrayLike, " m"],
    p: int,
    prompt: Prompt | None = None,
) -> dict[str, Real[Array, " m"]]:
    """The frequency and the shares of `explained`, [m] each, for circles [m]; all in the dtype of the weights."""
    own, rest = number_part(params["W_E"], p, prompt)

    def of(one: tuple[Array, Array]) -> dict[str, Array]:
        table, frequency = one
        logits = last_logits(net, {**params, "W_E": jnp.concatenate([table, rest], axis=-2)}, tokens)
        return {"frequency": frequency, **explained(logits.reshape(p, p, -1), frequency)}

    return jax.lax.map(of, alone(own, circles, p))


@shaped
def alone_exactly(
    W_E: Real[Array, "*operands d_vocab d_model"], circles: Integer[Array, " m"], p: int
) -> tuple[tuple[Real[Array, "*operands d_vocab d_model"], ...], Integer[Array, " m"]]:
    """`alone` by way of float64, as one array for each circle."""
    tables, frequencies = alone(W_E.astype(jnp.float64), circles, p)
    return tuple(tables.astype(W_E.dtype)), frequencies


@shaped
def explained_exactly(
    logits: Real[Array, "n d_vocab_out"], frequency: Integer[Array, ""], p: int
) -> dict[str, Float[Array, ""]]:
    """`explained` in float64, for logits [p², C] row-major."""
    return explained(logits.astype(jnp.float64).reshape(p, p, -1), frequency)


# Three programs a circle and not one: fused, the network's products are slower on CPU.
_symmetricity = jax.jit(symmetricity, static_argnums=(4, 5))
_irrelevance = jax.jit(irrelevance, static_argnums=1)
_circularity = jax.jit(circularity_of, static_argnums=1)
_alone = jax.jit(alone_exactly, static_argnums=2)
_logits = jax.jit(last_logits)
_explained_exactly = jax.jit(explained_exactly, static_argnums=2)
