"""What is explored: folders, loaded sweeps and arrays as recordings.

opening     which recording a folder is · committed, archive, matching  a page's measures alone · analysed  beside its runs
trained     a folder with runs, which may still grow: groups, growing, points · chunks  params of one run at one step
given, arguments    a user's arrays, checked · loaded  a sweep that is in memory
described   configs as columns · lab_page  the page itself · phases  of a grokking run"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
