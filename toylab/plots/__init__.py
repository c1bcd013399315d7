"""Arrays → figures and animations, nothing else: no jax, no training. `style` holds the sizes, colours and axes."""
