from . import (
    analysis as analysis,
    base as base,
    checking as checking,
    claims as claims,
    classes as classes,
    cli as cli,
    configs as configs,
    display as display,
    explore as explore,
    fields as fields,
    importers as importers,
    lab as lab,
    launch as launch,
    losses as losses,
    meanings as meanings,
    models as models,
    numerics as numerics,
    optim as optim,
    platforms as platforms,
    plots as plots,
    protocol as protocol,
    record as record,
    records as records,
    shapes as shapes,
    store as store,
    sweep as sweep,
    tasks as tasks,
    train as train,
)
from .base import Config as Config, Run as Run, State as State, Trajectory as Trajectory
from .configs import check as check
from .models import Net as Net
from .sweep import Spec as Spec, load as load, log_then_linear as log_then_linear, run as run
from .train import advance as advance, init as init, step as step

__version__: str
