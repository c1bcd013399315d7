"""In-context Markov chains (Edelman et al. 2024, arXiv 2402.11004): every sequence comes from a chain of its own.

To predict, a network has to count within its context: which tokens there are (unigram), or which follow which (bigram).
"""

import math
from typing import Any, Literal, get_args, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.shapes.indices import check_range, nan_outside
from toylab.tasks import predictors
from toylab.tasks.sequence import check_next_token_net, check_sizes, token_losses
from toylab.tasks.sparse import EVALUATION

First = Literal["stationary", "uniform"]
CHUNK = 2000  # chains at a time in `limits`
SINKHORN = 30  # iterations


class MarkovChains(struct.PyTreeNode):
    """Chains on k symbols whose rows are drawn from Dirichlet(α, …, α) for each sequence; or one fixed `transition` [k, k].

    The first token follows the chain's stationary law, or is uniform. Both are exact here; the released code says
    stationary but averages over the wrong axis for k < 5, and so starts uniformly. If the first token is uniform, the
    bigram predictor with pseudocount α is exactly Bayes. If it is stationary it tells a little about the chain: then the
    loss of Bayes is below that of the bigram predictor by at most (ln k − E H(π)) / n_ctx.

    With `doubly_stochastic` the columns sum to 1 too (Edelman et al. 2024): every chain has the uniform stationary law, so
    counts of single tokens tell nothing. The rows drawn are scaled to such a matrix by Sinkhorn's iteration, which is our
    choice of a law; the bigram predictor is then not quite Bayes.
    """

    k: int = static(default=3)
    """Symbols (default: Edelman et al. 2024)."""
    n_ctx: int = static(default=100)
    """Tokens in a sequence (default: Edelman et al. 2024)."""
    first: First = static(default="stationary")
    """The law of the first token."""
    alpha: float = static(default=1.0)
    """Concentration of the Dirichlet law of rows; 1 is uniform on the simplex (Edelman et al. 2024)."""
    doubly_stochastic: bool = static(default=False)
    """Whether the columns of a chain sum to 1 too."""
    batch_size: int = static(default=64)
    """Sequences a step (default: Edelman et al. 2024)."""
    n_eval: int = static(default=512)
    """Sequences that are measured."""
    transition: Array | None = None
    """One chain [k, k] for all sequences; None draws one for each."""

    def check(self) -> "MarkovChains":
        if self.k < 2:
            raise ValueError(f"task.k is {self.k}: a chain has at least 2 symbols.")
        check_sizes(self, "n_ctx", "batch_size", "n_eval")
        if self.first not in get_args(First):
            raise ValueError(f"task.first is {self.first!r}: it must be one of {', '.join(get_args(First))}.")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"task.alpha is {self.alpha}: it must be above 0, the parameter of a Dirichlet law.")
        if self.transition is not None and self.doubly_stochastic:
            raise ValueError(
                "task.doubly_stochastic is true: it is of chains that are drawn, and task.transition is given."
            )
        if self.transition is not None:
            check_transition("task.transition", np.asarray(self.transition), self.k, self.first)
        return self

    def check_net(self, net: Any) -> None:
        check_next_token_net(net, self.k, self.n_ctx)

    def chains(self, key: Array, n: int) -> Array:
        """Transition matrices [n, k, k], rows from the state now to the next."""
        if self.transition is not None:
            return jnp.broadcast_to(self.transition, (n, self.k, self.k))
        if self.alpha == 1:
            drawn = jax.random.exponential(key, (n, self.k, self.k))
            rows = drawn / jnp.sum(drawn, axis=-1, keepdims=True)
        else:
            rows = jax.random.dirichlet(key, jnp.full(self.k, self.alpha), (n, self.k))
        return doubly_stochastic(rows) if self.doubly_stochastic else rows

    def sample(self, key: Array, n: int) -> Array:
        """tokens int32 [n, n_ctx + 1]."""
        return self.sample_with_chains(key, n)[0]

    def sample_with_chains(self, key: Array, n: int) -> tuple[Array, Array]:
        """tokens int32 [n, n_ctx + 1] and the chain of each sequence [n, k, k]."""
        chain_key, first_key, walk_key = jax.random.split(key, 3)
        transition = self.chains(chain_key, n)
        if self.first == "uniform":
            first = jax.random.randint(first_key, (n,), 0, self.k)
        else:
            law = stationary(transition if self.transition is None else self.transition)
            first = pick(jnp.broadcast_to(law, (n, self.k)), jax.random.uniform(first_key, (n,)))
        return walk(walk_key, transition, first, self.n_ctx + 1), transition

    def data(self, key: Array) -> dict[str, Array]:
        """tokens [n_eval, n_ctx + 1] and their chains, transition [n_eval, k, k]: the same in every run."""
        tokens, transition = self.sample_with_chains(jax.random.key(EVALUATION), self.n_eval)
        return {"tokens": tokens, "transition": transition}

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        return jnp.mean(token_losses(apply, params, self.sample(key, self.batch_size)))

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point, on the evaluation set.

        Returns:
            A dict of scalars in nats.

            - `loss`: expected over the next token given the chain.
            - `kl_uniform`, `kl_unigram`, `kl_bigram`: KL(strategy ‖ model), mean over positions.
        """
        inputs = data["tokens"][:, :-1]
        logits, _ = apply(params, inputs)
        model = jax.nn.log_softmax(logits[..., : self.k])
        found = {"loss": jnp.mean(expected_loss(model, inputs, data["transition"]))}
        for name, strategy in self.strategies(inputs).items():
            found[f"kl_{name}"] = jnp.mean(predictors.divergence(strategy, model))
        return found

    def strategies(self, tokens: Array) -> dict[str, Array]:
        """Log-probabilities [N, T, k] of the next token by each predictor, pseudocount 1 for unigrams and α for bigrams."""
        return {
            "uniform": predictors.uniform(tokens, self.k),
            "unigram": predictors.unigram(tokens, self.k),
            "bigram": predictors.bigram(tokens, self.k, self.alpha),
        }

    def limits(self, n: int = 20_000, seed: int = EVALUATION) -> dict[str, np.ndarray]:
        """Expected losses of exact predictors by position.

        They are means over sampled sequences. Given the sequence so far and its chain, the next token is averaged over
        exactly.

        Args:
            n: How many sequences are sampled.
            seed: Of the sample.

        Returns:
            A dict of arrays [n_ctx] in nats: `uniform`, `unigram`, `bigram`, and `true`, of knowing the chain. Standard
            errors have the same names with `_se` ([n_ctx]), and with `_mean_se` for the mean over positions.
        """
        keys = jax.random.split(jax.random.key(seed), -(-n // CHUNK))
        chunks = [_losses(self, key) for key in keys]
        found: dict[str, np.ndarray] = {}
        for name in chunks[0]:
            losses = np.concatenate([chunk[name] for chunk in chunks]).astype(float)  # [n, n_ctx]
            found[name] = losses.mean(axis=0)
            found[f"{name}_se"] = losses.std(axis=0) / len(losses) ** 0.5
            found[f"{name}_mean_se"] = losses.mean(axis=1).std() / len(losses) ** 0.5
        return found

    def loss_by_position(self) -> np.ndarray:
        """[n_ctx] float64, nats: the exact loss of Bayes for a fixed `transition`, Σ_i P(x_t = i) H(row i). For random
        chains see `limits`: it has no closed form."""
        if self.transition is None:
            raise ValueError(
                "task.transition is missing: random chains have no closed form, their losses are in limits()."
            )
        rows = np.asarray(self.transition, float)
        law = np.full(self.k, 1 / self.k) if self.first == "uniform" else np.asarray(stationary(rows))
        losses = []
        for _ in range(self.n_ctx):
            losses.append(law @ row_entropies(rows))
            law = law @ rows
        return np.array(losses)


@jax.jit
def _losses(task: MarkovChains, key: Array) -> dict[str, Array]:
    """[CHUNK, n_ctx]: the expected losses of sampled sequences, by predictor."""
    tokens, transition = task.sample_with_chains(key, CHUNK)
    inputs = tokens[:, :-1]
    found = {name: expected_loss(law, inputs, transition) for name, law in task.strategies(inputs).items()}
    return found | {"true": expected_loss(jnp.log(rows_of(transition, inputs)), inputs, transition)}


def expected_loss(model: Array, tokens: Array, transition: Array) -> Array:
    """The loss expected of the next token: −Σ_j P(x_t → j) ln q_j.

    Args:
        model: The log-probabilities ln q, [N, T, k].
        tokens: int [N, T].
        transition: The chains, [N, k, k].

    Returns:
        [N, T] in nats.
    """
    rows = rows_of(transition, tokens)
    return -jnp.sum(jnp.where(rows > 0, rows * model, 0), axis=-1)


def rows_of(transition: Array, tokens: Array) -> Array:
    """[N, T, k]: the row of each token in its sequence's chain."""
    k = transition.shape[-1]
    check_range("tokens", tokens, k, "the chain", "states")
    return nan_outside(jnp.take_along_axis(transition, tokens[..., None], axis=1), tokens, k)


