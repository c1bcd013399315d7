"""Array functions that refuse, in a sentence, what does not fit.

checks       `shaped`, which holds a function's arguments to their annotations · annotations  which it reads
narrow       half precision becomes float32 · indices  tokens and labels that no table has"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
