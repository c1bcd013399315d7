from . import (
    export as export,
    packing as packing,
)
