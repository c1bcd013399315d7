"""Pages of attention-only transformers and what they learn from sequences."""
