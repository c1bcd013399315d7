"""A page as one HTML file that needs no server and no network: export · packing  arrays in few bytes."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
