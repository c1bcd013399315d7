from . import launchers as launchers, processes as processes, ray as ray
