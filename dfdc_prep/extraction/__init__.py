"""The extract command: from clips to face crops and tables."""
