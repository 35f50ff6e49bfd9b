"""Small clips with the oddities of headers: turned, stretched, with a poster, cut off."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dfdc_prep.video.picture import Image

#: What a player shows: four colours in the corners of 96 x 64 pixels.
CORNERS = ((200, 40, 40), (40, 180, 40), (40, 60, 200), (220, 220, 60))
_ONE = 1 << 16
#: The display matrices that keep pixels square, and how the shown picture is stored.
MATRICES = {
    "upright": ((1, 0, 0, 1), lambda image: image),
    "a quarter right": ((0, 1, -1, 0), lambda image: np.rot90(image, 1)),
    "upside down": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "a quarter left": ((0, -1, 1, 0), lambda image: np.rot90(image, 3)),
    "left and right": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "top and bottom": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    "transposed, turned": ((0, -1, -1, 0), lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
}


def shown() -> Image:
    """The picture as a player shows it, RGB uint8 [64, 96, 3]."""
    image = np.empty((64, 96, 3), np.uint8)
    for number, colour in enumerate(CORNERS):
        top, left = divmod(number, 2)
        image[top * 32 : top * 32 + 32, left * 48 : left * 48 + 48] = colour
    return image


def looks_like(image: Image, wanted: Image) -> bool:
    """Whether two pictures have one size and about the same colours."""
    return image.shape == wanted.shape and float(np.abs(image.astype(int) - wanted).mean()) < 6


@dataclass(frozen=True)
class Track:
    """A video stream of a clip.

    Attributes:
        images: RGB uint8 [H, W, 3] each.
        codec: FFmpeg's name of the encoder.
        pixel_aspect: width over height of a pixel.
        pixels: pixel format.
    """

    images: list[Image]
    codec: str = "libx264"
    pixel_aspect: Fraction | None = None
    pixels: str = "yuv420p"


def write(path: Path, *tracks: Track, options: dict[str, str] | None = None) -> Path:
    """Encode streams into a container."""
    with av.open(str(path), "w", options=options or {}) as container:
        streams = [_add(container, track) for track in tracks]
        for stream, track in zip(streams, tracks, strict=True):
            for packet in _encoded(stream, track):
                container.mux(packet)
    return path


def _add(container: "av.container.OutputContainer", track: Track) -> "av.VideoStream":
    stream = container.add_stream(track.codec, rate=25)
    assert isinstance(stream, av.VideoStream)
    stream.height, stream.width = track.images[0].shape[:2]
    stream.pix_fmt = track.pixels
    stream.codec_context.gop_size = 12
    if track.pixel_aspect:
        stream.sample_aspect_ratio = track.pixel_aspect
        stream.codec_context.sample_aspect_ratio = track.pixel_aspect
    return stream


def _encoded(stream: "av.VideoStream", track: Track) -> Iterator["av.Packet[av.VideoStream]"]:
    for image in track.images:
        yield from stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image)))
    yield from stream.encode(None)


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Set the display matrix of an MP4 (tkhd: ISO/IEC 14496-12, 8.3.2)."""
    clip = bytearray(path.read_bytes())
    at = clip.index(b"tkhd") + 4
    at += 40 if clip[at] == 0 else 52
    a, b, c, d = (value * _ONE for value in matrix)
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    clip[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(clip)


def noise(count: int, seed: int = 0) -> list[Image]:
    """Pictures that compress badly, so that a file of them is long enough to be cut."""
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(count)]
