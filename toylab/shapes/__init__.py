"""Argument checks for array functions. What does not fit raises ValueError, in one sentence.

checks       `shaped`, which checks shapes and dtypes against annotations · annotations  reads these
narrow       converts half precision to float32 · indices  tokens and labels that are out of range"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
