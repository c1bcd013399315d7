from . import (
    arrows as arrows,
)
from . import (
    attention as attention,
)
from . import (
    cells as cells,
)
from . import (
    curves as curves,
)
from . import (
    groups as groups,
)
from . import (
    labels as labels,
)
from . import (
    modular as modular,
)
from . import (
    motion as motion,
)
from . import (
    palette as palette,
)
from . import (
    phase as phase,
)
from . import (
    pictured as pictured,
)
from . import (
    style as style,
)
from . import (
    superposition as superposition,
)
from .attention import (
    beliefs as beliefs,
)
from .attention import (
    circuit_graph as circuit_graph,
)
from .attention import (
    composition as composition,
)
from .attention import (
    discovery as discovery,
)
from .attention import (
    diversity as diversity,
)
from .attention import (
    order as order,
)
from .attention import (
    patterns as patterns,
)
from .attention import (
    simplex as simplex,
)
from .attention import (
    stages as stages,
)
from .attention import (
    subcircuits as subcircuits,
)
from .attention import (
    trends as trends,
)
from .attention import (
    turns as turns,
)
from .groups import irreps as irreps
from .modular import circles as circles
from .modular import delays as delays
from .modular import published as published
from .modular import rates as rates
from .modular import spectra as spectra
from .superposition import (
    branches as branches,
)
from .superposition import (
    collapse as collapse,
)
from .superposition import (
    dictionary as dictionary,
)
from .superposition import (
    dimensionality as dimensionality,
)
from .superposition import (
    extra_feature as extra_feature,
)
from .superposition import (
    geometry as geometry,
)
from .superposition import (
    neurons as neurons,
)
from .superposition import (
    polysemanticity as polysemanticity,
)
from .superposition import (
    robustness as robustness,
)
from .superposition import (
    samples as samples,
)
from .superposition import (
    scaling as scaling,
)
from .superposition import (
    theory as theory,
)
