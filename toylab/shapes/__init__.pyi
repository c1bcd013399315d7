from . import annotations as annotations, checks as checks, indices as indices, narrow as narrow
from .checks import shaped as shaped
