"""The same groups, placed on many machines by Ray: one task a group, which any worker can take up where another left it.

Arrays never travel: every machine sees the sweep's folder, and workers and driver speak through it (orders.py). Ray says
which workers there are and which have died. A group whose worker died, or whose disk failed, is tried again elsewhere; one
whose config is wrong is not, and does not stop the others.
"""

from toylab.launch.ray.connection import check, connected
from toylab.launch.ray.driver import run

__all__ = ["check", "connected", "run"]
