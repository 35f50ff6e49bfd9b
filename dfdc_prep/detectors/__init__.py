"""Face detectors behind one protocol: a picture in, boxes in its own pixels out.

A detector looks at a small copy of the picture first and at a larger one only where it
found nothing. To add one: a module with a class that fulfils `Detector`, and a line in
`make_detector`.
"""

from dfdc_prep.detectors.base import Detector, Face
from dfdc_prep.detectors.registry import DETECTORS, DetectorChoice, choose_detector, make_detector

__all__ = [
    "DETECTORS",
    "Detector",
    "DetectorChoice",
    "Face",
    "choose_detector",
    "make_detector",
]
