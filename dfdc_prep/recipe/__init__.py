"""Recipes of data sets: what rebuilds the same crops from another copy of the clips."""
