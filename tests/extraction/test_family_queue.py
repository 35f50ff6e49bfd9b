"""The order in which the clips of a family are processed."""

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.detectors.base import Face
from dfdc_prep.extraction.clip import Boxes, ClipResult, Relatives
from dfdc_prep.extraction.schedule import FamilyQueue

CLIPS = tuple(
    Clip("p", f"{n}.mp4", "FAKE" if n else "REAL", None, "0.mp4", str(n), f"{n}.mp4", 1)
    for n in range(3)
)
FACELESS = Boxes("original", 64, 64, (3, 5), ((), ()))
BOXES = Boxes("sibling", 64, 64, (3, 5), ((Face(1, 1, 9, 9, 1.0),), ()))


def make_queue(share: bool = True, compare: bool = False) -> FamilyQueue:
    return FamilyQueue(Family("0.mp4", CLIPS), share, compare)


def test_the_relatives_wait_for_the_original() -> None:
    queue = make_queue()
    assert queue.next_clip() == (CLIPS[0], Relatives(others=CLIPS[1:]))
    assert queue.next_clip() is None
    queue.record_result(CLIPS[0], ClipResult("ok", boxes=BOXES))
    assert queue.next_clip() == (CLIPS[1], Relatives(BOXES))
    assert queue.next_clip() == (CLIPS[2], Relatives(BOXES))
    assert queue.next_clip() is None


def test_after_a_failed_original_the_next_clip_runs_alone() -> None:
    queue = make_queue()
    queue.next_clip()
    queue.record_result(CLIPS[0], ClipResult("crashed"))
    assert queue.next_clip() == (CLIPS[1], Relatives(others=CLIPS[2:]))
    assert queue.next_clip() is None


def test_frames_without_a_face_are_passed_on_until_a_face_is_found() -> None:
    queue = make_queue()
    queue.next_clip()
    queue.record_result(CLIPS[0], ClipResult("no_face", boxes=FACELESS))
    assert queue.next_clip() == (CLIPS[1], Relatives(FACELESS))
    queue.record_result(CLIPS[1], ClipResult("ok", boxes=BOXES))
    assert queue.next_clip() == (CLIPS[2], Relatives(BOXES))
    queue.record_result(CLIPS[2], ClipResult("ok"))
    assert queue.done


def test_without_sharing_all_run_at_once() -> None:
    queue = make_queue(share=False)
    assert [queue.next_clip() for _ in range(4)] == [
        *((clip, Relatives()) for clip in CLIPS),
        None,
    ]


def test_compared_fakes_wait_for_their_original_and_know_it() -> None:
    queue = make_queue(share=False, compare=True)
    assert queue.next_clip() == (CLIPS[0], Relatives())
    assert queue.next_clip() is None
    queue.record_result(CLIPS[0], ClipResult("no_face"))
    assert queue.next_clip() == (CLIPS[1], Relatives(original=CLIPS[0]))
    assert queue.next_clip() == (CLIPS[2], Relatives(original=CLIPS[0]))


def test_an_original_that_does_not_decode_is_not_compared() -> None:
    queue = make_queue(compare=True)
    queue.next_clip()
    queue.record_result(CLIPS[0], ClipResult("timeout"))
    assert queue.next_clip() == (CLIPS[1], Relatives(others=CLIPS[2:]))
