"""The bytes of a crop's file: encodes and decodes crops and masks, and checks those of others."""

import io

import cv2
import numpy as np

from dfdc_prep.errors import DfdcPrepError, ShardError
from dfdc_prep.video.picture import Image
from manifests.schemas import CROP_SIZE

FORMATS = ("png", "jpg")
JPEG_QUALITY = 95
#: End of the name of a mask's file, which lies beside its crop.
MASK_SUFFIX = ".mask.png"

#: OpenCV's encoder options of each format. The Paeth filter with run-length encoding yields face
#: crops an eighth smaller than OpenCV's default filter and strategy at compression levels 1 and 3,
#: in two thirds of the time.
_OPTIONS = {
    "png": [
        *(cv2.IMWRITE_PNG_COMPRESSION, 1),
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH),
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    ],
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
}


def encode(crop: Image, file_format: str) -> bytes:
    """Encode a crop, RGB uint8 [H, W, 3], as `png` (lossless) or `jpg` (`JPEG_QUALITY`).

    Raises:
        DfdcPrepError: OpenCV cannot encode this format.
    """
    return _encoded(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR).astype(np.uint8), file_format)


def encode_mask(mask: Image) -> bytes:
    """Encode a mask, uint8 [H, W], as a grey PNG; raises as `encode`."""
    return _encoded(mask, "png")


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
    # Imported here and below because Pillow loads slowly, and few runs read crops.
    from manifests.pictures.images import CROP_FORMATS, open_image

    open_image(encoded, CROP_FORMATS).close()
    flag = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f"expected an image, found {len(encoded):,} bytes that do not decode")
    return (image if grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).astype(np.uint8, copy=False)


def crop_fault(data: bytes, size: int | None = CROP_SIZE, decoded: bool = False) -> str | None:
    """What a file is instead of a crop, such as "100x80"; None if it is one.

    A crop is a square PNG or JPEG in RGB or grayscale.

    Args:
        size: the side it must have, pixels; None for any.
        decoded: also decode its pixels, to detect damage, rather than its header only.
    """
    return _fault(data, size, decoded, mask=False)


def mask_fault(data: bytes, size: int | None = CROP_SIZE) -> str | None:
    """What a file is instead of a mask, a grey PNG that decodes; None if it is one."""
    return _fault(data, size, decoded=True, mask=True)


def _fault(data: bytes, size: int | None, decoded: bool, mask: bool) -> str | None:
    from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, reading

    try:
        with open_image(data, CROP_FORMATS) as image, reading():
            if image.mode not in ("RGB", "L"):
                return f"an image of mode {image.mode}"
            if image.width != (size or image.height) or image.height != image.width:
                return f"{image.width}x{image.height}"
            if decoded:
                image.load()
            if mask and (image.mode, image.format) != ("L", "PNG"):
                return f"{image.format} {image.mode}"
            return None
    except ImageError as error:
        return str(error)


def to_jpeg(data: bytes, path: str, quality: int) -> bytes:
    """Convert a crop's file to an RGB JPEG of a quality of 1 to 100; one in JPEG stays as it is.

    Args:
        path: the crop's path in the manifest, for messages.

    Raises:
        ShardError: the image is damaged.
    """
    from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, reading

    try:
        with open_image(data, CROP_FORMATS) as image, reading():
            if image.format == "JPEG":
                return data
            file = io.BytesIO()
            image.convert("RGB").save(file, "JPEG", quality=quality)
            return file.getvalue()
    except ImageError as error:
        raise ShardError(
            f"expected a crop that decodes at {path}, found {error}; extract again and balance"
        ) from error


def _encoded(image: Image, file_format: str) -> bytes:
    done, encoded = cv2.imencode(f".{file_format}", image, _OPTIONS[file_format])
    if not done:
        raise DfdcPrepError(
            f"expected OpenCV to encode {file_format}, found that it failed; "
            "reinstall opencv-python-headless"
        )
    return encoded.tobytes()
