"""The order in which the clips of a family are processed."""

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.detectors import Face
from dfdc_prep.extraction.clip import Boxes, ClipResult
from dfdc_prep.extraction.family_queue import FamilyWork

CLIPS = tuple(
    Clip("p", f"{n}.mp4", "FAKE" if n else "REAL", None, "0.mp4", str(n), f"{n}.mp4", 1)
    for n in range(3)
)
FACELESS = Boxes("original", 64, 64, (3, 5), ((), ()))
BOXES = Boxes("sibling", 64, 64, (3, 5), ((Face(1, 1, 9, 9, 1.0),), ()))


def work(share: bool = True) -> FamilyWork:
    return FamilyWork(Family("0.mp4", CLIPS), share)


def test_other_clips_wait_for_the_original() -> None:
    family = work()
    assert family.next_clip() == (CLIPS[0], None)
    assert family.next_clip() is None
    family.take(CLIPS[0], ClipResult("ok", boxes=BOXES))
    assert family.next_clip() == (CLIPS[1], BOXES)
    assert family.next_clip() == (CLIPS[2], BOXES)
    assert family.next_clip() is None


def test_after_a_failed_original_the_next_clip_is_detected() -> None:
    family = work()
    family.next_clip()
    family.take(CLIPS[0], ClipResult("crashed"))
    assert family.next_clip() == (CLIPS[1], None)
    assert family.next_clip() is None


def test_frames_without_a_face_are_passed_on_until_a_face_is_found() -> None:
    family = work()
    family.next_clip()
    family.take(CLIPS[0], ClipResult("no_face", boxes=FACELESS))
    assert family.next_clip() == (CLIPS[1], FACELESS)
    family.take(CLIPS[1], ClipResult("ok", boxes=BOXES))
    assert family.next_clip() == (CLIPS[2], BOXES)
    family.take(CLIPS[2], ClipResult("ok"))
    assert family.done


def test_without_shared_boxes_all_clips_run_at_once() -> None:
    family = work(share=False)
    assert [family.next_clip() for _ in range(4)] == [(clip, None) for clip in CLIPS] + [None]
