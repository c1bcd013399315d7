"""toylab: the training dynamics of toy models. A map of the package; the README has the one of the project.

base, configs      what a run is: Config, State, Trajectory; a config checked, hashed, compared
train, losses, optim   the whole dynamics of one run · protocol  what a task, a network and an optimizer must offer
numerics           numbers that are alike on any machine: precision of products, threads of decompositions
platforms          what a CPU computes in another way than an accelerator
tasks, models      what is trained: one family of data a file; `Net`, any nnx.Module as a pure pair init/apply
sweep              many runs as one program: grids, groups, lanes, plans
record             `Recorder`: a training that runs elsewhere, recorded as a run of the lab
records            what they left: `load` gives a sweep as arrays, a table, a status
launch             where they run: this process, processes that share a folder, Ray, jax.distributed
store              the only code that touches disk: chunks, manifests, locks
lab                what a lab page is (parts, measures, claims), and how it is run
explore            a sweep in the browser: views of runs and weights, live or as one file
cli                the command `toylab` · display  bars on a terminal and in Jupyter
analysis           array functions and analyzers, by families: modular, groups, superposition, attention
plots              arrays → figures and animations, by the same families
importers          weights from elsewhere, by named layouts → (net, params)
shapes             array functions that refuse, in a sentence, what does not fit
"""

import os.path as _path
import typing as _typing

import lazy_loader as _lazy

_lazy_attribute, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

_clone = _path.dirname(_path.dirname(_path.abspath(__file__)))
_in_clone = all(
    _path.isfile(_path.join(_clone, *name)) for name in (("pyproject.toml",), ("experiments", "__init__.py"))
)
if _in_clone:
    __path__.append(_clone)  # its folder experiments is toylab.experiments, as in the wheel


def __getattr__(name: str) -> _typing.Any:
    if name != "__version__":
        return _lazy_attribute(name)
    if _in_clone:
        import tomllib

        with open(_path.join(_clone, "pyproject.toml"), "rb") as file:
            return tomllib.load(file)["project"]["version"]
    import importlib.metadata

    return importlib.metadata.version("toylab")
