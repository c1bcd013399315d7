from . import (
    arguments as arguments,
    conversion as conversion,
    journal as journal,
    recorder as recorder,
    weights as weights,
)
from .recorder import Recorder as Recorder
