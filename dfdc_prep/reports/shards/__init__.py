"""The page of a shards folder."""
