"""Hidden Markov tasks: beliefs on the simplex."""
