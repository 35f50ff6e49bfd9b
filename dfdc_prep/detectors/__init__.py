"""Face detectors: they take a picture and return boxes in its pixels; see `registry`."""
