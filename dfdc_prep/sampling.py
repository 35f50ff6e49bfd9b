"""Which frames of a clip are taken. Pure: a timeline in, positions out."""

from collections.abc import Sequence
from itertools import pairwise

EVEN, FIRST, KEYFRAMES = "even", "first", "keyframes"
SAMPLINGS = (EVEN, FIRST, KEYFRAMES)

#: `keyframes` takes every fourth frame after a keyframe: a little further on than a
#: neighbour, and still within the few frames that decode in no time.
KEYFRAME_STRIDE = 4


def choose(sampling: str, wanted: int, count: int, keyframes: Sequence[int]) -> list[int]:
    """Positions in presentation order, ascending, at most `wanted` and at most `count`.

    Args:
        sampling: `even`, `first` or `keyframes`.
        wanted: how many frames, at least 1.
        count: frames in the clip.
        keyframes: positions a decoder can start at, ascending; may be empty.
    """
    if wanted >= count:
        return list(range(count))
    if sampling == FIRST:
        return list(range(wanted))
    if sampling == KEYFRAMES and keyframes:
        return _after_keyframes(wanted, count, keyframes)
    return _even(wanted, count, keyframes)


def _even(wanted: int, count: int, keyframes: Sequence[int]) -> list[int]:
    """The inner ones of `wanted` + 2 evenly spaced positions: no fade-in, no last frame.

    A single frame is the keyframe nearest the middle: it decodes alone, where the middle
    itself would cost half the clip.
    """
    if wanted == 1 and keyframes:
        return [min(keyframes, key=lambda k: (abs(2 * k - count), k))]
    return [round((i + 1) * count / (wanted + 1)) for i in range(wanted)]


def _after_keyframes(wanted: int, count: int, keyframes: Sequence[int]) -> list[int]:
    """Spread over keyframes and what shortly follows each, in equal shares.

    With fewer frames wanted than there are keyframes, evenly chosen keyframes.
    """
    if wanted <= len(keyframes):
        return [keyframes[i * len(keyframes) // wanted] for i in range(wanted)]
    # Frames before the first keyframe, where there are any, decode from the clip's start.
    borders = sorted({0, *keyframes, count})
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
