"""Images that are nearly the same, told by a perceptual hash.

The hash is pHash (imagehash.phash): the signs of the 8x8 lowest frequencies of the picture
against their median, 64 bits. Re-encoding and scaling flip few of them. Of the real DFDC
crops this was tried on, no two of different clips differ in fewer than 10 bits.
"""

import io
import warnings
from collections.abc import Iterator

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.tables.factorize import Codes, Mask

Prints = npt.NDArray[np.uint64]

#: Two images are near-identical where at most this many of the 64 bits differ.
BITS = 4
#: Pixels an image may have at most before it counts as unreadable.
_PIXELS = 50_000_000
#: What Pillow raises for, or warns of, where a header speaks of too many pixels.
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# Every size is checked here, against a smaller bound than the one it warns from.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def fingerprint(data: bytes) -> int | None:
    """The pHash of an encoded image as a number of 64 bits; None where it is no image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _PIXELS:
                return None
            bits = imagehash.phash(image).hash
    except (OSError, SyntaxError, ValueError, *BOMBS):
        return None
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def reach(prints: Prints, seen: Mask) -> Mask:
    """In which splits each image has a near-identical one, bool [images, splits].

    Args:
        prints: uint64 [images], distinct.
        seen: bool [images, splits], in which splits each image stands.
    """
    reached = seen.copy()
    for first, second in near(prints):
        np.logical_or.at(reached, first, seen[second])
        np.logical_or.at(reached, second, seen[first])
    return reached


def near(prints: Prints, bits: int = BITS) -> Iterator[tuple[Codes, Codes]]:
    """All pairs of numbers that differ in at most `bits` bits, as blocks of two index arrays.

    Cut into `bits + 1` bands, two such numbers have at least one band in common, so only
    those that share a band are compared. A pair may come more than once.
    """
    for band in np.array_split(np.arange(64, dtype=np.uint64), bits + 1):
        mask = np.bitwise_or.reduce(np.uint64(1) << band)
        order = np.argsort(prints & mask, kind="stable")
        key, value = (prints & mask)[order], prints[order]
        at, step = np.arange(len(prints)), 1
        while len(at):
            at = at[at + step < len(prints)]
            at = at[key[at] == key[at + step]]
            close = at[np.bitwise_count(value[at] ^ value[at + step]) <= bits]
            if len(close):
                yield order[close], order[close + step]
            step += 1
