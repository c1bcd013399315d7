from . import (
    dictionary as dictionary,
)
from . import (
    formation as formation,
)
from . import (
    geometry as geometry,
)
from . import (
    neurons as neurons,
)
from . import (
    overlap as overlap,
)
from . import (
    polysemanticity as polysemanticity,
)
from . import (
    polytopes as polytopes,
)
from . import (
    population as population,
)
from . import (
    theory as theory,
)
