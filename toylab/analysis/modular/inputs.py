"""What a modular-addition network is asked: its modulus and tokens, read from the shapes of its weights."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Integer, Real

from toylab.analysis.numbers import check_finite
from toylab.shapes import shaped

Weights = Annotated[
    Mapping[str, ArrayLike],
    {
        "W_E": Real[ArrayLike, "*operands d_vocab d_model"],
        "W_pos": Real[ArrayLike, "n_ctx d_model"],
        "W_U": Real[ArrayLike, "d_last d_vocab_out"],
    },
]
"""Arrays by name; these have the shapes here, others may be there. W_E is one table, or one for each operand."""


Prompt = tuple[str | int, ...]
"""What stands at each position of a prompt: "a", "b", or a token: ("a", p + 1, "b", p)."""


class Inputs(NamedTuple):
    p: int
    n_tokens: int  # 3: a, b and "="
    separate: bool  # the second operand has tokens of its own, b + p
    d_vocab: int
    apart: bool  # a number has an embedding as a and another as b: separate, or a table [2, V, d] for each operand
    prompt: Prompt | None = None  # None: a, b and, of three, the last token of the vocabulary

    @shaped
    def tokens(self, a: Integer[ArrayLike, " n"], b: Integer[ArrayLike, " n"]) -> Integer[np.ndarray, "n n_tokens"]:
        """int32 [n, n_tokens]: the prompt; or a, b (+ p where separate) and, of three, the last token of the vocabulary."""
        columns = {"a": np.asarray(a), "b": np.asarray(b) + self.p * self.separate}
        prompt = self.prompt or ("a", "b", self.d_vocab - 1)[: self.n_tokens]
        found = [columns[one] if isinstance(one, str) else np.full_like(columns["a"], one) for one in prompt]
        return np.stack(found, axis=1).astype(np.int32)

    def all_tokens(self) -> Integer[np.ndarray, "p*p n_tokens"]:
        """All pairs, row-major: [p², n_tokens]."""
        n = np.arange(self.p)
        return self.tokens(np.repeat(n, self.p), np.tile(n, self.p))


def operands_of(prompt: Prompt | None) -> tuple[int, int]:
    """The positions of a and b."""
    return (0, 1) if prompt is None else (prompt.index("a"), prompt.index("b"))


@shaped
def number_part(
    W_E: Real[ArrayLike, "*operands d_vocab d_model"], p: int, prompt: Prompt | None = None
) -> tuple[Real[Array, "*operands n d_model"], Real[Array, "*operands rest d_model"]]:
    """The rows whose principal components are taken, and the others: of prompts the numbers alone, else all rows."""
    W_E = jnp.asarray(W_E)
    n = W_E.shape[-2] if prompt is None else p
    return W_E[..., :n, :], W_E[..., n:, :]


@shaped
def inputs_of(
    params: Weights, p: int | None = None, n_tokens: int | None = None, prompt: Prompt | None = None
) -> Inputs:
    """p and the form of the tokens, read from the shapes of W_E, W_pos and W_U.

    `W_E [d_vocab, d_model]` has a row for each number, then those of a second operand where it has its own (2p), then "=".
    Tokens are a, b and "=" where W_pos has three rows, else a, b. Of the moduli that fit, p must be prime.

    Args:
        params: The weights, of one point in training.
        p: The modulus. It must be given where several fit, and where one is read off with a class left over, since p could
            then be the number of all rows.
        n_tokens: 2 or 3; overrides what W_pos says.
        prompt: What stands at each position, such as ("a", 98, "b", 97), in place of n_tokens. Numbers are the tokens and
            the classes 0 … p−1. It must be given for a decoder with LayerNorm behind each sum.

    Raises:
        ValueError: Where p or the prompt must be given, for a prompt that does not fit, for nan, for missing or misshapen
            arrays, and for more than one point in training.
    """
    check_params(params)
    shape = np.shape(params["W_E"])
    d_vocab, d_out = shape[-2], np.shape(params["W_U"])[-1]
    if prompt is not None:
        return _prompted(params, p, n_tokens, prompt)
    if "ln1_post_w" in params:
        raise ValueError('the network is one of prompts a ∘ b =: give prompt, such as ("a", p + 1, "b", p), and p')
    if n_tokens is None:
        n_tokens = min(np.shape(params["W_pos"])[-2], 3) if "W_pos" in params else 2
    if n_tokens not in (2, 3):
        raise ValueError(f"n_tokens is {n_tokens}, it must be 2 (a, b) or 3 (a, b, =)")
    last = d_vocab - 1 if n_tokens == 3 else d_vocab
    if p is None:
        fits = {last, d_vocab - 1} | ({last // 2} if last % 2 == 0 else set())
        found = [m for m in sorted(fits) if is_odd_prime(m) and m <= d_out]
        if len(found) != 1:
            several = f"each of {', '.join(map(str, found))}" if found else "no prime modulus"
            raise ValueError(f"W_E has {d_vocab} rows and {several} fits {n_tokens} tokens: give p (and n_tokens)")
        if found == [last - 1] and d_out >= last:
            raise ValueError(
                f"W_E has {last} rows and W_U {d_out} classes: give p = {found[0]} if the last is no number"
            )
        p = found[0]
    check_modulus(p)
    if not p <= min(last, d_out):
        raise ValueError(f"p is {p}, W_E has {d_vocab} rows and W_U {d_out} classes: they must be at least p")
    separate = last == 2 * p and len(shape) == 2
    return Inputs(p, n_tokens, separate, d_vocab, apart=separate or len(shape) == 3)


def _prompted(params: Weights, p: int | None, n_tokens: int | None, prompt: Prompt) -> Inputs:
    if not isinstance(prompt, tuple):
        raise ValueError(f'prompt is {prompt!r}, it must be a tuple such as ("a", 98, "b", 97)')
    shape, d_out = np.shape(params["W_E"]), np.shape(params["W_U"])[-1]
    if p is None or n_tokens is not None:
        raise ValueError("prompt is given: give p too, and no n_tokens")
    check_modulus(p)
    if not p <= min(shape[-2], d_out) or len(shape) != 2:
        raise ValueError(f"p is {p}, W_E has shape {shape} and W_U {d_out} classes: numbers are the first p of both")
    others = [one for one in prompt if one not in ("a", "b")]
    if sorted(one for one in prompt if isinstance(one, str)) != ["a", "b"]:
        raise ValueError(f'prompt is {prompt}: "a" and "b" must each stand there once, between tokens')
    if wrong := [one for one in others if not isinstance(one, int | np.integer) or not p <= one < shape[0]]:
        raise ValueError(
            f"prompt has {wrong[0]}: its tokens must lie in p to {shape[0] - 1}, as numbers are 0 to {p - 1}"
        )
    n_ctx = np.shape(params["W_pos"])[-2] if "W_pos" in params else len(prompt)
    if len(prompt) > n_ctx:
        raise ValueError(f"prompt has {len(prompt)} positions, and W_pos {n_ctx} rows")
    return Inputs(p, len(prompt), separate=False, d_vocab=shape[0], apart=False, prompt=prompt)


@shaped
def check_params(params: Weights) -> None:
    """W_E and W_U are there, of one point in training, and no array has nan (judged where values are known)."""
    for name in ("W_E", "W_U"):
        if name not in params:
            raise ValueError(f"params has no {name}: it has {', '.join(sorted(params)) or 'no arrays'}")
    for name, x in params.items():
        if 0 in np.shape(x):
            raise ValueError(f"{name} has shape {np.shape(x)}, it must not be empty")
        check_finite(name, x)
    shape = np.shape(params["W_E"])
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 2):
        wanted = "[d_vocab, d_model], or [2, d_vocab, d_model] for two operands"
        raise ValueError(f"W_E has shape {shape}, it must be {wanted}, of one point in training")


def check_modulus(p: int) -> None:
    if not is_odd_prime(p):
        raise ValueError(f"p is {p}, the modulus must be an odd prime (every stride and ½ exist mod p)")


def is_odd_prime(n: int) -> bool:
    return n > 2 and all(n % d for d in range(2, int(n**0.5) + 1))


@lru_cache(maxsize=4)
def published_triples(p: int, n: int = 100) -> Integer[np.ndarray, "n 3"]:
    """The first n of all (a, b, c), row-major, after `random.Random(42).shuffle`: int [n, 3] (Zhong et al. 2023).

    Pure Python's generator, so the same everywhere; indices are shuffled in place of triples, by the same swaps.
    """
    import random

    order = list(range(p**3))
    random.Random(42).shuffle(order)
    return np.stack(np.unravel_index(order[:n], (p, p, p)), axis=1)


@shaped
def checked_triples(triples: Integer[ArrayLike, "n 3"], p: int) -> Integer[np.ndarray, "n 3"]:
    """`triples` as integers [n, 3] in 0 … p−1, or ValueError."""
    found = np.asarray(triples)
    if not len(found):
        raise ValueError(f"triples has shape {found.shape}, it must have at least one (a, b, c)")
    if found.min() < 0 or found.max() >= p:
        outside = found[((found < 0) | (found >= p)).any(1)][0].tolist()
        raise ValueError(f"triples has {outside}, each of a, b, c must lie in 0 … p−1 = {p - 1}")
    return found


@shaped
def number_table(W_E: Real[ArrayLike, "*operands d_vocab d_model"]) -> Real[Array, "n d_model"]:
    """W_E as one table [n, d]: the operands' own tables [2, V, d] stand below each other."""
    W_E = jnp.asarray(W_E)
    return W_E.reshape(-1, W_E.shape[-1])
