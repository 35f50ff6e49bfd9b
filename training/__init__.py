"""Training, evaluation and prediction of the classifier, with Keras 3."""

import os

# Hide TensorFlow's log messages below warnings; read when TensorFlow is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# ONNX Runtime reports its use to its makers unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
