"""Floating-point operations of one step, counted in what is traced: the same for every device and compiler."""

from collections import Counter
from math import prod
from typing import Any

import jax
from jax.extend.core import Jaxpr

from toylab import train
from toylab.base import Config
from toylab.sweep.memory import parts


def products(config: Config) -> Counter[str]:
    """Operations in the products of matrices of one step of one run, by the dtype of their factors.

    A product [m, k] · [k, n] has 2·m·k·n. Those inside of loops count as often as they run, those of branches as the
    larger branch; in a loop whose length the data say they count once. What is elementwise does not count.

    Args:
        config: of the run, checked.
    """
    state, data = jax.eval_shape(train.init, config), jax.eval_shape(train.data, config)
    key = jax.eval_shape(jax.random.key, 0)
    return counted(jax.make_jaxpr(train.step)(config, data, key, state).jaxpr)


def counted(jaxpr: Jaxpr) -> Counter[str]:
    """The operations of the products in a jaxpr, by the dtype of their factors."""
    found: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        kind, inner = equation.primitive.name, [counted(part) for part in parts(equation, "cpu")]
        if kind == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            _add(found, equation, prod(_shape(equation.invars[0])[axis] for axis in contracted))
        elif kind == "conv_general_dilated":
            kernel = _shape(equation.invars[1])
            _add(found, equation, prod(kernel) // kernel[equation.params["dimension_numbers"].rhs_spec[0]])
        elif kind == "cond":
            larger = max(inner, key=lambda one: one.total())
            found.update(larger)
        else:
            times = equation.params["length"] if kind == "scan" else 1
            for one in inner:
                found.update({dtype: times * n for dtype, n in one.items()})
    return found


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _add(found: Counter[str], equation: Any, terms: int) -> None:
    """A product whose every result is a sum of so many terms."""
    result, dtype = equation.outvars[0].aval, equation.invars[0].aval.dtype
    found[str(dtype)] += (8 if dtype.kind == "c" else 2) * prod(result.shape) * terms