def walk(key: Array, transition: Array, first: Array, n_tokens: int) -> Array:
    """Tokens of chains from their first tokens.

    Args:
        key: Of the draw.
        transition: [n, k, k].
        first: [n].
        n_tokens: How many.

    Returns:
        int32 [n, n_tokens].
    """
    n, k, _ = transition.shape
    drawn = jax.random.uniform(key, (n_tokens - 1, n))

    def step(now: Array, drawn: Array) -> tuple[Array, Array]:
        is_now = now[:, None, None] == jnp.arange(k)[:, None]
        after = pick(jnp.sum(jnp.where(is_now, transition, 0), axis=1), drawn)
        return after, after

    first = first.astype(jnp.int32)
    _, rest = jax.lax.scan(step, first, drawn)
    return jnp.concatenate([first[:, None], rest.T], axis=1)


def doubly_stochastic(rows: Array) -> Array:
    """Matrices of which rows and columns sum to 1, by Sinkhorn's iteration: both are divided by their sums in turn.

    Args:
        rows: [..., k, k], above 0.

    Returns:
        [..., k, k]; rows sum to 1, columns nearly so.
    """

    def scaled(_: Array, matrix: Array) -> Array:
        matrix = matrix / jnp.sum(matrix, axis=-2, keepdims=True)
        return matrix / jnp.sum(matrix, axis=-1, keepdims=True)

    return jax.lax.fori_loop(0, SINKHORN, scaled, rows)


