"""Checks that the GPU of this machine decodes a clip to the same values as the CPU."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import hwdevices_available

from dfdc_prep.errors import ClipError, DfdcPrepError
from dfdc_prep.video.decoders import CPU, GPU
from dfdc_prep.video.gpu import keep_context
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip

#: The height is not a multiple of 16, so that the decoder must crop, as with 1080.
_WIDTH, _HEIGHT, _FRAMES, _RATE = 320, 180, 48, 30
#: Frames that are compared. Between them, frames that none of them refers to are skipped, and the
#: decoder moves on to the second keyframe.
_COMPARED = (0, 5, 6, 30, 47)
#: B-frames, some of which others refer to, as in DFDC's clips; one thread for the same clip always.
_ENCODER = {
    "x264-params": "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0:keyint=24:min-keyint=24",
    "crf": "28",
    "threads": "1",
}


@cache
def find_problem() -> str | None:
    """Why this process cannot decode on the GPU; None if it can.

    A clip that is encoded for the purpose is decoded on both, and all values must be the same.
    """
    if "cuda" not in hwdevices_available():
        return "no support for NVIDIA GPUs in PyAV"
    try:
        keep_context()
    except (av.FFmpegError, NotImplementedError):
        return "no NVIDIA GPU, or no driver that decodes video"
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            write_test_clip(path)
            return compare_decoders(path)
    except (av.FFmpegError, OSError, ValueError, DfdcPrepError) as error:
        return f"no way to check it ({error})"


def write_test_clip(path: Path) -> None:
    """Encode a noisy moving pattern as H.264 with B-frames.

    Raises:
        av.FFmpegError, ValueError: PyAV has no H.264 encoder.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", _RATE, options=_ENCODER)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for image in _pattern():
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def compare_decoders(path: Path) -> str | None:
    """Decode frames of a clip on the CPU and on the GPU; describe the first difference."""
    try:
        with open_clip(path, decoder=GPU) as clip:
            found = [plane_values(frame.decoded) for frame in clip.frames(_COMPARED)]
            decoder = clip.decoder
    except ClipError as error:
        return f"a decoding error ({error})"
    if decoder != GPU:
        return "a decoder that refuses H.264"
    with open_clip(path, decoder=CPU) as clip:
        expected = [plane_values(frame.decoded) for frame in clip.frames(_COMPARED)]
    if len(found) != len(expected):
        return f"only {len(found)} of {len(expected)} frames decoded"
    return None if found == expected else "frames that differ from those of the CPU"


def plane_values(frame: av.VideoFrame) -> list[bytes]:
    """The values of each plane of an 8-bit planar frame, without the padding of its rows."""
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: plane.height, : plane.width].tobytes())
    return planes


def _pattern() -> Iterator[Image]:
    noise = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    across = np.arange(_WIDTH, dtype=np.int64)[None, :, None]
    for number in range(_FRAMES):
        shifted = np.roll(noise, (2 * number, 3 * number), axis=(0, 1)) // 4
        yield (shifted + (across + 7 * number) % 192).astype(np.uint8)
