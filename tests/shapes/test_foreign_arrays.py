"""Array functions take tensors of torch on the CPU and anything with `__array__`, with the numbers that numpy's give."""

from collections.abc import Mapping
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import ArrayLike
from jaxtyping import Bool, Real

from toylab.analysis import fourier
from toylab.shapes import shaped

LOGITS = np.random.default_rng(0).normal(size=(7, 7, 7)).astype(np.float32)
KEY = np.array([True, False, True, False])


class Foreign:
    """An array of nobody's."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@shaped
def own(x: Real[ArrayLike, "n m"], mask: Bool[ArrayLike, " n"]) -> tuple:
    return type(x), type(mask), np.asarray(x)


@shaped
def of_params(params: Annotated[Mapping[str, ArrayLike], {"W": Real[ArrayLike, "n m"]}]) -> dict:
    return {name: type(value) for name, value in params.items()}


def test_anything_with_an_array_method_becomes_an_array_of_numpy():
    kind, of_mask, values = own(Foreign(LOGITS[0]), Foreign(np.ones(7, bool)))
    assert kind is of_mask is np.ndarray and (values == LOGITS[0]).all()
    assert own(Foreign(LOGITS[0].astype(np.float16)), np.ones(7, bool))[2].dtype == np.float32
    assert own(jnp.asarray(LOGITS[0]), np.ones(7, bool))[0] is type(jnp.zeros(1))  # JAX's own stay
    with pytest.raises(ValueError, match=r"mask has shape \(4,\).*it must be booleans \[n\] with n = 7 as in x"):
        own(Foreign(LOGITS[0]), Foreign(KEY))
    assert float(fourier.logit_fve(Foreign(LOGITS), Foreign(KEY))) == float(fourier.logit_fve(LOGITS, KEY))


def test_tensors_of_torch_on_the_cpu_are_taken():
    torch = pytest.importorskip("torch")
    logits, key = torch.from_numpy(LOGITS), torch.from_numpy(KEY)
    for _ in range(2):  # checked, and remembered
        assert float(fourier.logit_fve(logits, key)) == float(fourier.logit_fve(LOGITS, KEY))
        assert own(logits[0].bfloat16(), torch.ones(7, dtype=torch.bool))[2].dtype == np.float32
        assert of_params({"W": logits[0], "name": "x"}) == {"W": np.ndarray, "name": str}
        with pytest.raises(ValueError, match=r"^logits is a tensor that requires grad: .*tensor\.detach\(\)\.$"):
            fourier.logit_fve(logits.clone().requires_grad_(), key)
        with pytest.raises(ValueError, match=r'^params\["W"\] is a tensor on the device meta: .*tensor\.cpu\(\)\.$'):
            of_params({"W": torch.zeros(3, 4, device="meta")})
