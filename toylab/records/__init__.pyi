from . import (
    binding as binding,
)
from . import (
    history as history,
)
from . import (
    labelled as labelled,
)
from . import (
    manifest as manifest,
)
from . import (
    notes as notes,
)
from . import (
    reader as reader,
)
from . import (
    rebuilt as rebuilt,
)
from . import (
    selection as selection,
)
from . import (
    source as source,
)
from . import (
    status as status,
)
from . import (
    table as table,
)
from .reader import Sweep as Sweep
from .reader import folders as folders
from .reader import has_run as has_run
from .reader import load as load
from .reader import params_at as params_at
from .rebuilt import config_of as config_of
from .source import Group as Group
from .table import write_table as write_table
