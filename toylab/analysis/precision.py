"""What rounding does to training: softmax collapse, gradients whose classes no longer cancel, and what they inflate.

The gradient of a cross-entropy by the logits sums to 0 over classes. Where a loss as usually written has rounded p_y to 1
the label's part p_y − 1 is lost and the others stay, and then it does not (Prieto et al. 2025, arXiv 2501.04697; Liu 2026,
arXiv 2605.06152). The last layer is W_U [d, n_classes], and features h are what it reads.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from toylab.analysis.numbers import floating, norm, ratio
from toylab.base import Params, Run
from toylab.protocol import batch_key
from toylab.shapes import shaped


@shaped
def softmax_collapse(logits: Float[ArrayLike, "*batch n_samples n_classes"]) -> Float[Array, "*batch"]:
    """The share of samples whose softmax has rounded to 1: Σ_j exp(z_j − max z) = 1 in the dtype of the logits.

    Args:
        logits: [..., n, C].

    Returns:
        [...], of 1; nan where a logit is.
    """
    logits = jnp.asarray(logits)
    total = jnp.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1)
    return jnp.where(jnp.isnan(total), jnp.nan, total == 1).mean(axis=-1, dtype=logits.dtype)


@shaped
def zero_sum_violation(gradient: Float[ArrayLike, "*batch d n_classes"]) -> Float[Array, "*batch"]:
    """‖Σ_c g_c‖ / ‖g‖ of the gradient by the last layer, whose columns are classes.

    Args:
        gradient: [..., d, C].

    Returns:
        [...]: 0 in exact arithmetic, √(C − 1) where the label's part alone is lost of every sample, at most √C. 0 where the
        gradient is 0.
    """
    gradient = floating(gradient)
    return ratio(norm(gradient.sum(axis=-1), -1), norm(gradient, (-2, -1)))


@shaped
def spikes(
    steps: Real[np.ndarray, " T"], loss: Real[np.ndarray, "*runs T"], rise: float = 10.0, floor: float = 1e-4,
    memory: float = 600,
) -> Bool[np.ndarray, "*runs T"]:  # fmt: skip
    """Where a loss shoots up, as in a slingshot (Thilak et al. 2022, arXiv 2206.04817; the numbers are ours).

    Args:
        steps: Of the saved points, ascending, [T].
        loss: [..., T]; nan where a run has no point.
        rise: A spike is more than this times the least loss of the last `memory` steps.
        floor: And more than this: the rounding noise of a vanishing loss is none.
        memory: In steps; what begins so soon after a spike is a part of it.

    Returns:
        Whether a spike begins at a point, [..., T].

    Raises:
        ValueError: Where the steps do not ascend.
    """
    if (np.diff(steps) <= 0).any():
        raise ValueError(f"steps are {str(steps)[:100]}: they must ascend")
    begins = np.zeros(loss.shape, bool)
    last = np.full(loss.shape[:-1], -np.inf)
    for t in range(1, len(steps)):
        before = loss[..., :t][..., steps[:t] >= steps[t] - memory]
        least = np.min(before, axis=-1, initial=np.inf, where=~np.isnan(before))
        high = (loss[..., t] > rise * least) & (loss[..., t] > floor)
        begins[..., t] = high & (steps[t] - last > memory)
        last = np.where(high, steps[t], last)
    return begins


def last_layer(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: what rounding does to the last layer, on the training set, of a network with W_U and an MLP.

    Returns:
        - `collapse`: softmax_collapse of the training set.
        - `violation`: zero_sum_violation of the gradient of the task's own loss by W_U, in the dtype of training.
        - `mean_class`: ‖mean_c W_U‖, over classes; `mean_feature`: ‖mean_i h_i‖, over the training set.
        - `norm`: ‖W_U‖.
    """
    apply = partial(run.config.net.apply, full=False)
    drawn = batch_key(run.config.task, jax.random.key(0), jnp.int32(0))
    gradient = jax.grad(lambda W_U: run.config.task.loss(apply, params | {"W_U": W_U}, run.data, drawn))
    logits, cache = run.config.net.apply(params, run.data["tokens"][run.data["train"]])
    features = cache["mlp_post"][-1].reshape(len(logits), -1)
    return {
        "collapse": softmax_collapse(logits),
        "violation": zero_sum_violation(gradient(params["W_U"])),
        "mean_class": norm(params["W_U"].mean(axis=1), 0),
        "mean_feature": norm(features.mean(axis=0), 0),
        "norm": norm(params["W_U"], (0, 1)),
    }
