"""Where a sweep is trained.

launchers  this process alone, or one of the following
processes  processes that share a folder, and those of jax.distributed
ray        Ray's workers, on one machine or many"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
