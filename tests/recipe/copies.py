"""Copies of clips that are not the author's: re-muxed, re-encoded, cut short, damaged."""

from pathlib import Path

import av


def remuxed(clip: Path, out: Path) -> None:
    """Write the packets of a clip into a new container."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)


def reencoded(clip: Path, out: Path, crf: int = 28, frames: int | None = None) -> None:
    """Encode the pictures of a clip once more, or the first of them."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        video = source.streams.video[0]
        stream = target.add_stream("libx264", video.average_rate, {"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for number, frame in enumerate(source.decode(video)):
            if frames is not None and number >= frames:
                break
            frame.pict_type = av.video.frame.PictureType.NONE
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def cut(clip: Path, out: Path, share: float = 0.6) -> None:
    """Write the begin of a clip's file, as a download that broke off."""
    data = clip.read_bytes()
    out.write_bytes(data[: int(len(data) * share)])
