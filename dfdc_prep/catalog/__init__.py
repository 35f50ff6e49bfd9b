"""What a data set on disk holds: its clips and their families."""
