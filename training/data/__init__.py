"""Reads shards as batches of augmented crops."""
