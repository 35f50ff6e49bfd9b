"""Choosing as many REAL as FAKE rows."""
