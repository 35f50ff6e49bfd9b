"""Pictures to look at: decoded frames and still images, in RGB at the size that is asked for."""

from dataclasses import dataclass
from typing import Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

#: An image: height x width x 3, RGB, 0 to 255.
Image = NDArray[np.uint8]

#: Pixel formats of three planes, of which those of colour have half the width and height.
_HALVED = frozenset({"yuv420p", "yuvj420p"})


class Picture(Protocol):
    """What a detector looks at: an image that can be had at several sizes."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def rgb(self, long_side: int | None = None) -> Image:
        """The image, scaled down to `long_side` pixels where it is larger."""
        ...

    def rgb_part(self, left: int, top: int, right: int, bottom: int) -> Image:
        """What `rgb()[top:bottom, left:right]` gives; the part lies within the image."""
        ...


def scaled_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Width and height once the longer side is at most `long_side`; never larger than before."""
    longer = max(width, height)
    if long_side is None or longer <= long_side:
        return width, height
    scale = long_side / longer
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True)
class Still:
    """A picture that is already an array."""

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
    """One decoded frame, upright. Converting to RGB waits until it is asked for.

    Attributes:
        index: position in presentation order, from zero.
        time_s: presentation time in seconds from the clip's first frame.
    """

    index: int
    time_s: float
    decoded: av.VideoFrame

    @property
    def _quarter_turns(self) -> int:
        """Counter-clockwise quarter turns that make the frame upright."""
        return round(self.decoded.rotation / 90) % 4

    @property
    def width(self) -> int:
        return self.decoded.height if self._quarter_turns % 2 else self.decoded.width

    @property
    def height(self) -> int:
        return self.decoded.width if self._quarter_turns % 2 else self.decoded.height

    def rgb(self, long_side: int | None = None) -> Image:
        """RGB uint8, height x width x 3.

        Scaled by area, and only then converted: the conversion is the larger part of the cost.
        """
        width, height = scaled_size(self.decoded.width, self.decoded.height, long_side)
        scaled = self.decoded
        if scaled.format.name.startswith("yuv"):  # others, such as palettes, cannot be averaged
            scaled = scaled.reformat(width=width, height=height, interpolation="AREA")
        converted = scaled.reformat(
            width=width, height=height, format="rgb24", interpolation="AREA"
        )
        image = converted.to_ndarray().astype(np.uint8, copy=False)
        return np.ascontiguousarray(np.rot90(image, self._quarter_turns))

    def rgb_part(self, left: int, top: int, right: int, bottom: int) -> Image:
        """What `rgb()[top:bottom, left:right]` gives, without converting the rest of the frame."""
        # Two by two pixels share their colour: a part begins and ends between such blocks.
        start_x, start_y, end_x, end_y = left & -2, top & -2, -(-right & -2), -(-bottom & -2)
        within = end_x <= self.decoded.width and end_y <= self.decoded.height
        if self.decoded.format.name not in _HALVED or self._quarter_turns or not within:
            return self.rgb()[top:bottom, left:right]
        width, height = end_x - start_x, end_y - start_y
        planes = []
        for plane, shift in zip(self.decoded.planes, (0, 1, 1), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            part = rows[start_y >> shift : end_y >> shift, start_x >> shift : end_x >> shift]
            planes.append(part.ravel())
        stacked = np.concatenate(planes).reshape(height * 3 // 2, width)
        cut = av.VideoFrame.from_ndarray(stacked, format=self.decoded.format.name)
        cut.colorspace, cut.color_range = self.decoded.colorspace, self.decoded.color_range
        image = cut.reformat(format="rgb24", interpolation="AREA").to_ndarray()
        return image[top - start_y : bottom - start_y, left - start_x : right - start_x].astype(
            np.uint8, copy=False
        )
