"""The shard and verify commands: TFRecord shards and their metadata."""
