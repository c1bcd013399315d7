"""Tasks: one family of data a file."""

from toylab.tasks.modular import ModularArithmetic

__all__ = ["ModularArithmetic"]
