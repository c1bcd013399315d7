from . import (
    analytic as analytic,
    circles as circles,
    circuits as circuits,
    fourier as fourier,
    inputs as inputs,
    measures as measures,
    networks as networks,
    planes as planes,
    progress as progress,
    report as report,
)
from .circuits import (
    circle_fve as circle_fve,
    circularity as circularity,
    distance_irrelevance as distance_irrelevance,
    gradient_symmetricity as gradient_symmetricity,
)
from .report import CircuitReport as CircuitReport, circuit_report as circuit_report
