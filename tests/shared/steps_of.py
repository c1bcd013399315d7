"""What an optimizer does with given gradients."""

import jax
import jax.numpy as jnp
import optax


@jax.jit
def params_after(optimizer, gradients, start):
    """The params after each step, leaves [STEPS, …]."""
    transform = optimizer.transform()

    def step(carry, gradient):
        params, state = carry
        updates, state = transform.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    params = jax.tree.map(jnp.asarray, start)
    return jax.lax.scan(step, (params, transform.init(params)), gradients)[1]
