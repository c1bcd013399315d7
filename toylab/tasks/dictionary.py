"""Vectors that are sparse mixtures of known features: what a sparse autoencoder has to take apart (Sharkey et al. 2022,
"Taking features out of superposition with sparse autoencoders"; the numbers are those of its released replica)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from toylab.base import Apply, Params, static
from toylab.losses import squared_error

N_EVALUATION = 4096  # samples on which a run is measured


class MixedFeatures(struct.PyTreeNode):
    """x = Σ_i c_i t_i over n_truth random unit vectors t_i in d_model dimensions, fresh every step.

    Feature i is on with probability p_i ∝ decay^i, scaled to Σ p_i = active, and then has a strength c_i ~ U[0, 1].
    Where `correlated`, a sample's p_i carries a factor 2 Φ(z_i) of mean 1, z normal with a random correlation matrix.
    Deviations from the replica: it scales only the correlated p_i to that sum (else p_i = active · decay^i / n_truth),
    draws z once for a whole batch and from a matrix whose diagonal is not 1, and turns a feature on in empty samples.

    Loss: the mean over samples and dimensions of (x − x̂)², plus l1 times the mean over samples of Σ_j |latent_j| / d_dict.
    Dividing by d_dict is the replica's choice: the same pressure on each latent takes an l1 in proportion to d_dict.
    """

    n_truth: int = static(default=512)
    """The true features."""
    d_model: int = static(default=256)
    """Dimensions of a sample."""
    batch: int = static(default=4096)
    """Samples a step."""
    correlated: bool = static(default=False)
    """Whether features are on together, by a random correlation matrix."""
    active: float = 5.0
    """Features on in a sample, on average."""
    decay: float = 0.99
    """Ratio of the probabilities of a feature and the one before."""
    l1: float = 0.0
    """Weight of the sparsity loss."""

    def check(self) -> "MixedFeatures":
        for name in ("n_truth", "d_model", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}: it must be at least 1.")
        if not 0 < self.decay <= 1:
            raise ValueError(f"task.decay is {self.decay!s}: it must lie in (0, 1].")
        most = sum(float(self.decay) ** i for i in range(self.n_truth)) / (2 if self.correlated else 1)
        if not 0 < self.active <= most * (1 + 1e-6):
            raise ValueError(
                f"task.active is {self.active!s}: it must be above 0 and at most {most:.4g}, where the first feature "
                f"has probability 1."
            )
        if not 0 <= self.l1 < float("inf"):
            raise ValueError(f"task.l1 is {self.l1!s}: it must be a finite number, at least 0.")
        return self

    def check_net(self, net: Any) -> None:
        if not getattr(net, "d_dict", 0):
            raise ValueError("net has no d_dict: the task is for an autoencoder with latents, as SparseAutoencoder.")
        if net.d_model != self.d_model:
            raise ValueError(f"net.d_model is {net.d_model}: it must be task.d_model, which is {self.d_model}.")

    def data(self, key: Array) -> dict[str, Array]:
        """The true features and the fixed sample.

        Returns:
            A dict.

            - `truth` [n_truth, d_model]: unit rows.
            - `x` [N_EVALUATION, d_model]: the sample that is measured.
            - `mixing` [n_truth, n_truth], where correlated: makes z of independent normals.
        """
        truth_key, mixing_key, sample_key = jax.random.split(key, 3)
        truth = jax.random.normal(truth_key, (self.n_truth, self.d_model))
        data = {"truth": truth / jnp.linalg.norm(truth, axis=1, keepdims=True)}
        if self.correlated:
            data["mixing"] = _mixing(mixing_key, self.n_truth)
        return data | {"x": self.codes(data, sample_key, N_EVALUATION) @ data["truth"]}

    def probabilities(self) -> Array:
        """[n_truth]: how often each feature is on."""
        powers = self.decay ** jnp.arange(self.n_truth)
        return self.active * powers / jnp.sum(powers)

    def codes(self, data: dict[str, Array], key: Array, n: int) -> Array:
        """Strengths of features, 0 where a feature is off. One uniform gives presence and strength: u ≤ p ? u/p : 0.

        Args:
            data: As of `data`.
            key: Of the draw.
            n: How many samples.

        Returns:
            [n, n_truth].
        """
        p = self.probabilities()
        if self.correlated:
            key, normal_key = jax.random.split(key)
            z = jax.random.normal(normal_key, (n, self.n_truth)) @ data["mixing"].T
            p = 2 * p * jax.scipy.stats.norm.cdf(z)
        p = jnp.maximum(p, jnp.finfo(p.dtype).tiny)  # 0 / 0 would be nan
        u = jax.random.uniform(key, (n, self.n_truth))
        return jnp.where(u <= p, u / p, 0)

    def loss(self, apply: Apply, params: Params, data: dict[str, Array], key: Array) -> Array:
        x = self.codes(data, key, self.batch) @ data["truth"]
        reconstruction, cache = apply(params, x)
        return jnp.mean(squared_error(reconstruction, x)) + self.l1 * jnp.mean(jnp.abs(cache["latents"]))

    def measure(self, apply: Apply, params: Params, data: dict[str, Array]) -> dict[str, Array]:
        """What is measured at a saved point, on the fixed sample.

        Returns:
            A dict of scalars: `mse` as in the loss; `l0`, latents on in a sample; `fvu`, Σ‖x − x̂‖² / Σ‖x − mean x‖².
        """
        x = data["x"]
        reconstruction, cache = apply(params, x)
        mse = jnp.mean(squared_error(reconstruction, x))
        return {
            "mse": mse,
            "l0": jnp.mean(jnp.sum(cache["latents"][0] != 0, axis=-1)),
            "fvu": mse / jnp.mean(squared_error(x, jnp.mean(x, axis=0))),
        }


def _mixing(key: Array, n: int) -> Array:
    """[n, n], A with A Aᵀ a correlation matrix: the replica's random one (symmetrised uniforms, their smallest eigenvalue
    brought just above 0 by adding to the diagonal), scaled to a unit diagonal."""
    uniform = jax.random.uniform(key, (n, n))
    values, vectors = jnp.linalg.eigh((uniform + uniform.T) / 2)
    root = vectors * jnp.sqrt(values - 1.001 * jnp.minimum(values[0], 0))
    return root / jnp.linalg.norm(root, axis=1, keepdims=True)
