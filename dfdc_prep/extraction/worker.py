"""The worker's side: what a worker process keeps from clip to clip, and the call it runs."""

from dataclasses import dataclass
from pathlib import Path

import cv2

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors import Detector, DetectorChoice, make_detector
from dfdc_prep.extraction.clip import Boxes, ClipResult, CropOptions, extract_clip


@dataclass(frozen=True)
class Bench:
    """What a worker keeps from clip to clip."""

    out: Path
    options: CropOptions
    detector: Detector


_bench: Bench | None = None


def prepare(out: Path, options: CropOptions, choice: DetectorChoice) -> None:
    """Set a worker up: one thread, one detector."""
    global _bench
    cv2.setNumThreads(1)
    _bench = Bench(out, options, make_detector(choice))


def extract_here(clip: Clip, boxes: Boxes | None) -> ClipResult:
    """Extract one clip with this worker's detector; see `extract_clip`."""
    assert _bench is not None, "called outside a worker"
    return extract_clip(clip, _bench.out, _bench.options, _bench.detector, boxes)
