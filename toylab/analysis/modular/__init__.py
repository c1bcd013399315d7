"""Networks that add modulo p: Fourier circuits, progress measures, clock and pizza."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
