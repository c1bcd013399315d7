from . import annotations as annotations
from . import checks as checks
from . import indices as indices
from . import narrow as narrow
from .checks import shaped as shaped
