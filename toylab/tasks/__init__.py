"""Tasks: one family of data a file."""

from toylab.meanings import documented
from toylab.tasks.addition import Addition
from toylab.tasks.beside_random import ModularBesideRandom
from toylab.tasks.classification import ItemLabelPairs
from toylab.tasks.dictionary import MixedFeatures
from toylab.tasks.exemplars import RelabelledExemplars
from toylab.tasks.groups import GroupComposition
from toylab.tasks.hmm import HiddenMarkov
from toylab.tasks.images import Images
from toylab.tasks.markov import MarkovChains
from toylab.tasks.mixture import ChainMixture
from toylab.tasks.modular import ModularArithmetic, ModularPairs
from toylab.tasks.programs import Program
from toylab.tasks.prompts import ModularPrompts
from toylab.tasks.sample import FixedSample
from toylab.tasks.sequence import RepeatedBlocks
from toylab.tasks.sparse import OneHotFeatures, SparseFeatures
from toylab.tasks.supervised import Supervised
from toylab.tasks.triggers import TriggerBigrams
from toylab.tasks.trigrams import SkipTrigrams
from toylab.tasks.vectors import (
    LinearTeacher,
    MatrixCompletion,
    RandomLabels,
    SeparatedLinear,
    SparseLinear,
    SparseParity,
    SpikedTeacher,
    TeacherStudent,
)

__all__ = [
    "Addition",
    "ChainMixture",
    "FixedSample",
    "GroupComposition",
    "HiddenMarkov",
    "Images",
    "ItemLabelPairs",
    "LinearTeacher",
    "MarkovChains",
    "MatrixCompletion",
    "MixedFeatures",
    "ModularArithmetic",
    "ModularBesideRandom",
    "ModularPairs",
    "ModularPrompts",
    "OneHotFeatures",
    "Program",
    "RandomLabels",
    "RelabelledExemplars",
    "RepeatedBlocks",
    "SeparatedLinear",
    "SkipTrigrams",
    "SparseFeatures",
    "SparseLinear",
    "SparseParity",
    "SpikedTeacher",
    "Supervised",
    "TeacherStudent",
    "TriggerBigrams",
]

for _name in __all__:
    documented(globals()[_name])
