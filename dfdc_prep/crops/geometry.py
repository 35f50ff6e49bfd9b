"""Computes crop squares from face boxes, cuts crops out of pictures, and encodes them.

Crops are cut as squares because scaling a rectangular face box to a square image would distort
each face differently.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dfdc_prep.detectors.base import Face
from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.video.picture import Image, Picture
from manifests.columns import CROP_SIZE

#: Margin on each side in units of the face box's longer side.
MARGIN = 0.3
JPEG_QUALITY = 95
FORMATS = ("png", "jpg")

#: File extension and OpenCV encoder options of each format.
_ENCODING = {
    # The Paeth filter with run-length encoding yields face crops an eighth smaller than OpenCV's
    # default filter and strategy at compression levels 1 and 3, in two thirds of the time.
    "png": (
        ".png",
        [
            *(cv2.IMWRITE_PNG_COMPRESSION, 1),
            *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH),
            *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
        ],
    ),
    "jpg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]),
}


@dataclass(frozen=True)
class Square:
    """A square in pixels of the source picture; it may extend beyond the border.

    Attributes:
        x, y: left and top edge.
        size: side.
    """

    x: int
    y: int
    size: int


def square(face: Face, margin: float = MARGIN) -> Square:
    """Return the square centered on a face box.

    Args:
        face: the face box.
        margin: margin added on each side, in units of the box's longer side. The default is
            close to that of the DFDC challenge's winning solution, one third.
    """
    size = max(1, round(max(face.w, face.h) * (1 + 2 * margin)))
    return Square(face.x + (face.w - size) // 2, face.y + (face.h - size) // 2, size)


def cut(picture: Picture, region: Square, size: int = CROP_SIZE) -> Image:
    """Cut a square out of a picture and scale it; pixels beyond the border are black.

    Args:
        picture: the source picture.
        region: the square to cut.
        size: side of the crop, pixels.

    Returns:
        The crop, RGB uint8 [size, size, 3].
    """
    left, top = max(0, region.x), max(0, region.y)
    right = min(picture.width, region.x + region.size)
    bottom = min(picture.height, region.y + region.size)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)

    # Cut the part inside the picture and pad it to the square.
    inside = picture.rgb_part(left, top, right, bottom)
    if inside.shape[:2] != (region.size, region.size):
        inside = cv2.copyMakeBorder(
            inside,
            top - region.y,
            region.y + region.size - bottom,
            left - region.x,
            region.x + region.size - right,
            cv2.BORDER_CONSTANT,
        ).astype(np.uint8, copy=False)

    # Area averaging avoids aliasing when downscaling; cubic interpolation is for upscaling.
    interpolation = cv2.INTER_AREA if region.size >= size else cv2.INTER_CUBIC
    return cv2.resize(inside, (size, size), interpolation=interpolation).astype(
        np.uint8, copy=False
    )


def encode(crop: Image, file_format: str) -> bytes:
    """Encode a crop.

    Args:
        crop: RGB uint8 [H, W, 3].
        file_format: `png` (lossless) or `jpg` (quality `JPEG_QUALITY`).

    Raises:
        DfdcPrepError: OpenCV cannot encode this format.
    """
    suffix, options = _ENCODING[file_format]
    return _encoded(suffix, cv2.cvtColor(crop, cv2.COLOR_RGB2BGR).astype(np.uint8), options)


def encode_mask(mask: Image) -> bytes:
    """Encode a mask, uint8 [H, W], as a grey PNG.

    Raises:
        DfdcPrepError: OpenCV cannot encode it.
    """
    suffix, options = _ENCODING["png"]
    return _encoded(suffix, mask, options)


def as_stored(crop: Image, file_format: str, encoded: bytes | None = None) -> Image:
    """The crop as its file shows it: what JPEG leaves of it.

    Args:
        crop: RGB uint8 [H, W, 3].
        encoded: what `encode` returns for it, if that is known.
    """
    return crop if file_format == "png" else decode(encoded or encode(crop, file_format))


def decode(encoded: bytes, grey: bool = False) -> Image:
    """Decode a crop to RGB uint8 [H, W, 3], or grey uint8 [H, W].

    OpenCV reads more formats than crops have: their header is checked first.

    Raises:
        ValueError: the bytes are no PNG or JPEG, damaged, or have too many pixels.
    """
    # Imported here because Pillow loads slowly, and few runs read crops.
    from manifests.pictures.images import CROP_FORMATS, open_image

    open_image(encoded, CROP_FORMATS).close()
    flag = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f"expected an image, found {len(encoded):,} bytes that do not decode")
    if grey:
        return image.astype(np.uint8, copy=False)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _encoded(suffix: str, image: Image, options: list[int]) -> bytes:
    done, encoded = cv2.imencode(suffix, image, options)
    if not done:
        raise DfdcPrepError(
            f"expected OpenCV to encode {suffix}, found that it failed; "
            "reinstall opencv-python-headless"
        )
    return encoded.tobytes()
