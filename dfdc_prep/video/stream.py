"""What the stream of a clip gives away beside its pictures: how and by what it was encoded.

Read from the headers of the container and of the packets, which are read anyway, and from what the
decoder says of the frames that are decoded anyway.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import av
import numpy as np
from av.sidedata.encparams import VideoEncParams

from dfdc_prep.video.picture import side_data
from dfdc_prep.video.timeline import Packet
from manifests.schemas import StreamRow

if TYPE_CHECKING:
    from dfdc_prep.video.container import Container, VideoStream

#: Mean and standard deviation of the quantisation parameter of a frame's blocks.
Quantisation: TypeAlias = tuple[float, float]

#: Makes FFmpeg tell how the blocks of a frame were quantised: H.264, MPEG-1, -2, -4, and VP9.
DECODER_OPTIONS = {"export_side_data": "venc_params"}
#: Pictures of `gop_pattern`, and characters of `encoder`, at most.
_PATTERN, _LONGEST = 24, 1000
#: FFmpeg's names of the codes of ITU-T H.273, tables 2 to 4; 2 is unspecified.
_RANGES = {1: "tv", 2: "pc"}
_SPACES = {
    **{0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"},
    **{9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 14: "ictcp"},
}
_TRANSFERS = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear"},
    **{9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1"},
    **{14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"},
}
_PRIMARIES = {
    **{1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film"},
    **{9: "bt2020", 10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213"},
}


def describe_stream(
    container: "Container",
    stream: "VideoStream",
    packets: Sequence[Packet],
    encoder: str | None,
    quantised: Sequence[Quantisation],
) -> StreamRow:
    """The columns of a clip's stream; null where neither FFmpeg nor the packets say it.

    Args:
        packets: all packets of the stream in decoding order.
        encoder: what the encoder wrote into the first packet, see `h264.encoder_text`.
        quantised: of some frames.
    """
    context = stream.codec_context
    length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
    seconds = float(length or (container.duration or 0) / av.time_base)
    kinds = [packet.picture for packet in packets]
    known = None not in kinds
    shown = sorted(packets, key=lambda packet: packet.pts or 0)[:_PATTERN]
    starts = [n for n, packet in enumerate(packets) if packet.keyframe]
    audio = container.streams.audio
    rate, tags = stream.average_rate, (*_tags(stream.metadata), *_tags(container.metadata))
    return {
        "container": container.format.name,
        "codec": context.codec.canonical_name,
        "profile": context.profile,
        "pixel_format": context.pix_fmt,
        "color_range": _RANGES.get(context.color_range),
        "color_space": _SPACES.get(context.colorspace),
        "color_transfer": _TRANSFERS.get(context.color_trc),
        "color_primaries": _PRIMARIES.get(context.color_primaries),
        "encoder": _printable(next(filter(None, (encoder, *tags)), None)),
        "audio": _audio_codec(audio[0]) if audio else "none",
        "frame_rate": float(rate) if rate else None,
        "duration_s": seconds or None,
        "bit_rate": sum(packet.size for packet in packets) * 8 / seconds if seconds else None,
        "gop_length": max((b - a for a, b in pairwise([*starts, len(packets)])), default=None),
        "gop_pattern": "".join(str(packet.picture) for packet in shown) if known else None,
        "b_frames": kinds.count("B") / len(kinds) if known and kinds else None,
        "qp_mean": float(np.mean([mean for mean, _ in quantised])) if quantised else None,
        "qp_deviation": float(np.mean([each for _, each in quantised])) if quantised else None,
    }


def quantisation(frame: av.VideoFrame) -> Quantisation | None:
    """How the blocks of a frame were quantised; None if the decoder does not say it."""
    told = side_data(frame).get("VIDEO_ENC_PARAMS")
    if not isinstance(told, VideoEncParams):
        return None
    if not told.nb_blocks:  # VP9 without segments: all blocks are quantised as the frame is
        return float(told.qp), 0.0
    # AVVideoBlockParams: the last of its five int32 is the difference from the frame's. PyAV's own
    # map takes 8 ms a frame, more than decoding it.
    content = memoryview(told)  # type: ignore[arg-type]  # a buffer, undeclared
    blocks = np.frombuffer(content, np.uint8, offset=told.blocks_offset)
    size, number = told.block_size, told.nb_blocks
    deltas = blocks[: size * number].reshape(number, size)[:, 16:20].copy().view(np.int32)
    return float(told.qp + deltas.mean()), float(deltas.std())


def _tags(metadata: dict[str, str]) -> list[str]:
    """The names of encoders that a container has, with the spelling that it has."""
    return [text for name, text in metadata.items() if name.lower() in ("encoder", "software")]


def _audio_codec(stream: "av.AudioStream") -> str | None:
    context = stream.codec_context
    return context.codec.canonical_name if context else None


def _printable(text: str | None) -> str | None:
    if text is None:
        return None
    return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST].strip() or None
