"""The sample command: a small data set in the DFDC layout, generated from two portraits."""
