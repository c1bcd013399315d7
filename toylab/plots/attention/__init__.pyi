from . import (
    beliefs as beliefs,
    circuit_graph as circuit_graph,
    composition as composition,
    discovery as discovery,
    diversity as diversity,
    order as order,
    patterns as patterns,
    simplex as simplex,
    stages as stages,
    subcircuits as subcircuits,
    trends as trends,
    turns as turns,
)
