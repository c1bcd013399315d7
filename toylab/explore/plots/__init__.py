"""Pictures drawn by Bokeh: models made once, and data that change with the step.

drawing     `Panel`: the pictures of a view · kinds  each kind of picture · planes, charts  how they are drawn
frames      what all plots share · colours · limits  the same at every step"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
