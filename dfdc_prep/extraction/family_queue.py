"""The order of work in a family: first the clip that shows where the faces are, then the rest.

Pure bookkeeping: it says which clips can run now, and takes their results.
"""

from collections import deque

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.extraction.clip import Boxes, ClipResult


class FamilyWork:
    """One family on its way through the workers.

    Without shared boxes all clips are free at once. With them one clip at a time runs
    until one has yielded boxes; all others then follow with these.
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
        """The next clip that can run now, with the boxes to try; None where none can."""
        scouting = self._share and not self._found
        if not self._waiting or (scouting and self._running):
            return None
        self._running += 1
        return self._waiting.popleft(), self._boxes

    def take(self, clip: Clip, result: ClipResult) -> None:
        """Note a clip's result."""
        self._running -= 1
        self.results[clip] = result
        if not self._share or self._found or not result.boxes:
            return
        # Boxes without a face still say which frames the relatives are looked at.
        if self._boxes is None or any(result.boxes.faces):
            self._boxes = result.boxes

    @property
    def _found(self) -> bool:
        return self._boxes is not None and any(self._boxes.faces)
