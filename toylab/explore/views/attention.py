"""Attention: patterns, circuits, scores of heads."""
