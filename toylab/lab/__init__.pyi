from . import (
    events as events,
)
from . import (
    job as job,
)
from . import (
    measuring as measuring,
)
from . import (
    page as page,
)
from . import (
    preview as preview,
)
from . import (
    rehearsal as rehearsal,
)
from . import (
    stages as stages,
)
from . import (
    stated as stated,
)
from . import (
    watch as watch,
)
from .page import (
    PER_RUN as PER_RUN,
)
from .page import (
    Arrays as Arrays,
)
from .page import (
    Claim as Claim,
)
from .page import (
    Imported as Imported,
)
from .page import (
    Measures as Measures,
)
from .page import (
    NoMeasure as NoMeasure,
)
from .page import (
    Page as Page,
)
from .page import (
    Part as Part,
)
from .page import (
    Scale as Scale,
)
from .page import (
    cell as cell,
)
from .page import (
    claims_table as claims_table,
)
from .page import (
    name_of as name_of,
)
from .page import (
    near as near,
)
from .page import (
    parts as parts,
)
from .page import (
    present as present,
)
from .page import (
    sentence as sentence,
)
from .page import (
    summary as summary,
)
from .page import (
    values_text as values_text,
)
