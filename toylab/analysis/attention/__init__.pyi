from . import (
    beliefs as beliefs,
)
from . import (
    circuit_search as circuit_search,
)
from . import (
    circuits as circuits,
)
from . import (
    discovery as discovery,
)
from . import (
    edges as edges,
)
from . import (
    heads as heads,
)
from . import (
    induction as induction,
)
from . import (
    interventions as interventions,
)
from . import (
    nested_logits as nested_logits,
)
from . import (
    pairs as pairs,
)
from . import (
    paths as paths,
)
from . import (
    scrubbing as scrubbing,
)
from . import (
    subcircuits as subcircuits,
)
from . import (
    token_losses as token_losses,
)
