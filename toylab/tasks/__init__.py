"""Tasks: one family of data a file."""

from toylab.tasks.dictionary import MixedFeatures
from toylab.tasks.modular import ModularArithmetic
from toylab.tasks.sample import FixedSample
from toylab.tasks.sparse import OneHotFeatures, SparseFeatures

__all__ = ["FixedSample", "MixedFeatures", "ModularArithmetic", "OneHotFeatures", "SparseFeatures"]
