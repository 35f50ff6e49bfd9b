"""From shards to a trained, honestly tested classifier. Keras 3."""

import os

# TensorFlow's own chatter below warnings; read when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
