from . import (
    claim as claim,
    code as code,
    counts as counts,
    frozen as frozen,
    intervals as intervals,
    kinds as kinds,
    outcome as outcome,
    page as page,
    regression as regression,
    scales as scales,
    table as table,
)
from .claim import (
    EXACT as EXACT,
    Claim as Claim,
    Fidelity as Fidelity,
    Source as Source,
    analogue as analogue,
    scaled as scaled,
)
from .kinds import (
    Cells as Cells,
    Direction as Direction,
    Excess as Excess,
    Existence as Existence,
    Identity as Identity,
    Kind as Kind,
    Law as Law,
    Median as Median,
    Number as Number,
    Proportion as Proportion,
    Ratio as Ratio,
    Within as Within,
)
from .counts import VERDICTS as VERDICTS
from .outcome import Outcome as Outcome
