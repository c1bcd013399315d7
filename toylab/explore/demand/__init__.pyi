from . import (
    analyzers as analyzers,
    computing as computing,
    found as found,
    kept as kept,
    on_demand as on_demand,
)
