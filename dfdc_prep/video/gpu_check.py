"""Checks that the GPU of this machine decodes a clip to the same values as the CPU."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import hwdevices_available

from dfdc_prep.errors import ClipError
from dfdc_prep.video.decoders import CPU, GPU
from dfdc_prep.video.gpu import keep_context
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip

_WIDTH, _HEIGHT, _FRAMES, _RATE = 320, 176, 48, 30
#: Frames that are compared. Between them, frames that none of them refers to are skipped.
_COMPARED = (0, 5, 6, 17, 30, 47)
#: B-frames, some of which others refer to, as in DFDC's clips; one thread for the same clip always.
_ENCODER = {
    "x264-params": "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0",
    "crf": "28",
    "threads": "1",
}


@cache
def find_problem() -> str | None:
    """Why this process cannot decode on the GPU; None if it can.

    A clip that is encoded for the purpose is decoded on both, and all values must be the same.
    """
    if "cuda" not in hwdevices_available():
        return "a PyAV without support for NVIDIA GPUs"
    try:
        keep_context()
    except (av.FFmpegError, NotImplementedError):
        return "no NVIDIA GPU, or no driver that decodes video"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        try:
            write_test_clip(path)
        except (av.FFmpegError, ValueError):
            return "a PyAV that cannot encode the clip for the check"
        return compare_decoders(path)


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
            found = [frame.rgb() for frame in clip.frames(_COMPARED)]
            decoder = clip.decoder
    except ClipError as error:
        return f"that decoding a clip failed: {error}"
    if decoder != GPU:
        return "that its decoder refuses H.264"
    with open_clip(path, decoder=CPU) as clip:
        expected = [frame.rgb() for frame in clip.frames(_COMPARED)]
    if len(found) != len(expected):
        return f"{len(found)} of {len(expected)} frames of a clip"
    if not all(np.array_equal(*pair) for pair in zip(found, expected, strict=True)):
        return "other values in a frame than the CPU decodes"
    return None


def _pattern() -> Iterator[Image]:
    noise = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    across = np.arange(_WIDTH, dtype=np.int64)[None, :, None]
    for number in range(_FRAMES):
        shifted = np.roll(noise, (2 * number, 3 * number), axis=(0, 1)) // 4
        yield (shifted + (across + 7 * number) % 192).astype(np.uint8)
