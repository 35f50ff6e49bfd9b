"""Estimates who is filmed: encodes faces of the REAL clips, groups them, shows weak evidence."""
