"""Code that runs in a worker process: its setup, its state, and the call for each clip."""

from dataclasses import dataclass
from pathlib import Path

import cv2

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors import Detector, DetectorChoice, make_detector
from dfdc_prep.extraction.clip import ClipResult, CropOptions, Relatives, extract_clip


@dataclass(frozen=True)
class WorkerState:
    """What a worker process keeps between clips."""

    out: Path
    options: CropOptions
    detector: Detector


_state: WorkerState | None = None


def init_worker(out: Path, options: CropOptions, choice: DetectorChoice) -> None:
    """Set up a worker process: one OpenCV thread, one detector."""
    global _state
    cv2.setNumThreads(1)
    _state = WorkerState(out, options, make_detector(choice))


def extract_in_worker(clip: Clip, relatives: Relatives) -> ClipResult:
    """Extract one clip with this worker's detector; see `extract_clip`."""
    assert _state is not None, "init_worker was not called"
    return extract_clip(clip, _state.out, _state.options, _state.detector, relatives)
