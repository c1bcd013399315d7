"""Mixtures of a finite set of Markov chains: few enough to be remembered, or so many that one has to infer.

Park et al. 2024 (Competition Dynamics Shape Algorithmic Phases of In-Context Learning, arXiv 2412.01003). What a network
may do is told apart by four solutions: it retrieves one of its training chains, or infers a new one from the context; and
it does so by the counts of tokens (unigrams) or of pairs of tokens (bigrams).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.shapes.indices import check_range, nan_outside
from toylab.tasks import predictors
from toylab.tasks.markov import MarkovChains, expected_loss, pick, stationary, walk
from toylab.tasks.sequence import check_next_token_net, check_sizes, token_losses

SOLUTIONS = ("uni_retrieval", "bi_retrieval", "uni_inference", "bi_inference")
SETS = ("trained", "new")


class ChainMixture(struct.PyTreeNode):
    """Every sequence is a walk on one of n_chains chains, which stay the same for the whole run.

    The chains' rows are drawn from Dirichlet(1, …, 1) and their weights uniformly in (0, 1), then normalised, as in the
    released code of Park et al. 2024; both are drawn from the run's seed, or the chains are given. The first token follows
    the chain's stationary law. There is room for `room` chains, of which the first n_chains are in use: so runs that differ
    in their number share one program, and the chains of one seed are nested.
    """

    k: int = static(default=10)
    """Symbols (default: Park et al. 2024)."""
    n_ctx: int = static(default=512)
    """Tokens in a sequence (default: Park et al. 2024)."""
    room: int = static(default=2048)
    """Chains that there is room for, of which n_chains are in use (default: Park et al. 2024)."""
    batch_size: int = static(default=128)
    """Sequences a step (default: Park et al. 2024)."""
    n_eval: int = static(default=128)
    """Sequences that are measured, as many of training chains as of new ones."""
    n_chains: int = 16
    """Chains that are trained on: the diversity of tasks."""
    chains: Array | None = None
    """The chains [room, k, k]; None draws them from the seed."""

    def check(self) -> "ChainMixture":
        check_sizes(self, "n_ctx", "room", "batch_size", "n_eval", "n_chains")
        if self.k < 2:
            raise ValueError(f"task.k is {self.k}: a chain has at least 2 symbols.")
        if self.n_chains > self.room:
            raise ValueError(f"task.n_chains is {self.n_chains}: task.room has place for {self.room}.")
        if self.chains is not None:
            _check_chains(np.asarray(self.chains), (self.room, self.k, self.k))
        return self

    def check_net(self, net: Any) -> None:
        check_next_token_net(net, self.k, self.n_ctx)

    def mixture(self, key: Array) -> dict[str, Array]:
        """chains [room, k, k], their stationary laws [room, k] and weights [room], which are 0 beyond n_chains."""
        chain_key, weight_key = jax.random.split(key)
        chains = self._new_chains(chain_key, self.room) if self.chains is None else self.chains
        weights = jnp.where(jnp.arange(self.room) < self.n_chains, jax.random.uniform(weight_key, (self.room,)), 0)
        laws = jnp.asarray(stationary(chains))
        return {"chains": chains, "stationary": laws, "weights": weights / jnp.sum(weights)}

    def sample(self, key: Array, n: int, mixture: dict[str, Array]) -> Array:
        """tokens int32 [n, n_ctx + 1] of the `mixture`."""
        return self.sample_with_chains(key, n, mixture)[0]

    def sample_with_chains(self, key: Array, n: int, mixture: dict[str, Array]) -> tuple[Array, Array]:
        """tokens int32 [n, n_ctx + 1] and which of the chains each is from [n]."""
        chain_key, first_key, walk_key = jax.random.split(key, 3)
        edges = jnp.cumsum(mixture["weights"])
        which = jnp.searchsorted(edges, jax.random.uniform(chain_key, (n,)) * edges[-1], side="right")
        which = jnp.minimum(which, self.n_chains - 1)
        first = pick(mixture["stationary"][which], jax.random.uniform(first_key, (n,)))
        return walk(walk_key, mixture["chains"][which], first, self.n_ctx + 1), which

    def sample_new(self, key: Array, n: int) -> tuple[Array, Array]:
        """tokens int32 [n, n_ctx + 1], each of a chain that was drawn anew, and these chains [n, k, k]."""
        return MarkovChains(k=self.k, n_ctx=self.n_ctx).sample_with_chains(key, n)

    def _new_chains(self, key: Array, n: int) -> Array:
        return MarkovChains(k=self.k).chains(key, n)

    def data(self, key: Array) -> dict[str, Any]:
        """The mixture and the evaluation sequences.

        The evaluation sequences are drawn from the run's seed too, since its chains are.

        Returns:
            A dict: the mixture; and of the sequences from training chains ("trained") and from new ones ("new"), by
            name, tokens [n_eval, n_ctx + 1], transition [n_eval, k, k], what each of SOLUTIONS predicts [n_eval, n_ctx,
            k], and the mean loss that this leaves.
        """
        mixture_key, trained_key, new_key = jax.random.split(key, 3)
        mixture = self.mixture(mixture_key)
        tokens, which = self.sample_with_chains(trained_key, self.n_eval, mixture)
        new_tokens, new = self.sample_new(new_key, self.n_eval)
        sequences, transition = (
            {"trained": tokens, "new": new_tokens},
            {"trained": mixture["chains"][which], "new": new},
        )
        found = {name: solutions(sequences[name][:, :-1], mixture) for name in SETS}
        losses = {
            name: {
                solution: jnp.mean(expected_loss(law, sequences[name][:, :-1], transition[name]))
                for solution, law in found[name].items()
            }
            for name in SETS
        }
        return {
            "mixture": mixture,
            "tokens": sequences,
            "transition": transition,
            "solutions": found,
            "losses": losses,
        }

    def loss(self, apply: Apply, params: Params, data: dict[str, Any], key: Array) -> Array:
        return jnp.mean(token_losses(apply, params, self.sample(key, self.batch_size, data["mixture"])))

    def measure(self, apply: Apply, params: Params, data: dict[str, Any]) -> dict[str, Array]:
        """What is measured at a saved point.

        Park et al. 2024 compare whole transition matrices after a context of fixed length. Here it is the predictions
        at every position of the sequence.

        Returns:
            A dict of scalars in nats, means over positions.

            - `trained_loss`, `new_loss`: on sequences from training chains and from new ones, expected over the next
              token given the chain.
            - `kl_<set>_<solution>`: KL(solution ‖ model).
        """
        found = {}
        for name in SETS:
            inputs = data["tokens"][name][:, :-1]
            logits, _ = apply(params, inputs)
            model = jax.nn.log_softmax(logits[..., : self.k])
            found[f"{name}_loss"] = jnp.mean(expected_loss(model, inputs, data["transition"][name]))
            for solution, law in data["solutions"][name].items():
                found[f"kl_{name}_{solution}"] = jnp.mean(predictors.divergence(law, model))
        return found


def solutions(tokens: Array, mixture: dict[str, Array]) -> dict[str, Array]:
    """Log-probabilities of the next token by each of SOLUTIONS (Park et al. 2024).

    Their unigram inference takes the stationary law of the inferred bigrams in place of the counts.

    Args:
        tokens: int [N, T].
        mixture: Chains, their stationary laws, and weights.

    Returns:
        A dict of arrays [N, T, k].

        - `bi_retrieval`: the posterior over the chains given the sequence, weights_n π_n(x_1) Π_t P_n(x_t, x_t+1), mixes
          their rows of the present token. It is the exact Bayes predictor of the mixture.
        - `uni_retrieval`: the posterior as if tokens were independent, weights_n Π_t π_n(x_t), mixes their stationary laws
          π_n.
        - `uni_inference`: (n_j + 1)/(t + k), n_j counting token j.
        - `bi_inference`: (n_ij + 1)/(n_i + k), n_ij counting what followed the present token i.
    """
    k = mixture["chains"].shape[-1]
    unigrams, bigrams = posteriors(tokens, mixture)  # [N, T, n]
    by_token = _rows(bigrams @ mixture["chains"].reshape(-1, k * k), tokens, k)
    return {
        "uni_retrieval": jnp.log(unigrams @ mixture["stationary"]),
        "bi_retrieval": jnp.log(by_token),
        "uni_inference": predictors.unigram(tokens, k),
        "bi_inference": predictors.bigram(tokens, k),
    }


def posteriors(tokens: Array, mixture: dict[str, Array]) -> tuple[Array, Array]:
    """Probability of each chain given the sequence up to each token.

    Args:
        tokens: int [N, T].
        mixture: As of `solutions`.

    Returns:
        Two arrays [N, T, n]: by its unigrams, and by its bigrams (the exact posterior).
    """
    k = mixture["chains"].shape[-1]
    check_range("tokens", tokens, k, "the chain", "states")
    prior = jnp.log(mixture["weights"])
    single, pair = jnp.log(mixture["stationary"]).T, jnp.log(mixture["chains"]).transpose(1, 2, 0)  # [k, n], [k, k, n]
    unigrams = jnp.cumsum(single[tokens], axis=1)
    steps = pair[tokens[:, :-1], tokens[:, 1:]]  # [N, T − 1, n]
    bigrams = jnp.cumsum(jnp.concatenate([single[tokens[:, :1]], steps], axis=1), axis=1)
    found = jax.nn.softmax(prior + unigrams), jax.nn.softmax(prior + bigrams)
    return nan_outside(found[0], tokens, k, over=1), nan_outside(found[1], tokens, k, over=1)


def _rows(matrices: Array, tokens: Array, k: int) -> Array:
    """[N, T, k]: of matrices [N, T, k·k] the row of each token."""
    matrices = matrices.reshape(*tokens.shape, k, k)
    return jnp.take_along_axis(matrices, tokens[..., None, None], axis=2)[:, :, 0]


def _check_chains(chains: np.ndarray, shape: tuple[int, ...]) -> None:
    if chains.shape != shape:
        raise ValueError(f"task.chains has shape {chains.shape}: it must be [room, k, k] = {list(shape)}.")
    if not (chains > 0).all():
        raise ValueError(
            f"task.chains has {chains.min():g}: probabilities are above 0, so that no sequence excludes all."
        )
    sums = chains.sum(axis=-1)
    if not (worst := np.abs(sums - 1).max()) < 1e-5:
        raise ValueError(f"task.chains has a row whose sum is off by {worst:g}: every row must sum to 1.")
