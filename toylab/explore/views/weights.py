"""Any weights: heat map, norm, spectrum."""
