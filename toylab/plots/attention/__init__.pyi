from . import (
    beliefs as beliefs,
)
from . import (
    circuit_graph as circuit_graph,
)
from . import (
    composition as composition,
)
from . import (
    discovery as discovery,
)
from . import (
    diversity as diversity,
)
from . import (
    order as order,
)
from . import (
    patterns as patterns,
)
from . import (
    simplex as simplex,
)
from . import (
    stages as stages,
)
from . import (
    subcircuits as subcircuits,
)
from . import (
    trends as trends,
)
from . import (
    turns as turns,
)
