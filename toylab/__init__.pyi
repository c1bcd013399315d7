from . import (
    analysis as analysis,
)
from . import (
    base as base,
)
from . import (
    configs as configs,
)
from . import (
    importers as importers,
)
from . import (
    lab as lab,
)
from . import (
    launch as launch,
)
from . import (
    losses as losses,
)
from . import (
    models as models,
)
from . import (
    optim as optim,
)
from . import (
    plots as plots,
)
from . import (
    protocol as protocol,
)
from . import (
    records as records,
)
from . import (
    shapes as shapes,
)
from . import (
    store as store,
)
from . import (
    sweep as sweep,
)
from . import (
    tasks as tasks,
)
from . import (
    train as train,
)
from .base import Config as Config
from .base import Run as Run
from .base import State as State
from .base import Trajectory as Trajectory
from .configs import check as check
from .models import Net as Net
from .sweep import Spec as Spec
from .sweep import load as load
from .sweep import log_then_linear as log_then_linear
from .sweep import run as run
from .train import advance as advance
from .train import init as init
from .train import step as step

__version__: str
