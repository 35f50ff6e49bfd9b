"""What packets tell of their pictures is what the decoder makes of them."""

from pathlib import Path

import av
import pytest

from dfdc_prep.video.h264 import length_size, picture_kind
from dfdc_prep.video.reader import open_clip
from tests.encoded import Recipe, encode, x264


def test_frames_that_others_refer_to_are_those_the_decoder_keeps(real_clips: Path) -> None:
    path = real_clips / "dfdc_train_part_1" / "004.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.skip_frame = "NONREF"
        kept = [frame.pts for frame in container.decode(stream)]
    with open_clip(path) as video:
        timeline = video.timeline
        assert [timeline.pts[i] for i in timeline.references] == kept
        assert 0 < len(timeline.references) < timeline.count


def test_the_two_forms_of_a_stream() -> None:
    assert length_size(b"\x01\x64\x00\x1f\xff\xe1\x00\x00") == 4
    assert length_size(b"\x00\x00\x00\x01\x67\x64\x00\x1f") is None
    assert length_size(None) is None


@pytest.mark.parametrize("packet", [b"", b"\x00", b"\x00\x00\x00\x01", b"\x00\x00\x00\x09\x06\x05"])
@pytest.mark.parametrize("size", [4, None])
def test_a_packet_that_tells_nothing_counts_as_a_reference(packet: bytes, size: int | None) -> None:
    kind = picture_kind(memoryview(packet), size)
    assert (kind.reference, kind.entry) == (True, False)


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
@pytest.mark.parametrize(
    ("recipe", "entries"),
    [
        (x264("keyint=12:min-keyint=12:scenecut=0:bframes=3"), [0, 12, 24, 36, 48]),
        (x264("keyint=12:min-keyint=12:scenecut=0:bframes=0:open-gop=1"), [0, 12, 24, 36, 48]),
        (x264("keyint=12:intra-refresh=1:scenecut=0"), [0]),
    ],
    ids=["IDR", "open GOP", "intra refresh"],
)
def test_decoding_may_start_at_keyframes_that_need_nothing_before(
    tmp_path: Path, recipe: Recipe, entries: list[int], suffix: str
) -> None:
    path = encode(tmp_path / "clip", Recipe(**{**vars(recipe), "suffix": suffix}))
    with open_clip(path) as video:
        assert list(video.timeline.keyframes) == entries
