"""The order in which the clips of a family are processed: first the clip that provides boxes.

Bookkeeping without I/O: reports which clips can run now, and records their results.
"""

from collections import deque

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.extraction.clip import Boxes, ClipResult


class FamilyQueue:
    """The clips of one family and their results.

    Without shared boxes, all clips can run at once. With them, one clip runs at a time until
    one of them yields boxes with a face; the rest then run with these boxes.
    """

    def __init__(self, family: Family, share_boxes: bool) -> None:
        self.family = family
        self.results: dict[Clip, ClipResult] = {}
        self._waiting = deque(family.clips)
        self._share = share_boxes
        self._running = 0
        self._boxes: Boxes | None = None

    @property
    def done(self) -> bool:
        """Whether every clip has its result."""
        return len(self.results) == len(self.family.clips)

    def next_clip(self) -> tuple[Clip, Boxes | None] | None:
        """The next clip that can run now and the boxes to try; None if no clip can run."""
        needs_boxes = self._share and not self._has_faces
        if not self._waiting or (needs_boxes and self._running):
            return None
        self._running += 1
        return self._waiting.popleft(), self._boxes

    def record_result(self, clip: Clip, result: ClipResult) -> None:
        """Store the result of a clip, and its boxes if the family has none yet."""
        self._running -= 1
        self.results[clip] = result
        if not self._share or self._has_faces or not result.boxes:
            return
        # Boxes without a face still fix which frames of the other clips are sampled.
        if self._boxes is None or any(result.boxes.faces):
            self._boxes = result.boxes

    @property
    def _has_faces(self) -> bool:
        return self._boxes is not None and any(self._boxes.faces)
