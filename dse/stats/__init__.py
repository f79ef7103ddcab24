"""Fronts, intervals and comparisons: mathematics that knows nothing of networks."""
