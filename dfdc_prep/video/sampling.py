"""Which frames of a clip are taken. Pure: a timeline in, positions out."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from dfdc_prep.video.timeline import Timeline

EVEN, FIRST, KEYFRAMES = "even", "first", "keyframes"
SAMPLINGS = (EVEN, FIRST, KEYFRAMES)

#: `keyframes` takes every fourth frame after a keyframe: a little further on than a
#: neighbour, and still within the few frames that decode in no time.
KEYFRAME_STRIDE = 4


def choose(sampling: str, wanted: int, clip: Timeline, exact: bool = False) -> list[int]:
    """Positions in presentation order, ascending, at most `wanted` and as many as there are.

    Args:
        sampling: `even`, `first` or `keyframes`.
        wanted: how many frames, at least 1.
        exact: take the evenly spaced positions themselves, whatever they cost.
    """
    if wanted >= clip.count:
        return list(range(clip.count))
    if sampling == FIRST:
        return list(range(wanted))
    if sampling == KEYFRAMES and clip.keyframes:
        return _after_keyframes(wanted, clip)
    return _even(wanted, Timeline(clip.count) if exact else clip)


def _even(wanted: int, clip: Timeline) -> list[int]:
    """The inner ones of `wanted` + 2 evenly spaced positions: no fade-in, no last frame.

    A keyframe within half a step takes the place of a position: it decodes alone, where the
    position costs all that lies between it and the keyframe before. Else the nearest frame
    that others refer to takes it, a neighbour as a rule: it is decoded anyway.
    """
    if wanted == 1 and clip.keyframes:  # the one nearest the middle, however far
        return [min(clip.keyframes, key=lambda k: (abs(2 * k - clip.count), k))]
    step = clip.count / (wanted + 1)
    chosen = []
    for position in (step * (i + 1) for i in range(wanted)):
        near = _nearest(clip.keyframes, position), _nearest(clip.references, position)
        close = [index for index in near if index is not None and abs(index - position) < step / 2]
        chosen.append(close[0] if close else round(position))
    return chosen


def _nearest(indices: Sequence[int], position: float) -> int | None:
    """The one of the ascending indices that is nearest; the earlier of two."""
    place = bisect_left(indices, position)
    return min(
        indices[max(0, place - 1) : place + 1], key=lambda i: abs(i - position), default=None
    )


def _after_keyframes(wanted: int, clip: Timeline) -> list[int]:
    """Spread over keyframes and what shortly follows each, in equal shares.

    With fewer frames wanted than there are keyframes, evenly chosen keyframes.
    """
    if wanted <= len(clip.keyframes):
        return [clip.keyframes[i * len(clip.keyframes) // wanted] for i in range(wanted)]
    # Frames before the first keyframe, where there are any, decode from the clip's start.
    borders = sorted({0, *clip.keyframes, clip.count})
    stretches = [range(start, end) for start, end in pairwise(borders)]
    longest = max(len(stretch) for stretch in stretches)
    chosen: set[int] = set()
    # Closer together only where the stretches are too short for wide steps.
    for stride in range(KEYFRAME_STRIDE, 0, -1):
        for offset in range(0, longest, stride):
            for stretch in stretches:
                if offset < len(stretch) and len(chosen) < wanted:
                    chosen.add(stretch[offset])
    return sorted(chosen)
