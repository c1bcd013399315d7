"""Arrays, or a sweep and names → figures and animations.

fields   how a Sweep or Measures, and names, stand in place of arrays
style, labels, motion, arrows, cells, phase, pictured, curves   what serves all families
modular, groups, superposition, attention                       the families, whose modules are here too"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
