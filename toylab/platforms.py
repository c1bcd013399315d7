"""What a CPU computes in another way than an accelerator. The way is chosen where a program is lowered, by the platform
that it is lowered for: what a CPU exports for another device is what that device would run."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import Array

State = TypeVar("State")

STEPS = (
    "steps_between_points"  # the name of the loop over single steps in a compiled program, by which it is found there
)
BLOCK = 8  # steps: a host is asked once in as many whether there are more, and up to as many times for the rest


def by_platform(*args: Any, cpu: Callable[..., Any], others: Callable[..., Any]) -> Any:
    """`cpu(*args)` on a CPU, `others(*args)` on any other device; both give the same but for rounding."""
    return jax.lax.platform_dependent(*args, cpu=cpu, default=others)


def repeated(step: Callable[[State], State], state: State, n: Array) -> State:
    """n steps, a number that the program does not know.

    Between the steps of such a loop a GPU waits for the host to read whether there is another one. Of a loop of known
    length it does not. So there the steps are taken in blocks of `BLOCK`, and what is left over one by one.
    """

    traced = jax.jit(step, inline=True)  # once, for all three loops

    def one(_: Any, state: State) -> State:
        return traced(state)

    def plain(state: State, n: Array) -> State:
        with jax.named_scope(STEPS):
            return jax.lax.fori_loop(0, n, one, state)

    def in_blocks(state: State, n: Array) -> State:
        state = jax.lax.fori_loop(0, n // BLOCK, lambda _, state: jax.lax.fori_loop(0, BLOCK, one, state), state)
        return plain(state, n % BLOCK)

    return by_platform(state, n, cpu=plain, others=in_blocks)
