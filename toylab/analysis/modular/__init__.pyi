from . import (
    analytic as analytic,
)
from . import (
    circles as circles,
)
from . import (
    circuits as circuits,
)
from . import (
    fourier as fourier,
)
from . import (
    inputs as inputs,
)
from . import (
    measures as measures,
)
from . import (
    networks as networks,
)
from . import (
    progress as progress,
)
from . import (
    report as report,
)
from .circuits import (
    circle_fve as circle_fve,
)
from .circuits import (
    circularity as circularity,
)
from .circuits import (
    distance_irrelevance as distance_irrelevance,
)
from .circuits import (
    gradient_symmetricity as gradient_symmetricity,
)
from .report import CircuitReport as CircuitReport
from .report import circuit_report as circuit_report
