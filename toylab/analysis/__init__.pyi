from . import (
    attention as attention,
    eigenvalues as eigenvalues,
    groups as groups,
    llc as llc,
    minibatch_noise as minibatch_noise,
    modular as modular,
    norms as norms,
    numbers as numbers,
    over_cells as over_cells,
    over_runs as over_runs,
    probes as probes,
    representation as representation,
    superposition as superposition,
    transitions as transitions,
)
from .attention import (
    beliefs as beliefs,
    circuit_search as circuit_search,
    circuits as circuits,
    discovery as discovery,
    edges as edges,
    heads as heads,
    induction as induction,
    interventions as interventions,
    nested_logits as nested_logits,
    pairs as pairs,
    paths as paths,
    scrubbing as scrubbing,
    subcircuits as subcircuits,
    token_losses as token_losses,
)
from .groups import cosets as cosets, irreps as irreps
from .modular import analytic as analytic, circles as circles, fourier as fourier, progress as progress
from .over_runs import analyze as analyze, together as together
from .superposition import (
    dictionary as dictionary,
    formation as formation,
    geometry as geometry,
    neurons as neurons,
    overlap as overlap,
    phases as phases,
    polysemanticity as polysemanticity,
    polytopes as polytopes,
    population as population,
    sets as sets,
    theory as theory,
)
