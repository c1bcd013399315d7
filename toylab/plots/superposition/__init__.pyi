from . import (
    branches as branches,
)
from . import (
    collapse as collapse,
)
from . import (
    dictionary as dictionary,
)
from . import (
    dimensionality as dimensionality,
)
from . import (
    extra_feature as extra_feature,
)
from . import (
    geometry as geometry,
)
from . import (
    neurons as neurons,
)
from . import (
    polysemanticity as polysemanticity,
)
from . import (
    robustness as robustness,
)
from . import (
    samples as samples,
)
from . import (
    scaling as scaling,
)
from . import (
    theory as theory,
)
