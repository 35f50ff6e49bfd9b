"""Code that runs in a worker process: its setup, its state, and the call for each clip."""

from dataclasses import dataclass
from pathlib import Path

import cv2

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors.base import Detector
from dfdc_prep.detectors.registry import DetectorChoice, make_detector
from dfdc_prep.extraction.clip import ClipResult, CropOptions, Relatives
from dfdc_prep.extraction.crops_out import CROPS
from dfdc_prep.extraction.transfer import Transfer
from dfdc_prep.parallel.confinement import confine


@dataclass(frozen=True)
class WorkerState:
    """What a worker process keeps between clips."""

    transfer: Transfer
    options: CropOptions
    detector: Detector


_state: WorkerState | None = None


def init_worker(
    transfer: Transfer, options: CropOptions, choice: DetectorChoice, confined: bool = False
) -> None:
    """Set up a worker process: one OpenCV thread, one detector.

    Args:
        confined: let it write crops, and nothing else; see `dfdc_prep.parallel.confinement`.
    """
    global _state
    if confined and isinstance(transfer.out, Path):
        confine([transfer.out / CROPS])
    cv2.setNumThreads(1)
    _state = WorkerState(transfer, options, make_detector(choice))


def extract_in_worker(clip: Clip, relatives: Relatives) -> ClipResult:
    """Extract one clip with what this worker has; see `extract_clip`."""
    assert _state is not None, "init_worker was not called"
    state = _state
    return state.transfer.extract(clip, state.options, state.detector, relatives)
