from . import (
    child as child,
    compiled as compiled,
    devices as devices,
    flops as flops,
    hlo as hlo,
    moved as moved,
    prediction as prediction,
)
