"""The server of a page: loopback, tokens, origins, figures by number.

server      `Server` · guard  which requests are refused · figures  served by number · needed  the extra"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
