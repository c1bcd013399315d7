"""Arrays as analyses and losses compute with them: floats narrower than float32 (float16, bfloat16 and others of ml_dtypes)
become float32; tensors of torch and other objects with `__array__` become numpy arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_narrow(dtype: Any) -> bool:
    """Whether a dtype of numpy, JAX or torch is a float of fewer than 32 bits."""
    if isinstance(dtype, np.dtype):
        return dtype.itemsize < 4 and bool(jnp.issubdtype(dtype, jnp.floating))
    return str(dtype).startswith(("torch.float16", "torch.bfloat16", "torch.float8"))


def is_foreign(x: Any) -> bool:
    """Whether x is an array of neither numpy nor JAX that can be converted: a tensor of torch, a column of pandas."""
    return hasattr(x, "__array__") and not isinstance(x, np.ndarray | np.generic | jax.Array)


def converted(name: str, x: Any) -> Any:
    """Converts narrow floats to float32, and foreign arrays to numpy.

    Args:
        name: of x, for messages.
        x: an array, numbers in lists, or a mapping, of which other values stay.

    Raises:
        ValueError: for a tensor that requires grad or is not on the CPU, in one sentence.
    """
    if isinstance(x, Mapping):
        return {
            key: converted(f'{name}["{key}"]', value)
            if is_foreign(value) or is_narrow(getattr(value, "dtype", None))
            else value
            for key, value in x.items()
        }
    if is_foreign(x):
        if getattr(x, "requires_grad", False) is True:
            raise ValueError(f"{name} is a tensor that requires grad: give it without, as tensor.detach().")
        place = getattr(getattr(x, "device", None), "type", "cpu")
        if place != "cpu":
            raise ValueError(f"{name} is a tensor on the device {place}: give it on the CPU, as tensor.cpu().")
        narrow = is_narrow(getattr(x, "dtype", None)) and hasattr(x, "float")  # torch's, some of which numpy lacks
        x = np.asarray(x.float() if narrow else x)
    return x if hasattr(x, "dtype") and not is_narrow(x.dtype) else widened(x)


def widened(x: Any) -> Any:
    """An array of narrow floats of numpy or JAX, or numbers in lists, as float32."""
    if hasattr(x, "dtype"):
        return x.astype(np.float32)
    try:
        return np.asarray(x, np.float32)
    except TypeError:  # the list holds tracers
        return jnp.asarray(x, jnp.float32)
