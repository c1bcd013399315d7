"""ReLU models of sparse features."""
