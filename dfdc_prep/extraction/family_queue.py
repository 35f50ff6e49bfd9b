"""The order in which the clips of a family are processed: first the clip that provides boxes.

Bookkeeping without I/O: reports which clips can run now, and records their results.
"""

from collections import deque

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.extraction.clip import Boxes, ClipResult, Relatives
from manifests.labels import FAKE, REAL

#: Statuses of an original that decodes, at least in part.
_DECODES = ("ok", "no_face", "truncated")


class FamilyQueue:
    """The clips of one family and their results.

    With shared boxes, one clip runs at a time until one of them yields boxes with a face; the
    rest then run with these boxes. If fakes are compared with their original, they wait until it
    is done. Otherwise, all clips can run at once.
    """

    def __init__(self, family: Family, share_boxes: bool, compare: bool) -> None:
        self.family = family
        self.results: dict[Clip, ClipResult] = {}
        self._waiting = deque(family.clips)
        self._share = share_boxes
        self._compare = compare
        self._running = 0
        self._boxes: Boxes | None = None

    @property
    def done(self) -> bool:
        """Whether every clip has its result."""
        return len(self.results) == len(self.family.clips)

    def next_clip(self) -> tuple[Clip, Relatives] | None:
        """The next clip that can run now and what it needs to know; None if no clip can run."""
        if not self._waiting:
            return None
        needs_boxes = self._share and not self._has_faces
        if self._running and (needs_boxes or self._needs_original(self._waiting[0])):
            return None
        self._running += 1
        clip = self._waiting.popleft()
        return clip, Relatives(self._boxes, self._original_of(clip), self._sharing())

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

    def _sharing(self) -> tuple[Clip, ...]:
        """The clips on disk that will be cropped at the frames of the clip that runs now."""
        if not self._share or self._boxes is not None:
            return ()
        return tuple(clip for clip in self._waiting if clip.size is not None)

    def _needs_original(self, clip: Clip) -> bool:
        """Whether a fake must wait, because an original of the family is not done."""
        if not self._compare or clip.label != FAKE:
            return False
        return any(each.label == REAL and each not in self.results for each in self.family.clips)

    def _original_of(self, clip: Clip) -> Clip | None:
        """The original that a fake is compared with, None if there is none that decodes.

        If the clip it was made from is itself a fake, that is the family's original.
        """
        if not self._compare or clip.label != FAKE:
            return None
        decoded = [
            each
            for each, result in self.results.items()
            if each.label == REAL and result.status in _DECODES
        ]
        for name in (clip.original, self.family.name):
            named = [each for each in decoded if each.video == name]
            if named:
                return min(named, key=lambda each: (each.part != clip.part, each))
        return None
