"""toylab: the training dynamics of toy models. A map of the package; the README has the one of the project.

base        the types: Config, State, Trajectory, Run; the protocols Task, Network, Optimizer; axis letters
train       init, step, advance: the whole dynamics on one page
losses      cross-entropy that keeps its precision where grokking lives · optim  AdamW, Adam, SGD as pytrees
tasks       one family of data a file · models  `Net`: any nnx.Module as a pure pair init/apply
configs     a config checked, overridden by path, hashed, compared, stacked · protocol  what its parts must be
grids       grids, zips and unions of configs · describe  the same from texts and TOML files · job  what is asked, checked
preview     what a sweep takes, told before anything is compiled · memory  a lane's bytes on the device, estimated
sizes       whether a run can be trained and saved, found on shapes alone
cayley      the tables of finite groups
importers   weights from elsewhere, by named layouts → (net, params)
sweep       configs → groups → store · group  one group to completion · lanes  how runs share the devices
plan        a group's width, beats and chunks, measured once · manifest  what it is, written down · history  what it saved
binding     what ties a chunk to its group
records     a sweep read back: source  its groups · selection  by columns · table  in one table
status      how far a sweep is · told  what small files tell
cluster     the same groups on many machines, by Ray · processes  by processes that share a folder, jax.distributed
launchers   which of these trains a sweep · watch  display, signals, log · events  TensorBoard
shapes      array functions that refuse, in a sentence, what does not fit · annotations  what they say, read
indices     tokens and labels that no table has: refused, or nan
store       chunks, manifests, tables and locks on disk · durable  files and folders that a power cut does not undo
analysis    array functions, and analyzers mapped over runs and saved points by `analyze`
lab         what a lab page is: parts, measures, claims · stages  its three stages: train, analyze, draw
plots       arrays → figures and animations"""

import os.path as _path

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

_clone = _path.dirname(_path.dirname(_path.abspath(__file__)))
if all(_path.isfile(_path.join(_clone, *name)) for name in (("pyproject.toml",), ("experiments", "__init__.py"))):
    __path__.append(_clone)  # its folder experiments is toylab.experiments, as in the wheel
