"""Cutting faces out of frames, and the files they become."""
