"""Kinds of claims, each with the rule by which its verdict is reached (docs: How a verdict is reached).

numbers   Identity, Number, Median, Within     of a typical run
shares    Direction, Proportion                of how many runs have something
sets      Law, Existence, Excess, Ratio, Cells of many runs together

A kind's fields are what is fixed before the confirming seeds are trained. A nan is a run without a value; it counts
against the claim."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
