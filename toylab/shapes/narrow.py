"""Floats narrower than float32 (float16, bfloat16 and others of ml_dtypes). Analyses and losses compute in float32."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np


def is_narrow(dtype: Any) -> bool:
    """Whether a dtype of numpy, JAX or torch is a float of fewer than 32 bits."""
    if isinstance(dtype, np.dtype):
        return dtype.itemsize < 4 and bool(jnp.issubdtype(dtype, jnp.floating))
    return str(dtype).startswith(("torch.float16", "torch.bfloat16", "torch.float8"))


def widened(x: Any) -> Any:
    """Converts narrow floats to float32. x is an array, numbers in lists, or a mapping, of which other values stay."""
    if isinstance(x, Mapping):
        return {
            name: widened(value) if is_narrow(getattr(value, "dtype", None)) else value for name, value in x.items()
        }
    if hasattr(x, "dtype"):
        return x.astype(np.float32) if hasattr(x, "astype") else x.float()  # the latter is torch's
    try:
        return np.asarray(x, np.float32)
    except TypeError:  # the list holds tracers
        return jnp.asarray(x, jnp.float32)
