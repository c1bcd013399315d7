"""Analyzers computed when they are asked for, in the background, and kept on disk.

on_demand   what can be asked for, and what was · computing  the thread · found  what has come, as measures
kept        on disk, by analyzer, run and chunk · analyzers  which there are, and a user's own"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
