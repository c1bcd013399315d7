"""Programs on short sequences whose every answer is known: what hand-built transformers compute exactly.

An answer is a symbol, asked for as logits of which the right one is the largest, or a number. Not every position has one.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import cross_entropy, right
from toylab.tasks.sparse import EVALUATION

Name = Literal["induction", "frac_prevs", "hist", "reverse"]


class Program(struct.PyTreeNode):
    """RASP programs (Weiss et al. 2021, arXiv 2106.06981) and induction, on tokens [N, n_ctx].

    - `induction`: BOS, then a block of different tokens twice: the next token, from the block's second occurrence on.
    - `frac_prevs`: random tokens: the share of token 0 up to each position, a number.
    - `hist`: BOS, then random tokens: how often each occurs in the sequence, less 1.
    - `reverse`: BOS, then symbols of random number, then filling: the sequence backwards.

    BOS is token d_vocab − 1, the filling of reverse d_vocab − 2. All draw from `sample`; answers come from `answers`.
    """

    name: Name = static(default="induction")
    """The program."""
    d_vocab: int = static(default=13)
    """Tokens, BOS and filling included."""
    n_ctx: int = static(default=17)
    """Tokens in a sequence."""
    n_eval: int = static(default=64)
    """Sequences that are measured."""
    batch_size: int = static(default=64)
    """Sequences a step."""

    def check(self) -> "Program":
        if self.name not in get_args(Name):
            raise ValueError(f"task.name is {self.name!r}: it must be one of {', '.join(get_args(Name))}.")
        for name, least in (
            ("d_vocab", 4 if self.name == "reverse" else 3),
            ("n_ctx", 3),
            ("n_eval", 1),
            ("batch_size", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} is {getattr(self, name)}: it must be at least {least}.")
        if self.name == "induction" and (self.n_ctx % 2 == 0 or self.n_ctx // 2 >= self.d_vocab):
            raise ValueError(
                f"task.n_ctx is {self.n_ctx}: BOS and two blocks of different tokens, {self.d_vocab - 1} of them at most,"
                f" make an odd number up to {2 * self.d_vocab - 1}."
            )
        return self

    def check_net(self, net: Any) -> None:
        """The net must know every token, have the positions, and answer at each."""
        answers = {"induction": self.d_vocab - 1, "frac_prevs": 1, "hist": self.n_ctx - 1, "reverse": self.d_vocab - 2}
        least = {"d_vocab": self.d_vocab, "n_ctx": self.n_ctx, "d_vocab_out": answers[self.name]}
        for name, needed in least.items():
            if (found := getattr(net, name, needed)) < needed:  # a machine's own sizes follow from its program
                raise ValueError(f"net.{name} is {found}: {self.name} needs at least {needed}.")
        if getattr(net, "readout", "all") != "all":
            raise ValueError(f"net.readout is {net.readout!r}: every position has an answer, so it must be 'all'.")

    def sample(self, key: Array, n: int) -> Array:
        """tokens int32 [n, n_ctx]."""
        length, special = self.n_ctx - 1, self.d_vocab - 1
        if self.name == "frac_prevs":
            return jax.random.randint(key, (n, self.n_ctx), 0, self.d_vocab)
        if self.name == "induction":
            order = jax.vmap(lambda one: jax.random.permutation(one, special))(jax.random.split(key, n))
            tokens = jnp.tile(order[:, : length // 2], (1, 2))
        elif self.name == "hist":
            tokens = jax.random.randint(key, (n, length), 0, special)
        else:
            which, what = jax.random.split(key)
            lengths = jax.random.randint(which, (n, 1), 1, length + 1)
            symbols = jax.random.randint(what, (n, length), 0, special - 1)
            tokens = jnp.where(jnp.arange(length) < lengths, symbols, special - 1)
        return jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=special)

    def answers(self, tokens: Array) -> tuple[Array, Array]:
        """The answer at each position.

        Args:
            tokens: [N, n_ctx].

        Returns:
            Answers [N, n_ctx], int (a symbol) or float (a number), and a mask [N, n_ctx]: the position has one.
        """
        at = jnp.arange(self.n_ctx)
        if self.name == "frac_prevs":
            return jnp.cumsum(tokens == 0, axis=1) / (at + 1), jnp.ones(tokens.shape, bool)
        if self.name == "induction":
            return jnp.roll(tokens, -1, axis=1), jnp.broadcast_to(
                (at > self.n_ctx // 2) & (at < self.n_ctx - 1), tokens.shape
            )
        if self.name == "hist":
            return jnp.sum(tokens[:, :, None] == tokens[:, None], axis=2) - 1, jnp.broadcast_to(at > 0, tokens.shape)
        lengths = jnp.sum(tokens < self.d_vocab - 2, axis=1, keepdims=True)
        backwards = jnp.take_along_axis(tokens, jnp.clip(lengths + 1 - at, 0), axis=1)
        return backwards, (at > 0) & (at <= lengths)

    def data(self, key: Array) -> dict[str, Array]:
        tokens = self.sample(jax.random.key(EVALUATION), self.n_eval)
        answer, asked = self.answers(tokens)
        return {"tokens": tokens, "answer": answer, "asked": asked}

    def errors(self, output: Array, answer: Array) -> Array:
        """[N, n_ctx] of outputs [N, n_ctx, C]: cross-entropy where the answer is a symbol, squared error where a number."""
        if self.name == "frac_prevs":
            return (output[..., 0] - answer) ** 2
        return cross_entropy(output, jnp.clip(answer, 0, output.shape[-1] - 1))

    def loss(self, apply: Apply, params: Params, data: Any, key: Array) -> Array:
        tokens = self.sample(key, self.batch_size)
        answer, asked = self.answers(tokens)
        return jnp.mean(self.errors(apply(params, tokens)[0], answer), where=asked)

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """loss and accuracy over the positions that have an answer; a number counts as right to 1e-4."""
        output, _ = apply(params, data["tokens"])
        if self.name == "frac_prevs":
            off = jnp.abs(output[..., 0] - data["answer"])
            correct = jnp.where(jnp.isnan(off), jnp.nan, off < 1e-4)
        else:
            correct = right(output, jnp.clip(data["answer"], 0, output.shape[-1] - 1))  # asked or not
        return {
            "loss": jnp.mean(self.errors(output, data["answer"]), where=data["asked"]),
            "accuracy": jnp.mean(correct, where=data["asked"]),
        }
