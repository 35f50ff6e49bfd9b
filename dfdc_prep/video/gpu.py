"""Decodes on an NVIDIA GPU: FFmpeg's NVDEC, through PyAV.

Decoded frames stay on the GPU, and only those that are asked for are copied from it. They come as
NV12 there, whose two chroma planes are interleaved; taking them apart changes no value.
"""

from functools import cache

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel
from av.video.reformatter import ColorRange

#: Codecs that are decoded on the GPU. The standard of H.264 defines every value of a frame.
GPU_CODECS = frozenset({"h264"})


def acceleration() -> HWAccel:
    """What PyAV needs to decode on the GPU; formats that it does not support use the CPU."""
    return HWAccel("cuda", allow_software_fallback=True, is_hw_owned=True)


@cache
def keep_context() -> HWAccel:
    """Keep this process's CUDA context, which would otherwise be created again for every clip.

    Raises:
        av.FFmpegError, NotImplementedError: there is no GPU, no driver, or no support in PyAV.
    """
    return acceleration().create(Codec("h264", "r"))


def is_on_gpu(frame: av.VideoFrame) -> bool:
    """Whether the values of a frame are in the GPU's memory."""
    return frame.sw_format is not None


def copy_from_gpu(frame: av.VideoFrame) -> av.VideoFrame | None:
    """Return a frame of a GPU in the format of the CPU's decoder; None if not 8-bit 4:2:0."""
    kind = frame.sw_format
    return planar(frame) if kind is not None and kind.name == "nv12" else None


def planar(frame: av.VideoFrame) -> av.VideoFrame:
    """Take the chroma planes of an NV12 frame apart."""
    # FFmpeg's decoders have a format of its own for the full range of values.
    full = frame.color_range == ColorRange.JPEG
    return frame.reformat(format="yuvj420p" if full else "yuv420p", threads=1)
