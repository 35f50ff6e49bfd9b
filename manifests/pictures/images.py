"""Opens pictures: the only place of the project that does.

Pillow decides by a file's content, not by its name, and knows some forty formats. For EPS it starts
Ghostscript. Only `FORMATS` are opened, which it decodes in this process, and only up to a number of
pixels, which the header gives before anything is decoded.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from manifests.schemas import MAX_PIXELS

#: The formats that are read, by Pillow's names.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
#: The formats of crops.
CROP_FORMATS = ("PNG", "JPEG")
#: Formats whose further pictures are those of an animation.
ANIMATED = ("GIF", "WEBP", "PNG")
#: What Pillow raises while it reads a damaged file; a lack of memory is no fault of the file.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error),
    zlib.error,
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
#: Modes of grey pictures with 16 bits, which Pillow itself cuts off at 255.
_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N")

# `open_image` checks the size itself, against a limit below the one Pillow warns at.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class BinaryFile(Protocol):
    """What Pillow needs of an open file."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class ImageError(ValueError):
    """A file is no picture in one of the formats (not `is_image`), damaged, or too large."""

    def __init__(self, message: str, is_image: bool = True) -> None:
        super().__init__(message)
        self.is_image = is_image


def open_image(
    source: Path | bytes | BinaryFile,
    formats: tuple[str, ...] = FORMATS,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Open a picture in one of some `FORMATS`, as a context manager; nothing is decoded yet.

    Raises:
        ImageError: it is no such picture, or larger.
        OSError: the file cannot be read.
    """
    assert set(formats) <= set(FORMATS), formats
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    with reading():
        try:
            opened = Image.open(file, formats=formats)
        except UnidentifiedImageError as error:
            raise ImageError(f"no image in {' or '.join(formats)}", is_image=False) from error
    if opened.width * opened.height > max_pixels:
        size = f"{opened.width:,} x {opened.height:,}"
        opened.close()
        raise ImageError(f"an image of {size}, where at most {max_pixels:,} pixels are read")
    return opened


@contextmanager
def reading() -> Iterator[None]:
    """Read pixels of an image that was opened by `open_image`.

    Raises:
        ImageError: it is damaged.
        OSError: the file cannot be read.
    """
    try:
        yield
    except ImageError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
            raise
        raise ImageError(f"a damaged image ({error})") from error


def as_8_bit(image: Image.Image) -> Image.Image:
    """Return an image whose values have 8 bits: the upper ones of 16.

    Raises:
        ImageError: it is damaged, or its values have no known range.
    """
    if image.mode in _GREY_16 or (image.mode == "I" and image.format == "PNG"):
        with reading():
            values = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ImageError(f"an image of mode {image.mode}, of unknown range; save it with 8 bits")
    return image


def to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Decode an image to RGB uint8 [H, W, 3]; see `as_8_bit`."""
    with reading():
        return np.asarray(as_8_bit(image).convert("RGB"))
