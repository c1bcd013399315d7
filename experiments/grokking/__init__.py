"""Pages of networks that grok: modular addition, groups, published models."""
