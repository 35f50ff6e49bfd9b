"""The tables: schema, files, summary, balance, split, audit. No OpenCV, no TensorFlow."""
