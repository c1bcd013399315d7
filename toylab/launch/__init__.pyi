from . import launchers as launchers
from . import processes as processes
from . import ray as ray
