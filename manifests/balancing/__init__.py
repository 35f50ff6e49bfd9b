"""Choosing equal numbers of REAL and FAKE rows."""
