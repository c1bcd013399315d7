"""How numbers are computed whatever the machine is: products in float32's precision, decompositions on one thread."""

import contextlib
from collections.abc import Iterator

import jax
from threadpoolctl import threadpool_limits


@contextlib.contextmanager
def alike() -> Iterator[None]:
    """Within it numbers do not hang on the kind of device or the number of cores: `full_precision` and
    `one_blas_thread`."""
    with full_precision(), one_blas_thread():
        yield


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Within it products of matrices have float32's precision on accelerators too, which else round to bfloat16 or tf32. A
    precision that is set (`jax_default_matmul_precision`) stays."""
    if jax.default_backend() == "cpu" or getattr(jax.config, "jax_default_matmul_precision") is not None:
        yield
        return
    with jax.default_matmul_precision("highest"):
        yield


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it SciPy's BLAS, by which JAX decomposes matrices on a CPU, works on one thread.

    The matrices here are small. Its threads wait for each other in loops that take all of their cores: the singular values
    of a 113 × 128 matrix took 1.4 ms of CPU on one thread and 47 to 600 on two, the more the busier the machine. And
    their number decides about the last digits. XLA's own products keep their threads.
    """
    with threadpool_limits(1, user_api="blas"):
        yield
