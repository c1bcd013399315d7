"""A sweep in the browser: views of runs and weights, linked by the chosen runs and the step; live, or as one file to send.

pictures     what a view gives: arrays with a title and axes · declaring  what a view is, and its controls
recording, moment    what is explored, and a run of it at one saved point
views        the lab's own views, by family · own  those of a user
recordings   what is explored: folders, loaded sweeps, arrays · demand  analyzers computed when they are asked for
plots        pictures drawn by Bokeh · page  the page, its panels and what links them
serving      the server · exporting  one HTML file · notebook  in Jupyter and marimo
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
