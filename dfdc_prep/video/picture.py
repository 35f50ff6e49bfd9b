"""Decoded frames and still images with a common protocol that yields RGB at any size."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from numpy.typing import NDArray

#: An RGB image, uint8 [height, width, 3].
Image = NDArray[np.uint8]

#: Planar pixel formats whose chroma planes have half the width and height.
_YUV420 = frozenset({"yuv420p", "yuvj420p"})
#: PyAV's name of a frame's display matrix.
_MATRIX = "DISPLAYMATRIX"
#: Pixels are at most this many times as long one way as the other; DV's and DVD's are 1.5.
MAX_PIXEL_ASPECT = 8.0


class Picture(Protocol):
    """An image that detectors can request at several sizes."""

    @property
    def width(self) -> int:
        """Width in pixels."""

    @property
    def height(self) -> int:
        """Height in pixels."""

    def rgb(self, long_side: int | None = None) -> Image:
        """Return the image as RGB uint8 [H, W, 3], its longer side at most `long_side` pixels."""

    def rgb_part(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Return `rgb()[top:bottom, left:right]`; the part must lie within the image."""


def scaled_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Return width and height scaled down to a longer side of at most `long_side`, if not None."""
    longer = max(width, height)
    if long_side is None or longer <= long_side:
        return width, height
    scale = long_side / longer
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True)
class Still:
    """A picture that is already an RGB array."""

    image: Image

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    def rgb(self, long_side: int | None = None) -> Image:
        size = scaled_size(self.width, self.height, long_side)
        if size == (self.width, self.height):
            return self.image
        return cv2.resize(self.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)

    def rgb_part(self, left: int, top: int, right: int, bottom: int) -> Image:
        return self.image[top:bottom, left:right]


class Orientation(NamedTuple):
    """How a frame is turned to be shown: transposed, then mirrored."""

    transposed: bool = False  # rows become columns
    mirror_x: bool = False  # left and right are then swapped
    mirror_y: bool = False  # top and bottom are then swapped

    def apply(self, image: Image) -> Image:
        """Return the image [H, W, 3] as it is shown."""
        if self.transposed:
            image = image.transpose(1, 0, 2)
        return np.ascontiguousarray(
            image[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]
        )


def read_orientation(matrix: bytes) -> Orientation:
    """Read a display matrix: nine int32, of which the first, second, fourth and fifth turn.

    A pixel in column p and row q is shown at a p + c q, b p + d q (ISO/IEC 14496-12, 6.2.2). Eight
    matrices keep pixels square; of others, the nearest of the eight is taken.
    """
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def shown_size(width: int, height: int, pixel_aspect: float) -> tuple[int, int]:
    """Return the size in square pixels of a frame, the shorter side of its pixels stretched.

    Args:
        pixel_aspect: width of a pixel over its height. Within a hundredth of 1, and beyond
            `MAX_PIXEL_ASPECT`, which only damaged headers have, pixels count as square.
    """
    wide = max(pixel_aspect, 1 / pixel_aspect) if pixel_aspect > 0 else 1.0
    if not 1.01 <= wide <= MAX_PIXEL_ASPECT:
        return width, height
    return (round(width * wide), height) if pixel_aspect > 1 else (width, round(height * wide))


def side_data(frame: av.VideoFrame) -> Mapping[str, Any]:
    """What the decoder says beside a frame, by FFmpeg's name.

    `frame.side_data` is the same object, but the frame and it would refer to each other: their
    memory, 3 MB for 1080p, would be freed by the garbage collector only, and not used again for the
    next frame.
    """
    return cast(Mapping[str, Any], SideDataContainer(frame))  # type: ignore[call-arg]  # undeclared


@dataclass(frozen=True)
class Frame:
    """A decoded frame as players show it: turned, and with square pixels.

    It is converted to RGB on request only.
    """

    index: int  # position in presentation order, from zero
    time_s: float | None  # presentation time in seconds from the first frame; None if not known
    decoded: av.VideoFrame  # the frame as decoded
    pixel_aspect: float = 1.0  # width over height of a pixel of the decoded frame

    @cached_property
    def orientation(self) -> Orientation:
        """How the decoded frame is turned."""
        data = side_data(self.decoded)
        return read_orientation(bytes(data[_MATRIX])) if _MATRIX in data else Orientation()

    @cached_property
    def _size(self) -> tuple[int, int]:
        size = shown_size(self.decoded.width, self.decoded.height, self.pixel_aspect)
        return size[::-1] if self.orientation.transposed else size

    @property
    def width(self) -> int:
        return self._size[0]

    @property
    def height(self) -> int:
        return self._size[1]

    def rgb(self, long_side: int | None = None) -> Image:
        """Return the frame as RGB uint8 [H, W, 3], its longer side at most `long_side` pixels.

        The frame is scaled by area averaging before the conversion to RGB, which costs more than
        scaling. Where pixels that are not square are stretched, it is cubic.
        """
        width, height = scaled_size(self.width, self.height, long_side)
        if self.orientation.transposed:
            width, height = height, width
        scaled = self.decoded
        how = "BICUBIC" if width > scaled.width or height > scaled.height else "AREA"
        # Other formats, such as palettes, cannot be averaged.
        if scaled.format.name.startswith("yuv"):
            scaled = _reformat(scaled, how, width=width, height=height)
        converted = _reformat(scaled, how, width=width, height=height, format="rgb24")
        return self.orientation.apply(converted.to_ndarray().astype(np.uint8, copy=False))

    def rgb_part(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Return `rgb()[top:bottom, left:right]`, converting only that part if possible."""
        # In 4:2:0 formats 2 x 2 pixels share their chroma: extend the part to even coordinates.
        start_x, start_y, end_x, end_y = left & -2, top & -2, -(-right & -2), -(-bottom & -2)
        decoded, kind = self.decoded, self.decoded.format.name
        size = decoded.width, decoded.height
        as_decoded = self._size == size and self.orientation == Orientation()
        if kind not in _YUV420 or not as_decoded or end_x > size[0] or end_y > size[1]:
            return self.rgb()[top:bottom, left:right]
        # Copy the part out of each plane into a frame of its own.
        planes = []
        for plane, shift in zip(decoded.planes, (0, 1, 1), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            part = rows[start_y >> shift : end_y >> shift, start_x >> shift : end_x >> shift]
            planes.append(part.ravel())
        stacked = np.concatenate(planes).reshape((end_y - start_y) * 3 // 2, end_x - start_x)
        cut = av.VideoFrame.from_ndarray(stacked, format=kind)
        cut.colorspace, cut.color_range = decoded.colorspace, decoded.color_range
        # Convert the part and remove the extension.
        image = _reformat(cut, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
        return image[top - start_y : bottom - start_y, left - start_x : right - start_x]


def _reformat(frame: av.VideoFrame, interpolation: str = "AREA", **how: Any) -> av.VideoFrame:
    """Scale or convert a frame in this thread: others would only cost CPU."""
    return frame.reformat(**how, interpolation=interpolation, threads=1)
