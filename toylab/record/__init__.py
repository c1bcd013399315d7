"""Recording a training that runs elsewhere (PyTorch, Flax, NumPy) in the lab's own files.

recorder    `Recorder`, which a training loop calls · arguments  what it is given, checked
journal     the folder of a run: lock, manifest, chunks, resuming
conversion  the network's arrays as params, by a layout or under their own names · weights  arrays of any kind, copied"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
