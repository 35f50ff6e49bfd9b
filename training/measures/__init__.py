"""Measures of scores, with their intervals: per image and per clip, of one model or of two."""
