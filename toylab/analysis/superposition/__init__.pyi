from . import (
    dictionary as dictionary,
    formation as formation,
    geometry as geometry,
    neurons as neurons,
    overlap as overlap,
    phases as phases,
    polysemanticity as polysemanticity,
    polytopes as polytopes,
    population as population,
    robustness as robustness,
    sets as sets,
    theory as theory,
)
