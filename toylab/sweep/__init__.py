"""Many runs: configs → families (one compile) → groups (a folder, a lock) → lanes (vmap) → chunks of saved points.

runner    `run`, which trains every group of a sweep · grouping  configs → groups
grids     grids, zips and unions of configs · describe  the same from texts and TOML files
plan      a group's width and lengths, measured once · lanes  how runs share the devices
group     one group to completion · manifest  what it is, written down before its first step
training  its runs in lanes, chunk after chunk · segments  launched in lanes, one ahead of the next chunk
walk      its saved steps in order, and where runs end
growth    a sweep that was begun gets more runs and points
starts    runs that start where runs of another sweep ended
progress  bars of a sweep that Python trains
memory    a lane's bytes on the device, estimated · sizes  whether a run can be trained and saved
ahead     programs compiled for devices that are not there, and what they would take"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
