"""Face detectors with a common protocol: they take a picture and return boxes in its pixels.

Detectors search a downscaled copy of the picture first, and a larger copy only if they find
nothing. To add a detector, write a class that implements `Detector` and register it in
`DETECTORS` and `make_detector`.
"""

from dfdc_prep.detectors.base import Detector, Face
from dfdc_prep.detectors.registry import (
    DETECTORS,
    DetectorChoice,
    choose_detector,
    find_model,
    make_detector,
)

__all__ = [
    "DETECTORS",
    "Detector",
    "DetectorChoice",
    "Face",
    "choose_detector",
    "find_model",
    "make_detector",
]
