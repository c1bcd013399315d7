"""Minibatches by epochs as torch's DataLoader draws them: each epoch takes the training examples in an order of its own."""

import jax
import jax.numpy as jnp
from jax import Array


class Epochs:
    """A task's batches, of its fields `n_train` and `batch_size` (0: all). The last of an epoch has what is left."""

    n_train: int
    batch_size: int

    @property
    def n_batch(self) -> int:
        """Examples of a batch; 0 for all."""
        return self.batch_size

    @property
    def epoch_steps(self) -> int:
        """Batches of an epoch; 0 where a batch is all."""
        return -(-self.n_train // self.n_batch) if 0 < self.n_batch < self.n_train else 0

    def epoch_order(self, key: Array, epoch: Array) -> Array:
        """The order in which an epoch takes the training examples, int [n_train]."""
        return jax.random.permutation(jax.random.fold_in(key, epoch), self.n_train)

    def batch_key(self, order: Array, step: Array) -> tuple[Array, Array]:
        """The batch of a step: its examples, int [n_batch], and which of these are there, since the last of an epoch may
        be smaller. Where a batch is all, nothing is drawn."""
        if not self.epoch_steps:
            return order, step
        at = step % self.epoch_steps * self.n_batch + jnp.arange(self.n_batch)
        return order[jnp.minimum(at, self.n_train - 1)], at < self.n_train


def mean_of(losses: Array, there: Array) -> Array:
    """The mean of the losses [B] of the examples that are there."""
    return jnp.where(there, losses, 0).sum() / there.sum()
