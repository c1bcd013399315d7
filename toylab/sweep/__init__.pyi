from . import (
    describe as describe,
)
from . import (
    grids as grids,
)
from . import (
    group as group,
)
from . import (
    grouping as grouping,
)
from . import (
    lanes as lanes,
)
from . import (
    manifest as manifest,
)
from . import (
    memory as memory,
)
from . import (
    plan as plan,
)
from . import (
    runner as runner,
)
from . import (
    sizes as sizes,
)
from .grids import chain as chain
from .grids import grid as grid
from .grids import zipped as zipped
from .grouping import (
    MAX_RUNS as MAX_RUNS,
)
from .runner import (
    FAILED as FAILED,
)
from .runner import (
    SWEEP as SWEEP,
)
from .runner import (
    Failed as Failed,
)
from .runner import (
    Group as Group,
)
from .runner import (
    Interrupted as Interrupted,
)
from .runner import (
    Plan as Plan,
)
from .runner import (
    Progress as Progress,
)
from .runner import (
    Spec as Spec,
)
from .runner import (
    Sweep as Sweep,
)
from .runner import (
    begin as begin,
)
from .runner import (
    bytes_needed as bytes_needed,
)
from .runner import (
    compiled as compiled,
)
from .runner import (
    environment as environment,
)
from .runner import (
    folders as folders,
)
from .runner import (
    groups as groups,
)
from .runner import (
    groups_in as groups_in,
)
from .runner import (
    has_run as has_run,
)
from .runner import (
    load as load,
)
from .runner import (
    log_then_linear as log_then_linear,
)
from .runner import (
    params_at as params_at,
)
from .runner import (
    raise_failures as raise_failures,
)
from .runner import (
    record_failure as record_failure,
)
from .runner import (
    run as run,
)
from .runner import (
    run_group as run_group,
)
from .runner import (
    run_name as run_name,
)
from .runner import (
    same_sweep as same_sweep,
)
from .runner import (
    shapes as shapes,
)
from .runner import (
    write_table as write_table,
)
