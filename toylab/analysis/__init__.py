"""Analyses of weights: array functions, and analyzers that `analyze` maps over every run and saved point.

    modular        addition modulo p: Fourier circuits, progress measures, clock and pizza
    groups         composition in finite groups: irreps, cosets
    superposition  features in few dimensions: geometry, polytopes, theory, dictionaries
    attention      heads, circuits, edges, interventions, beliefs
    representation, norms, transitions, probes, llc   what serves them all

Every file holds array functions (arrays in, arrays out) and, at its end, analyzers that adapt them to `(params, run)`.
Modules of the families are here by their short names, too: `from toylab.analysis import fourier, geometry, circuits`."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
