"""Figures of addition modulo p."""

from toylab.plots import _late

__getattr__, __dir__, __all__ = _late.attach(__name__, __file__)
