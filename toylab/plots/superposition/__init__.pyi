from . import (
    branches as branches,
    collapse as collapse,
    dictionary as dictionary,
    dimensionality as dimensionality,
    extra_feature as extra_feature,
    geometry as geometry,
    neurons as neurons,
    polysemanticity as polysemanticity,
    robustness as robustness,
    samples as samples,
    scaling as scaling,
    theory as theory,
)
