"""What a lab page is, and how it is run.

page      parts, measures, claims · stages  train, analyze, draw · measuring  runs → measures
pages     where pages are found: built in, by path, as a module
job       a request, checked · stated, rehearsal  a page is checked before it is trained
preview   what a sweep will take · on_device  its programs, for a device that is not there; told by foretold
wall      how long training took
watch     display, signals, log · events  TensorBoard · weights_and_biases  Weights & Biases"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
