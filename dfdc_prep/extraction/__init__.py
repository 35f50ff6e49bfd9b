"""The extract command: clips in, crops and tables out."""
