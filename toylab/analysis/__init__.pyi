from . import (
    attention as attention,
)
from . import (
    eigenvalues as eigenvalues,
)
from . import (
    groups as groups,
)
from . import (
    llc as llc,
)
from . import (
    minibatch_noise as minibatch_noise,
)
from . import (
    modular as modular,
)
from . import (
    norms as norms,
)
from . import (
    numbers as numbers,
)
from . import (
    over_cells as over_cells,
)
from . import (
    over_runs as over_runs,
)
from . import (
    probes as probes,
)
from . import (
    representation as representation,
)
from . import (
    superposition as superposition,
)
from . import (
    transitions as transitions,
)
from .attention import (
    beliefs as beliefs,
)
from .attention import (
    circuit_search as circuit_search,
)
from .attention import (
    circuits as circuits,
)
from .attention import (
    discovery as discovery,
)
from .attention import (
    edges as edges,
)
from .attention import (
    heads as heads,
)
from .attention import (
    induction as induction,
)
from .attention import (
    interventions as interventions,
)
from .attention import (
    nested_logits as nested_logits,
)
from .attention import (
    pairs as pairs,
)
from .attention import (
    paths as paths,
)
from .attention import (
    scrubbing as scrubbing,
)
from .attention import (
    subcircuits as subcircuits,
)
from .attention import (
    token_losses as token_losses,
)
from .groups import cosets as cosets
from .groups import irreps as irreps
from .modular import analytic as analytic
from .modular import circles as circles
from .modular import fourier as fourier
from .modular import progress as progress
from .over_runs import analyze as analyze
from .over_runs import together as together
from .superposition import (
    dictionary as dictionary,
)
from .superposition import (
    formation as formation,
)
from .superposition import (
    geometry as geometry,
)
from .superposition import (
    neurons as neurons,
)
from .superposition import (
    overlap as overlap,
)
from .superposition import (
    polysemanticity as polysemanticity,
)
from .superposition import (
    polytopes as polytopes,
)
from .superposition import (
    population as population,
)
from .superposition import (
    theory as theory,
)
