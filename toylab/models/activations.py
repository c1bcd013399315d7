"""What a transformer's neurons compute."""

from typing import Literal

import jax

Activation = Literal["relu", "gelu", "gelu_new"]
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),  # torch's, by erf
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),  # GPT-2's, x/2 · (1 + tanh(√(2/π)·(x + 0.044715 x³)))
}
