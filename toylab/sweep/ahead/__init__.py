"""Programs compiled ahead of time, for devices that are not there.

compiled    a lane compiled for a device, in a process of its own (child) · devices  what is known of them
hlo         the text of a compiled program, read · moved  what a step moves in it · flops  its products of matrices
prediction  what follows: whether it fits, lower bounds of times"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
