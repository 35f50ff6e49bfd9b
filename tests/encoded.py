"""Encodes small clips for tests, and decodes clips sequentially as ground truth."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from dfdc_prep.video.picture import Image

WIDTH, HEIGHT = 96, 64
#: Ticks per frame in an MP4 with 25 frames per second, as written by FFmpeg.
_TICKS = 512


@dataclass(frozen=True)
class Recipe:
    """How a clip is encoded.

    Attributes:
        codec: FFmpeg name of the encoder.
        options: options of the encoder.
        suffix: file extension, which selects the container.
        frames: number of frames to encode.
        drop: packets omitted at the start, as when a clip is cut without re-encoding.
        hide: frames at the start that an edit list hides; MP4 only.
        times: presentation times of the frames in milliseconds; evenly spaced by default.
        pixels: pixel format.
    """

    codec: str = "libx264"
    options: Mapping[str, str] = field(default_factory=dict)
    suffix: str = "mp4"
    frames: int = 60
    drop: int = 0
    hide: int = 0
    times: Sequence[int] | None = None
    pixels: str = "yuv420p"


def x264(parameters: str, **how: object) -> Recipe:
    """An H.264 recipe from x264 parameters and other fields of `Recipe`."""
    return Recipe(options={"x264-params": f"{parameters}:log=-1"}, **how)  # type: ignore[arg-type]


def x265(parameters: str, **how: object) -> Recipe:
    """An HEVC recipe from x265 parameters and other fields of `Recipe`."""
    options = {"x265-params": f"{parameters}:log-level=none"}
    return Recipe("libx265", options, **how)  # type: ignore[arg-type]


def moving_square(count: int) -> Iterator[NDArray[np.uint8]]:
    """Distinct RGB frames: a square moving over a drifting pattern, with scene cuts."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for index in range(count):
        cut = index // 23 * 37
        image = np.stack(
            [
                (columns * 2 + index * 3 + cut) % 256,
                (rows * 3 + index * 2) % 256,
                (columns + rows + index + cut) % 256,
            ],
            axis=-1,
        ).astype(np.uint8)
        left = 5 + index * 2 % 60
        image[20:44, left : left + 24] = (40 + 3 * index % 200, 255 - index * 2 % 200, cut % 256)
        yield image


def encode(path: Path, recipe: Recipe) -> Path:
    """Encode the moving square; returns the path with the recipe's suffix."""
    path = path.with_suffix(f".{recipe.suffix}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(recipe.codec, rate=25, options=dict(recipe.options))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, recipe.pixels
        if recipe.times:
            stream.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for index, image in enumerate(moving_square(recipe.frames)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if recipe.times:
                frame.pts, frame.time_base = recipe.times[index], Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets[recipe.drop :]:
            container.mux(packet)
    if recipe.hide:
        _hide(path, recipe.hide)
    return path


def _hide(path: Path, frames: int) -> None:
    """Make an MP4's edit list start some frames later (ISO/IEC 14496-12, 8.6.6)."""
    clip = bytearray(path.read_bytes())
    at = clip.index(b"elst") + 12  # past name, version and count
    duration, start = struct.unpack(">Ii", clip[at : at + 8])
    clip[at : at + 8] = struct.pack(">Ii", duration - 40 * frames, start + _TICKS * frames)
    path.write_bytes(clip)


def decode_sequentially(path: Path) -> list[Image]:
    """Every frame in presentation order, RGB and upright, decoded sequentially.

    A damaged clip yields the frames before the damage.
    """
    frames: list[Image] = []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                image = frame.reformat(format="rgb24", interpolation="AREA").to_ndarray()
                frames.append(np.rot90(image, round(frame.rotation / 90)).astype(np.uint8))
        except av.FFmpegError:
            pass
    return frames
