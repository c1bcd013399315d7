"""What a lab page is, and how it is run.

page      parts, measures, claims · stages  train, analyze, draw
job       what is asked, checked · stated, rehearsal  a page held against itself before it trains
preview   what a sweep takes · watch  display, signals, log · events  TensorBoard"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
