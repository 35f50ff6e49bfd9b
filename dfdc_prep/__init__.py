"""From DFDC clips to face crops to shards."""

__version__ = "0.1.0"
