"""Training the groups of a sweep on many machines with Ray. A group is one task; any worker can resume it.

Arrays are not sent over the network: every machine sees the sweep's folder, and driver and workers exchange messages
through it (messages.py). Ray starts the workers and reports which have died. A group is tried again on another worker if
its worker died or its disk failed. A group whose config is wrong is not tried again and does not stop the others.

connection  connecting to Ray · resources  how many workers fit · driver  hands out the groups · worker  trains one
"""

from toylab.launch.ray.connection import check, connected
from toylab.launch.ray.driver import run

__all__ = ["check", "connected", "run"]
