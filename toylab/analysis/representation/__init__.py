"""How good a representation is: parallelograms and RQI, ranks, similarity (CKA, NTK), neural collapse. One topic a file."""

from toylab.analysis.representation.collapse import Collapse, neural_collapse
from toylab.analysis.representation.kernels import (
    alignment,
    kernel_descent,
    kernel_movement,
    kernel_regression,
    linear_cka,
    ntk,
)
from toylab.analysis.representation.parallelograms import (
    degrees_of_freedom,
    effective_dynamics,
    effective_loss,
    gaps,
    ideal_accuracy,
    pairs,
    parallelogram_eigenvalues,
    predicted_accuracy,
    rqi,
    z_scored,
)
from toylab.analysis.representation.ranks import effective_rank, feature_rank, linear_probe_rank, probe_accuracies

__all__ = [
    "Collapse",
    "alignment",
    "degrees_of_freedom",
    "effective_dynamics",
    "effective_loss",
    "effective_rank",
    "feature_rank",
    "gaps",
    "ideal_accuracy",
    "kernel_descent",
    "kernel_movement",
    "kernel_regression",
    "linear_cka",
    "linear_probe_rank",
    "neural_collapse",
    "ntk",
    "pairs",
    "parallelogram_eigenvalues",
    "predicted_accuracy",
    "probe_accuracies",
    "rqi",
    "z_scored",
]
