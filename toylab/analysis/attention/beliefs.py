"""Belief states in the residual stream (Shai et al. 2024, arXiv 2405.15943): is it an affine image of the belief simplex?

Least squares with intercept takes the residual stream, after the last layer or of all layers side by side, to the optimal
predictor's posterior over hidden states, over all sequences and positions, each weighted with the sequence's probability.
A high R² alone says little: recent tokens read off at random give an untrained network one of .95 on Mess3. So there are
controls: an untrained network, and beliefs dealt out to other inputs (what a probe of this size fits of anything).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from toylab.analysis.probes import r2, residual_streams, ridge
from toylab.base import Params, Run
from toylab.shapes import shaped
from toylab.tasks import hmm


@shaped
def regression(
    residuals: Real[ArrayLike, "N P d"], beliefs: Real[ArrayLike, "N P n_states"], weight: Real[ArrayLike, " N"]
) -> tuple[Float[Array, "N P n_states"], Float[Array, ""]]:
    """The best affine map from residuals to beliefs, by weighted least squares.

    R² is pooled over states: 1 − Σ w |η − η̂|² / Σ w |η − η̄|². Beliefs sum to 1, and so does the image; it may leave the
    simplex.

    Args:
        residuals: [N, P, d].
        beliefs: The optimal predictor's posteriors, [N, P, states].
        weight: The probability of each sequence, the same at every position.

    Returns:
        The image [N, P, states] of the residuals, and R².
    """
    x, y, w = _points(residuals, beliefs, weight)
    image = ridge(x, y, weight=w)(x)
    return image.reshape(np.shape(beliefs)), r2(y, image, w)


@shaped
def shuffled(beliefs: Float[Array, "N P n_states"], seed: int = 0) -> Float[Array, "N P n_states"]:
    """The same beliefs, dealt out to other sequences and positions.

    Args:
        beliefs: [N, P, states].
        seed: Of the shuffle.
    """
    order = np.random.default_rng(seed).permutation(beliefs.shape[0] * beliefs.shape[1])
    return beliefs.reshape(len(order), -1)[order].reshape(beliefs.shape)


@shaped
def unexplained_ratio(r2: Real[ArrayLike, "*#batch"], control: Real[ArrayLike, "*#batch"]) -> Float[Array, "*batch"]:
    """(1 − R²) / (1 − R²_control): the share of the variance left by a control that is still left; 1 is no better.

    Args:
        r2: R².
        control: R² of the control.
    """
    return (1 - jnp.asarray(r2)) / (1 - jnp.asarray(control))


@shaped
def concatenated(streams: Float[Array, "n_streams N P d"]) -> Float[Array, "N P n_streams*d"]:
    """The residual streams of all layers side by side.

    Args:
        streams: [L + 1, N, P, d].

    Returns:
        [N, P, (L + 1)·d].
    """
    return jnp.moveaxis(streams, 0, 2).reshape(*streams.shape[1:3], -1)


def _points(residuals: ArrayLike, beliefs: ArrayLike, weight: ArrayLike) -> tuple[Array, Array, Array]:
    x, y, w = jnp.asarray(residuals), jnp.asarray(beliefs), jnp.asarray(weight)
    return x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), jnp.repeat(w, x.shape[1])


def _against_shuffled(residuals: Array, run: Run) -> Array:
    """[2]: R² of the beliefs, and of the same beliefs shuffled; two targets of one factorisation."""
    beliefs = run.data["beliefs"]
    x, y, w = _points(residuals, jnp.concatenate([beliefs, shuffled(beliefs)], axis=-1), run.data["weight"])
    targets, images = jnp.split(y, 2, axis=1), jnp.split(ridge(x, y, weight=w)(x), 2, axis=1)
    return jnp.stack([r2(target, image, w) for target, image in zip(targets, images, strict=True)])


def explained(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: R² of beliefs from residual streams.

    Returns:
        A dict.

        - `layers` [L + 1]: from the stream after each layer, 0 being the embedding.
        - `final` and `concat` []: from the last one, and from all side by side; each also of shuffled beliefs.
    """
    streams = residual_streams(run.config.net.apply(params, run.data["tokens"])[1])
    each = jax.lax.map(lambda stream: _against_shuffled(stream, run), streams)  # [L + 1, 2]
    both = _against_shuffled(concatenated(streams), run)
    shuffled = {"final_shuffled": each[-1, 1], "concat_shuffled": both[1]}
    return {"layers": each[:, 0], "final": each[-1, 0], "concat": both[0], **shuffled}


