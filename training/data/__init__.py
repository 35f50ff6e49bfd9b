"""Shards in, batches of augmented crops out."""
