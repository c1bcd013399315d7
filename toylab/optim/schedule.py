"""The learning rate of an optimizer over its steps, and the checks of the fields that optimizers share."""

from typing import Any, Literal, get_args

import jax.numpy as jnp
from jax import Array

Schedule = Literal["constant", "linear", "cosine", "quarter_cosine"]


def scheduled(optimizer: Any) -> Any:
    """lr · min(step / warmup, 1) · (floor + (1 − floor) · f), where f falls from 1 to 0 over `steps`, warm-up included.

    Warm-up: step 0 has lr 0, as in the code of Power et al. 2022 and Nanda et al. 2023. With u = share of the steps after
    warm-up that are over: linear f = 1 − u, cosine f = ½(1 + cos πu), quarter_cosine f = cos(½π step / (steps − 1)) (the
    notebook of Elhage et al. 2022).
    """
    lr, warmup, steps, floor = optimizer.lr, optimizer.warmup, optimizer.steps, optimizer.floor
    if optimizer.schedule == "constant":
        return (lambda step: lr * jnp.minimum(step / warmup, 1)) if warmup else lr

    def rate(step: Array) -> Array:
        over = jnp.clip((step - warmup) / (steps - warmup), 0, 1)
        fall = {
            "linear": 1 - over,
            "cosine": 0.5 * (1 + jnp.cos(jnp.pi * over)),
            "quarter_cosine": jnp.cos(0.5 * jnp.pi * jnp.minimum(step / max(steps - 1, 1), 1)),
        }[optimizer.schedule]
        return lr * (jnp.minimum(step / warmup, 1) if warmup else 1) * (floor + (1 - floor) * fall)

    return rate


def check_shared(optimizer: Any, signed: bool = False) -> None:
    """Raises ValueError where a field that optimizers share does not fit; `signed` allows weight decay below 0."""
    for name in ("lr",) if signed else ("lr", "weight_decay"):
        value = getattr(optimizer, name, 0.0)
        if not 0 <= value < float("inf"):
            raise ValueError(f"optimizer.{name} is {value!s}: it must be a finite number, at least 0.")
    for name in ("b1", "b2", "momentum"):
        value = getattr(optimizer, name, 0.0)
        if not 0 <= value < 1:
            raise ValueError(f"optimizer.{name} is {value!s}: it must lie in [0, 1).")
    if not getattr(optimizer, "eps", 1.0) > 0:
        raise ValueError(f"optimizer.eps is {optimizer.eps}: it must be above 0.")
    if optimizer.warmup < 0:
        raise ValueError(f"optimizer.warmup is {optimizer.warmup}: it must be a number of steps, at least 0.")
    if optimizer.schedule not in get_args(Schedule):
        raise ValueError(
            f"optimizer.schedule is {optimizer.schedule!r}: it must be one of {', '.join(get_args(Schedule))}."
        )
    if optimizer.schedule != "constant" and not optimizer.steps > optimizer.warmup:
        raise ValueError(
            f"optimizer.steps is {optimizer.steps}: a {optimizer.schedule} schedule needs more than warmup."
        )
    if not 0 <= optimizer.floor <= 1:
        raise ValueError(f"optimizer.floor is {optimizer.floor}: it must lie in [0, 1], a share of lr.")
