"""Decoded frames and still images with a common protocol that yields RGB at any size."""

from dataclasses import dataclass
from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

#: An RGB image, uint8 [height, width, 3].
Image = NDArray[np.uint8]

#: Planar pixel formats whose chroma planes have half the width and height.
_YUV420 = frozenset({"yuv420p", "yuvj420p"})


class Picture(Protocol):
    """An image that detectors can request at several sizes."""

    @property
    def width(self) -> int:
        """Width in pixels."""
        ...

    @property
    def height(self) -> int:
        """Height in pixels."""
        ...

    def rgb(self, long_side: int | None = None) -> Image:
        """Return the image as RGB uint8 [H, W, 3], its longer side at most `long_side` pixels."""
        ...

    def rgb_part(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Return `rgb()[top:bottom, left:right]`; the part must lie within the image."""
        ...


def scaled_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Return width and height scaled so that the longer side is at most `long_side`.

    Sizes are never scaled up. None keeps the size.
    """
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


@dataclass(frozen=True)
class Frame:
    """A decoded frame with its rotation applied. It is converted to RGB on request only.

    Attributes:
        index: position in presentation order, from zero.
        time_s: presentation time in seconds from the clip's first frame.
        decoded: the frame as decoded, before rotation.
    """

    index: int
    time_s: float
    decoded: av.VideoFrame

    @property
    def _quarter_turns(self) -> int:
        """Counterclockwise quarter turns that make the frame upright."""
        return round(self.decoded.rotation / 90) % 4

    @property
    def width(self) -> int:
        return self.decoded.height if self._quarter_turns % 2 else self.decoded.width

    @property
    def height(self) -> int:
        return self.decoded.width if self._quarter_turns % 2 else self.decoded.height

    def rgb(self, long_side: int | None = None) -> Image:
        """Return the frame as RGB uint8 [H, W, 3], its longer side at most `long_side` pixels.

        The frame is scaled by area averaging before the conversion to RGB, which costs more than
        scaling.
        """
        width, height = scaled_size(self.decoded.width, self.decoded.height, long_side)
        scaled = self.decoded
        # Other formats, such as palettes, cannot be averaged.
        if scaled.format.name.startswith("yuv"):
            scaled = _reformat(scaled, width=width, height=height)
        converted = _reformat(scaled, width=width, height=height, format="rgb24")
        image = converted.to_ndarray().astype(np.uint8, copy=False)
        return np.ascontiguousarray(np.rot90(image, self._quarter_turns))

    def rgb_part(self, left: int, top: int, right: int, bottom: int) -> Image:
        """Return `rgb()[top:bottom, left:right]`, converting only that part if possible."""
        # In 4:2:0 formats 2 x 2 pixels share their chroma: extend the part to even coordinates.
        start_x, start_y, end_x, end_y = left & -2, top & -2, -(-right & -2), -(-bottom & -2)
        within = end_x <= self.decoded.width and end_y <= self.decoded.height
        if self.decoded.format.name not in _YUV420 or self._quarter_turns or not within:
            return self.rgb()[top:bottom, left:right]

        # Copy the part out of each plane into a frame of its own.
        width, height = end_x - start_x, end_y - start_y
        planes = []
        for plane, shift in zip(self.decoded.planes, (0, 1, 1), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            part = rows[start_y >> shift : end_y >> shift, start_x >> shift : end_x >> shift]
            planes.append(part.ravel())
        stacked = np.concatenate(planes).reshape(height * 3 // 2, width)
        cut = av.VideoFrame.from_ndarray(stacked, format=self.decoded.format.name)
        cut.colorspace, cut.color_range = self.decoded.colorspace, self.decoded.color_range

        # Convert the part and remove the extension.
        image = _reformat(cut, format="rgb24").to_ndarray()
        return image[top - start_y : bottom - start_y, left - start_x : right - start_x].astype(
            np.uint8, copy=False
        )


def _reformat(frame: av.VideoFrame, **how: Any) -> av.VideoFrame:
    """Scale or convert a frame by area averaging, in this thread: others would only cost CPU."""
    return frame.reformat(**how, interpolation="AREA", threads=1)
