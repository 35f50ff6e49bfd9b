"""The sample command: a small DFDC-shaped data set built from portraits."""