def by_position(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: losses by position, in nats.

    Returns:
        A dict of arrays [n_ctx]: the exact loss, and its excess over that of the optimal predictor.
    """
    loss, kl = run.config.task.losses(run.config.net.apply(params, run.data["tokens"], full=False)[0], run.data)  # type: ignore
    return {"loss": loss, "kl": kl}


def untrained(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: what `explained` finds in a network of the same kind that was never trained. It is not where this one
    began."""
    return explained(run.config.net.init(jax.random.key(run.config.seed)), run)


def image(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the images of residuals in the belief simplex.

    Returns:
        A dict of arrays [N, P, states]: of the last residual, and of all residuals.
    """
    streams = residual_streams(run.config.net.apply(params, run.data["tokens"])[1])
    sides = {"final": streams[-1], "concat": concatenated(streams)}
    return {name: regression(x, run.data["beliefs"], run.data["weight"])[0] for name, x in sides.items()}


@shaped
def completed(image: Real[ArrayLike, "*batch states"]) -> Float[np.ndarray, "*batch all_states"]:
    """An image with the last state's share, which is what the others leave of 1.

    Args:
        image: [..., states − 1].

    Returns:
        [..., states].
    """
    image = np.asarray(image, np.float64)
    return np.concatenate([image, 1 - image.sum(axis=-1, keepdims=True)], axis=-1)


def prefixes(T: np.ndarray, n_ctx: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every possible sequence of 1 to n_ctx symbols of a process, once.

    Args:
        T: Of the process, [symbols, states, states].
        n_ctx: The longest.

    Returns:
        Of each the first of all n_ctx-symbol sequences that begins with it, its last position, its belief [n, states] and
        its probability [n].
    """
    every = hmm.belief_states(T, hmm.every_sequence(len(T), n_ctx))[:, 1:]
    law = hmm.probability(T, hmm.every_sequence(len(T), n_ctx))
    blocks = [len(T) ** (n_ctx - 1 - p) for p in range(n_ctx)]
    rows = np.concatenate([np.arange(0, len(every), block) for block in blocks])
    position = np.repeat(np.arange(n_ctx), [len(every) // block for block in blocks])
    weight = np.concatenate([law.reshape(-1, block).sum(axis=1) for block in blocks])
    possible = weight > 0
    rows, position = rows[possible], position[possible]
    return rows, position, every[rows, position], weight[possible]


def last_images(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: where the last residual lies in the simplex after each sequence of n_ctx − 1 symbols, in lexicographic
    order.

    Returns:
        A dict: `final` [sequences, states − 1], see `completed`, in half precision.
    """
    found = image(params, run)["final"][:: len(run.config.task.T), -2, :-1]  # type: ignore[attr-defined]
    return {"final": found.astype("float16")}


def images_of_all(params: Params, run: Run, T: np.ndarray) -> dict[str, Array]:
    """The images of every possible sequence of a process, from the last residual and from all. An analyzer once T is given.

    Args:
        params: Of the network.
        run: Of the process.
        T: The process, [symbols, states, states], as a constant: which sequences are possible decides the shapes.

    Returns:
        A dict of arrays [n, states − 1], of the sequences of `prefixes`, in half precision.
    """
    rows, position, _, _ = prefixes(T, run.config.task.n_ctx)  # type: ignore[attr-defined]
    return {name: value[rows, position, :-1].astype("float16") for name, value in image(params, run).items()}
