from pathlib import Path

import av
import pytest

from dfdc_prep.h264 import is_reference, length_size
from dfdc_prep.video import open_clip


@pytest.mark.parametrize("name", ["004.mp4", "519_515.mp4"])
def test_what_counts_as_a_reference_is_what_the_decoder_keeps(real_clips: Path, name: str) -> None:
    path = real_clips / "dfdc_train_part_1" / name
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        kept = {frame.pts for frame in container.decode(video=0)}
    with open_clip(path) as video:
        timeline = video.timeline
    assert {timeline.pts[index] for index in timeline.references} == kept
    assert 0 < len(kept) < timeline.count


@pytest.mark.parametrize("extradata", [None, b"", b"\0\0\0\1\x67\x64\0\x1f", b"\1"])
def test_a_stream_of_start_codes_tells_nothing(extradata: bytes | None) -> None:
    assert length_size(extradata) is None


@pytest.mark.parametrize("packet", [b"", b"\0\0\0", b"\0\0\0\2\6\0", b"\xff\xff\xff\xff\6\1"])
def test_a_packet_without_a_slice_is_decoded(packet: bytes) -> None:
    assert is_reference(memoryview(packet), 4)
