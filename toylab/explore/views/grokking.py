"""Networks that add modulo p."""
