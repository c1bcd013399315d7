"""Claims and how they are judged: intervals in place of bounds for every seed.

claim    Claim, Source, Fidelity: what is stated · kinds  the rules, each with its statistics
page     all claims of a page: checks, families of tests · counts  of verdicts · table  in Markdown
frozen   what is fixed before confirming seeds are trained · code  a digest of what a function computes
scales, intervals, regression, outcome   what the rules are made of"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
