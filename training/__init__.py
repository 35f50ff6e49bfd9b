"""From shards to a trained, honestly tested classifier. Keras 3."""
