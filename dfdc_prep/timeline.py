"""Where the frames of a clip lie."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timeline:
    """What a clip's packets tell of its frames, nothing decoded.

    Attributes:
        count: frames the container holds (a damaged clip may decode fewer).
        keyframes: indices in presentation order of the frames a decoder can start at.
        references: indices of the frames that others refer to, which are decoded on the way
            to those; empty where the codec does not tell.
        pts: presentation times in presentation order, in the stream's time base; empty
            where the container keeps none and frames must be counted.
    """

    count: int
    keyframes: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    pts: tuple[int, ...] = ()
