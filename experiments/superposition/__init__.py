"""Pages of features in superposition."""