def pick(law: Array, drawn: Array) -> Array:
    """An outcome of each law, by its uniform number.

    Rounding never leads beyond k − 1, nor to an outcome of probability 0 at the end of the row.

    Args:
        law: [n, k].
        drawn: [n].

    Returns:
        int32 [n].
    """
    below = jnp.cumsum(law[:, :-1], axis=1) / jnp.sum(law, axis=1, keepdims=True)
    return jnp.sum(drawn[:, None] >= below, axis=1, dtype=jnp.int32)


@overload
def stationary(transition: np.ndarray) -> np.ndarray: ...
@overload
def stationary(transition: Array) -> Array: ...
def stationary(transition: Array | np.ndarray) -> Array | np.ndarray:
    """The stationary law π [..., k] of transition [..., k, k], which must have but one: the solution of
    πᵀ (I − P + E) = 1ᵀ with E all ones, since πᵀ P = πᵀ and πᵀ E = 1ᵀ. In numpy for numpy."""
    xp: Any = np if isinstance(transition, np.ndarray) else jnp
    k = transition.shape[-1]
    system = xp.swapaxes(xp.eye(k) - transition + 1, -1, -2)
    return xp.linalg.solve(system, xp.ones((*transition.shape[:-1], 1)))[..., 0]


def row_entropies(transition: np.ndarray) -> np.ndarray:
    """[..., k] nats: the entropy of each row."""
    rows = np.asarray(transition, float)
    return -np.sum(rows * np.log(np.where(rows > 0, rows, 1)), axis=-1)


def entropy_rate(transition: np.ndarray) -> np.ndarray:
    """[...] nats a token: Σ_i π_i H(row i), the least loss that a known chain leaves."""
    rows = np.asarray(transition, float)
    return np.sum(stationary(rows) * row_entropies(rows), axis=-1)


def mean_row_entropy(k: int, alpha: float = 1.0) -> float:
    """E H(row) = ψ(kα + 1) − ψ(α + 1) for a row from Dirichlet(α, …, α). It is H_k − 1 for α = 1, H_k = Σ_1^k 1/n.

    Args:
        k: The number of symbols.
        alpha: α.

    Returns:
        In nats.
    """
    from scipy.special import digamma

    return float(digamma(k * alpha + 1) - digamma(alpha + 1))


def check_transition(name: str, rows: np.ndarray, k: int, first: First) -> None:
    """Checks a chain on k states.

    Args:
        name: For the message.
        rows: [k, k].
        k: The number of states.
        first: How the first token is drawn.

    Raises:
        ValueError: Unless rows are probabilities, and the stationary law is one if the first token is to follow it.
    """
    if rows.shape != (k, k):
        raise ValueError(f"{name} has shape {rows.shape}: it must be [k, k] = [{k}, {k}].")
    if not (rows >= 0).all():
        raise ValueError(f"{name} has {rows[~(rows >= 0)][0]}: probabilities are at least 0.")
    sums = rows.sum(axis=1)
    worst = abs(sums - 1).argmax()
    if abs(sums[worst] - 1) > 1e-5:
        raise ValueError(f"{name} has row {worst} with sum {sums[worst]:g}: every row must sum to 1.")
    rank = np.linalg.matrix_rank(np.eye(k) - rows + 1, tol=1e-6)
    if first == "stationary" and rank < k:
        raise ValueError(
            f"{name} has several stationary laws: the first token needs a chain with one, or a uniform law."
        )
