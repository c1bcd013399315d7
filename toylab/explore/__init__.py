"""A sweep in the browser: views of runs and weights, linked by the chosen runs and the step; live, or as one file to send.

pictures     what a view gives: arrays with a title and axes · declaring  what a view is, and its controls
recording, moment    what is explored, and a run of it at one saved point
views        the lab's own views, by family
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
