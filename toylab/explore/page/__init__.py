"""The page: its panels, what links them, and who draws when.

page        `Page` · head  title, run, step, messages · panels  runs, curves, sweep, views, claims, analyses
linking     the script that links them in the browser · turns  what is drawn first · moments  few are kept"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
