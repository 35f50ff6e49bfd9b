"""Packet headers agree with what the decoder outputs."""

from pathlib import Path

import av
import pytest

from dfdc_prep.video.h264 import nal_length_size, parse_picture_header
from dfdc_prep.video.reader import open_clip
from tests.encoded import Recipe, encode, x264


def test_reference_frames_are_those_the_decoder_keeps(real_clips: Path) -> None:
    path = real_clips / "dfdc_train_part_1" / "004.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.skip_frame = "NONREF"
        kept = [frame.pts for frame in container.decode(stream)]
    with open_clip(path) as video:
        timeline = video.timeline
        assert [timeline.pts[i] for i in timeline.references] == kept
        assert 0 < len(timeline.references) < timeline.count


def test_the_nal_length_size_is_none_for_annex_b() -> None:
    assert nal_length_size(b"\x01\x64\x00\x1f\xff\xe1\x00\x00") == 4
    assert nal_length_size(b"\x00\x00\x00\x01\x67\x64\x00\x1f") is None
    assert nal_length_size(None) is None


@pytest.mark.parametrize("packet", [b"", b"\x00", b"\x00\x00\x00\x01", b"\x00\x00\x00\x09\x06\x05"])
@pytest.mark.parametrize("size", [4, None])
def test_a_packet_without_a_slice_counts_as_a_reference(packet: bytes, size: int | None) -> None:
    header = parse_picture_header(memoryview(packet), size)
    assert (header.reference, header.random_access) == (True, False)


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
@pytest.mark.parametrize(
    ("recipe", "keyframes"),
    [
        (x264("keyint=12:min-keyint=12:scenecut=0:bframes=3"), [0, 12, 24, 36, 48]),
        (x264("keyint=12:min-keyint=12:scenecut=0:bframes=0:open-gop=1"), [0, 12, 24, 36, 48]),
        (x264("keyint=12:intra-refresh=1:scenecut=0"), [0]),
    ],
    ids=["IDR", "open GOP", "intra refresh"],
)
def test_keyframes_are_the_random_access_points(
    tmp_path: Path, recipe: Recipe, keyframes: list[int], suffix: str
) -> None:
    path = encode(tmp_path / "clip", Recipe(**{**vars(recipe), "suffix": suffix}))
    with open_clip(path) as video:
        assert list(video.timeline.keyframes) == keyframes
