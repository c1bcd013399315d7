"""Transformers whose weights are written by hand, with the edges of their circuits: what circuit discovery must find.

Each is a `Transformer` that starts as a finished program: `Net.of(InductionMachine, d_vocab=13, n_ctx=17).init(key)` gives
its weights, whatever the key. The residual stream is a sum of named spaces; each is written by one sender, and a matrix
reads and writes whole spaces, so the true edges follow from the construction (`EDGES`) and all others carry nothing that
is read. In the manner of compiled RASP programs (Lindner et al. 2023, Tracr, arXiv 2301.05062), though not by its compiler:
constructions and weights are ours.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from toylab.models.transformer import Transformer

SHARP = 60.0  # the score of keys that are looked for; others have 0, and so e⁻⁶⁰ of the attention
READS = ("W_Q", "W_K", "W_V", "W_in", "W_U")  # their rows are the residual's; the columns of the others
LOGIT = 20.0  # of the token that the induction machine predicts


class Blueprint:
    """Weights of a transformer with one head a layer, written space by space: zero where nothing is put."""

    def __init__(
        self,
        spaces: dict[str, int],
        d_vocab: int,
        d_vocab_out: int,
        n_ctx: int,
        n_layers: int,
        d_head: int,
        d_mlp: int = 0,
    ) -> None:
        ends = np.cumsum(list(spaces.values()))
        self.spaces = {name: slice(end - size, end) for (name, size), end in zip(spaces.items(), ends, strict=True)}
        d_model = int(ends[-1])
        heads = dict.fromkeys(("W_Q", "W_K", "W_V"), (n_layers, 1, d_model, d_head))
        mlp = {"W_in": (n_layers, d_model, d_mlp), "b_in": (n_layers, d_mlp), "W_out": (n_layers, d_mlp, d_model)}
        shapes = {
            "W_E": (d_vocab, d_model), "W_pos": (n_ctx, d_model), **heads, "W_O": (n_layers, 1, d_head, d_model),
            **(mlp if d_mlp else {}), "W_U": (d_model, d_vocab_out),
        }  # fmt: skip
        self.weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.sizes: dict[str, Any] = {
            "d_vocab": d_vocab, "d_vocab_out": d_vocab_out, "n_ctx": n_ctx, "n_layers": n_layers, "d_model": d_model,
            "n_heads": 1, "d_head": d_head, "d_mlp": d_mlp,
        }  # fmt: skip

    def put(self, name: str, space: str, matrix: np.ndarray, layer: int | None = None) -> None:
        """Lets weights read a space, the rows of `matrix`, or write it, its columns. On the other side `matrix` may be
        smaller than they are."""
        weight = self.weights[name]
        weight = (
            weight if layer is None else weight[layer, 0] if name in ("W_Q", "W_K", "W_V", "W_O") else weight[layer]
        )
        if name in READS:
            weight[self.spaces[space], : matrix.shape[1]] = matrix
        else:
            weight[: matrix.shape[0], self.spaces[space]] = matrix

    def look(self, layer: int, query: tuple[str, np.ndarray], key: tuple[str, np.ndarray]) -> None:
        """Attention to the keys that the query names: score SHARP · query · key, over d_head."""
        self.put("W_Q", query[0], query[1] * SHARP * self.sizes["d_head"] ** 0.5, layer)
        self.put("W_K", key[0], key[1], layer)

    def move(self, layer: int, source: tuple[str, np.ndarray], target: str) -> None:
        """What is attended to: a reading of the source space, into the target."""
        self.put("W_V", *source, layer)
        self.put("W_O", target, np.eye(source[1].shape[1]), layer)

    def count(self, layer: int, share: str, counts: str) -> None:
        """An MLP from a share 1 / (1 + n), as attention to one BOS and n others gives it, to n as one of 1, 2, …: n ≤ i
        where the share is above the middle of 1 / (1 + i) and 1 / (2 + i), a step of two ReLUs."""
        n = np.arange(1, self.spaces[counts].stop - self.spaces[counts].start + 1)
        middle, slope = (1 / (1 + n) + 1 / (2 + n)) / 2, 2 * (1 + n) * (2 + n)  # at whole n the ramp is over
        steps = np.eye(len(n)) - np.eye(len(n), k=1)  # of n ≤ i and of n ≤ i − 1: n = i is their difference
        self.put("W_in", share, np.concatenate([slope, slope])[None], layer)
        self.weights["b_in"][layer, : 2 * len(n)] = np.concatenate([0.5 - slope * middle, -0.5 - slope * middle])
        self.put("W_out", counts, np.concatenate([steps, -steps]), layer)


class Handbuilt(Transformer):
    """One head a layer, positions added to the residual, no LayerNorm, read-out at every position.

    noise: the standard deviation of what is added to every entry of every matrix. Each seed then is a circuit that has
    to be found among edges which all do something."""

    EDGES: ClassVar[tuple[tuple[str, str], ...]] = ()  # as in analysis/attention/edges.py: (sender, receiver)

    def __init__(self, plan: Blueprint, *, causal: bool, noise: float = 0.0, rngs: nnx.Rngs) -> None:
        super().__init__(**plan.sizes, causal=causal, readout="all", rngs=rngs)
        for name, weight in plan.weights.items():
            blur = 0 if name == "b_in" else noise * jax.random.normal(rngs.params(), weight.shape)
            setattr(self, name, nnx.Param(jnp.asarray(weight) + blur))

    @staticmethod
    def check(*, d_vocab: int, n_ctx: int, **_: object) -> None:  # type: ignore[override]
        for name, value in (("d_vocab", d_vocab), ("n_ctx", n_ctx)):
            if value < 3:
                raise ValueError(f"net.{name} is {value}: it must be at least 3.")


def shift(n: int) -> np.ndarray:
    """[n, n]: from a position to the one before, from the first to itself."""
    return np.eye(n)[np.maximum(np.arange(n) - 1, 0)]


class InductionMachine(Handbuilt):
    """Predicts the token that followed the last one's earlier occurrence. Token d_vocab − 1 is BOS, which is never copied.

    Head 0.0 looks at the position before and notes the token there; head 1.0 looks for positions that have noted the
    current token, and copies theirs (Elhage et al. 2021; the weights of Olsson et al.'s mechanism with one-hot spaces).

    Args:
        d_vocab: Tokens, BOS included.
        n_ctx: The most positions of an input.
        noise: Standard deviation of what is added to every entry of every matrix.
    """

    EDGES = (
        ("pos", "0.0.q"), ("pos", "0.0.k"), ("embed", "0.0.v"), ("embed", "1.0.q"), ("0.0", "1.0.k"), ("embed", "1.0.v"),
        ("1.0", "out"),
    )  # fmt: skip

    def __init__(self, *, d_vocab: int = 13, n_ctx: int = 17, noise: float = 0.0, rngs: nnx.Rngs) -> None:
        spaces = {"token": d_vocab, "position": n_ctx, "previous": d_vocab, "output": d_vocab}
        plan = Blueprint(
            spaces=spaces, d_vocab=d_vocab, d_vocab_out=d_vocab, n_ctx=n_ctx, n_layers=2, d_head=max(d_vocab, n_ctx),
        )  # fmt: skip
        tokens, positions = np.eye(d_vocab), np.eye(n_ctx)
        but_bos = tokens * (np.arange(d_vocab) < d_vocab - 1)
        plan.put("W_E", "token", tokens)
        plan.put("W_pos", "position", positions)
        plan.look(0, ("position", shift(n_ctx)), ("position", positions))
        plan.move(0, ("token", but_bos), "previous")
        plan.look(1, ("token", tokens), ("previous", tokens))
        plan.move(1, ("token", but_bos), "output")
        plan.put("W_U", "output", LOGIT * tokens)
        super().__init__(plan, causal=True, noise=noise, rngs=rngs)


class FractionOfPrevious(Handbuilt):
    """At each position the share of token 0 among the tokens up to there, a number ("frac_prevs"): the MLP of layer 0 marks
    token 0, head 1.0 looks at all positions up to its own and averages the marks.

    Args:
        d_vocab: Tokens.
        n_ctx: The most positions of an input.
    """

    EDGES = (("embed", "mlp0.in"), ("pos", "1.0.q"), ("pos", "1.0.k"), ("mlp0", "1.0.v"), ("1.0", "out"))

    def __init__(self, *, d_vocab: int = 4, n_ctx: int = 8, rngs: nnx.Rngs) -> None:
        plan = Blueprint(
            spaces={"token": d_vocab, "position": n_ctx, "marked": 1, "share": 1}, d_vocab=d_vocab, d_vocab_out=1,
            n_ctx=n_ctx, n_layers=2, d_head=n_ctx, d_mlp=1,
        )  # fmt: skip
        plan.put("W_E", "token", np.eye(d_vocab))
        plan.put("W_pos", "position", np.eye(n_ctx))
        plan.put("W_in", "token", np.eye(d_vocab, 1), 0)
        plan.put("W_out", "marked", np.ones((1, 1)), 0)
        plan.look(1, ("position", np.tri(n_ctx)), ("position", np.eye(n_ctx)))
        plan.move(1, ("marked", np.ones((1, 1))), "share")
        plan.put("W_U", "share", np.ones((1, 1)))
        super().__init__(plan, causal=False, rngs=rngs)


class Histogram(Handbuilt):
    """At each position how often its token occurs in the sequence, as one of 1 to n_ctx − 1 ("hist"). Token d_vocab − 1 is
    BOS, at position 0: head 0.0 looks at it and at all tokens like its own, so that BOS gets 1 / (1 + n) of the attention;
    the MLP turns that share into n.

    Args:
        d_vocab: Tokens, BOS included.
        n_ctx: The most positions of an input.
    """

    EDGES = (("embed", "0.0.q"), ("embed", "0.0.k"), ("embed", "0.0.v"), ("0.0", "mlp0.in"), ("mlp0", "out"))

    def __init__(self, *, d_vocab: int = 4, n_ctx: int = 8, rngs: nnx.Rngs) -> None:
        longest = n_ctx - 1
        plan = Blueprint(
            spaces={"token": d_vocab, "position": n_ctx, "share": 1, "count": longest}, d_vocab=d_vocab,
            d_vocab_out=longest, n_ctx=n_ctx, n_layers=1, d_head=d_vocab, d_mlp=2 * longest,
        )  # fmt: skip
        tokens = np.eye(d_vocab)
        plan.put("W_E", "token", tokens)
        plan.put("W_pos", "position", np.eye(n_ctx))
        plan.look(0, ("token", np.maximum(tokens, tokens[-1])), ("token", tokens))
        plan.move(0, ("token", tokens[:, -1:]), "share")
        plan.count(0, "share", "count")
        plan.put("W_U", "count", np.eye(longest))
        super().__init__(plan, causal=False, rngs=rngs)


class Reverse(Handbuilt):
    """The sequence backwards ("reverse"), of any length up to n_ctx − 1. Token d_vocab − 1 is BOS, at position 0, and
    d_vocab − 2 fills up behind the end.

    Head 0.0 looks at all tokens but the filling, so that BOS gets 1 / (1 + length); MLP 0 turns that into the length, MLP
    1 takes it and the position i to the position length + 1 − i, and head 2.0 fetches the token from there.

    Args:
        d_vocab: Tokens, BOS and filling included.
        n_ctx: The most positions of an input.
    """

    EDGES = (
        ("embed", "0.0.q"), ("embed", "0.0.k"), ("embed", "0.0.v"), ("0.0", "mlp0.in"), ("mlp0", "mlp1.in"),
        ("pos", "mlp1.in"), ("mlp1", "2.0.q"), ("pos", "2.0.k"), ("embed", "2.0.v"), ("2.0", "out"),
    )  # fmt: skip

    def __init__(self, *, d_vocab: int = 5, n_ctx: int = 6, rngs: nnx.Rngs) -> None:
        longest, symbols = n_ctx - 1, d_vocab - 2
        spaces = {"token": d_vocab, "position": n_ctx, "share": 1, "length": longest}
        pairs = np.array([(length, at) for length in range(1, n_ctx) for at in range(1, length + 1)])
        plan = Blueprint(
            spaces=spaces | {"target": n_ctx, "output": symbols}, d_vocab=d_vocab, d_vocab_out=symbols,
            n_ctx=n_ctx, n_layers=3, d_head=max(symbols, n_ctx), d_mlp=max(2 * longest, len(pairs)),
        )  # fmt: skip
        tokens, positions = np.eye(d_vocab), np.eye(n_ctx)
        plan.put("W_E", "token", tokens)
        plan.put("W_pos", "position", positions)
        plan.look(0, ("token", np.ones((d_vocab, 1))), ("token", 1 - tokens[:, -2:-1]))
        plan.move(0, ("token", tokens[:, -1:]), "share")
        plan.count(0, "share", "length")
        plan.put("W_in", "length", np.eye(longest)[:, pairs[:, 0] - 1], 1)
        plan.put("W_in", "position", positions[:, pairs[:, 1]], 1)
        plan.weights["b_in"][1, : len(pairs)] = -1  # a neuron a pair: on where both are
        plan.put("W_out", "target", positions[pairs[:, 0] + 1 - pairs[:, 1]], 1)
        plan.look(2, ("target", positions), ("position", positions))
        plan.move(2, ("token", tokens[:, :symbols]), "output")
        plan.put("W_U", "output", np.eye(symbols))
        super().__init__(plan, causal=False, rngs=rngs)
