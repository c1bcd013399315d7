"""Arrays, or a sweep and names → figures and animations.

fields   how a Sweep or Measures, and names, stand in place of arrays
style, labels, motion, arrows, cells, phase, pictured, curves   what serves all families
modular, groups, superposition, attention                       the families, whose modules are here too"""

from toylab.plots import _late

__getattr__, __dir__, __all__ = _late.attach(
    __name__, __file__, families=("attention", "groups", "modular", "superposition")
)
