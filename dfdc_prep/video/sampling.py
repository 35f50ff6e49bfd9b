"""Chooses the frames to extract from a clip, given its timeline."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from dfdc_prep.video.timeline import Timeline

EVEN, EXACT, FIRST, KEYFRAMES = "even", "exact", "first", "keyframes"
SAMPLINGS = (EVEN, EXACT, FIRST, KEYFRAMES)

#: `keyframes` takes every fourth frame after a keyframe, if possible: adjacent frames are nearly
#: identical, and frames far from the keyframe are slow to decode.
KEYFRAME_STRIDE = 4


def choose_frames(sampling: str, wanted: int, clip: Timeline) -> list[int]:
    """Return the ascending positions, in presentation order, of the frames to extract.

    Args:
        sampling: one of `SAMPLINGS`. `even` takes evenly spaced frames, each moved to a nearby
            frame that is faster to decode; `exact` does not move them. With `keyframes`, clips
            without keyframes fall back to `even`.
        wanted: number of frames, at least 1; a shorter clip yields all of its frames.
        clip: timeline of the clip.
    """
    if wanted >= clip.count:
        return list(range(clip.count))
    if sampling == FIRST:
        return list(range(wanted))
    if sampling == KEYFRAMES and clip.keyframes:
        return _near_keyframes(wanted, clip)
    return _even(wanted, Timeline(clip.count) if sampling == EXACT else clip)


def common_length(wanted: int, count: int, others: Sequence[int | None]) -> int:
    """Return how many frames, from the first, a clip and those that share its frames all have.

    A clip that is less than half as long, or too short for the frames wanted, does not count: it
    would take the frames of all the others from its few. Its frames are its own.

    Args:
        wanted: number of frames.
        count: length of the clip, frames.
        others: lengths of the other clips; None where it is not known.
    """
    return min([count, *(n for n in others if n is not None and n >= max(wanted, count / 2))])


def _even(wanted: int, clip: Timeline) -> list[int]:
    """Return evenly spaced positions without the first and last frame of the clip.

    A keyframe within half a step replaces a position, because it can be decoded alone, whereas
    any other frame requires decoding everything since the previous keyframe. Otherwise the
    nearest reference frame within half a step replaces it, usually an adjacent frame, because
    reference frames must be decoded anyway.
    """
    if wanted == 1 and clip.keyframes:  # the keyframe nearest the middle, at any distance
        return [min(clip.keyframes, key=lambda k: (abs(2 * k - clip.count), k))]
    step = clip.count / (wanted + 1)
    chosen = []
    for position in (step * (i + 1) for i in range(wanted)):
        near = _nearest(clip.keyframes, position), _nearest(clip.references, position)
        close = [index for index in near if index is not None and abs(index - position) < step / 2]
        chosen.append(close[0] if close else round(position))
    return chosen


def _nearest(indices: Sequence[int], position: float) -> int | None:
    """Return the nearest of the ascending indices, the earlier one of two; None if empty."""
    place = bisect_left(indices, position)
    return min(
        indices[max(0, place - 1) : place + 1], key=lambda i: abs(i - position), default=None
    )


def _near_keyframes(wanted: int, clip: Timeline) -> list[int]:
    """Return keyframes and frames shortly after them, distributed evenly over the keyframes.

    If fewer frames are wanted than there are keyframes, return evenly spaced keyframes.
    """
    if wanted <= len(clip.keyframes):
        return [clip.keyframes[i * len(clip.keyframes) // wanted] for i in range(wanted)]
    # Frames before the first keyframe, if any, are decoded from the start of the clip.
    borders = sorted({0, *clip.keyframes, clip.count})
    segments = [range(start, end) for start, end in pairwise(borders)]
    longest = max(len(segment) for segment in segments)
    chosen: set[int] = set()
    # Reduce the stride only if the segments are too short for the wider one.
    for stride in range(KEYFRAME_STRIDE, 0, -1):
        for offset in range(0, longest, stride):
            for segment in segments:
                if offset < len(segment) and len(chosen) < wanted:
                    chosen.add(segment[offset])
    return sorted(chosen)
