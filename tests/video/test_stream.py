"""What the stream of a clip says, beside what ffprobe says of it."""

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dfdc_prep.catalog.files import is_video
from dfdc_prep.video.h264 import encoder_text
from dfdc_prep.video.reader import open_clip
from manifests.schemas import StreamRow
from tests.conftest import SHARED


def stream_of(path: Path, frames: int = 1) -> StreamRow:
    """The columns of a clip of which some frames were read."""
    with open_clip(path) as video:
        list(video.frames(range(frames)))
        assert video.stream is not None
        return video.stream


@pytest.fixture(scope="module")
def ffprobe() -> str:
    """FFmpeg's own reader of streams, a Debian package."""
    found = shutil.which("ffprobe")
    if found is None:
        assert os.environ.get("DEBIAN_TESTS") != "required", "ffprobe is missing: scripts/debian"
        pytest.skip("ffprobe is not installed")
    return found


def probe(ffprobe: str, path: Path, *shown: str) -> dict[str, Any]:
    """What ffprobe says, without what a damaged clip makes it print beside."""
    command = [ffprobe, "-v", "quiet", "-of", "json", *shown, str(path)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


def check_against_ffprobe(ffprobe: str, path: Path, pictures: bool) -> None:
    """Compare each column that ffprobe has a word for."""
    found, told = stream_of(path), probe(ffprobe, path, "-show_streams", "-show_format")
    video = next(each for each in told["streams"] if each["codec_type"] == "video")
    audio = [each["codec_name"] for each in told["streams"] if each["codec_type"] == "audio"]
    assert found["container"] == told["format"]["format_name"]
    assert found["codec"] == video["codec_name"]
    assert found["profile"] == video["profile"]
    assert found["pixel_format"] == video["pix_fmt"]
    for name in ("color_range", "color_space", "color_transfer", "color_primaries"):
        said = video.get(name)
        assert found[name] == (None if said == "unknown" else said)  # type: ignore[literal-required]
    assert found["audio"] == (audio[0] if audio else "none")
    assert found["frame_rate"] == pytest.approx(float(Fraction(video["avg_frame_rate"])))
    seconds = float(video.get("duration") or told["format"]["duration"])
    assert found["duration_s"] == pytest.approx(seconds, abs=1e-6)
    # ffprobe repeats what the header of an AVI says; here the packets are added up, as in an MP4.
    if "bit_rate" in video and found["container"] != "avi":
        assert found["bit_rate"] == pytest.approx(int(video["bit_rate"]), abs=1)
    if found["b_frames"] is None or not pictures:
        return
    frames = probe(ffprobe, path, "-show_frames", "-select_streams", "v", *_PICTURES)["frames"]
    kinds = [frame["pict_type"] for frame in frames]
    assert found["gop_pattern"] == "".join(kinds[:24])
    assert found["b_frames"] == pytest.approx(kinds.count("B") / len(kinds))
    keys = [n for n, frame in enumerate(frames) if frame["key_frame"]]
    longest = max(b - a for a, b in zip(keys, [*keys[1:], len(frames)], strict=True))
    # Frames shown before the keyframe that they are sent after belong to the part before it.
    assert found["gop_length"] == pytest.approx(longest, abs=3)


#: The pictures themselves are not needed, and cost a third of the time.
_PICTURES = (
    *("-show_entries", "frame=pict_type,key_frame"),
    *("-threads", "1", "-skip_loop_filter", "all", "-skip_idct", "all"),
)


CLIPS = sorted(
    path.relative_to(SHARED / "data").as_posix()
    for folder in ("dfdc", "edge")
    for path in (SHARED / "data" / folder).rglob("*")
    if is_video(path.name)
)


@pytest.mark.parametrize("clip", CLIPS)
def test_clips_are_described_as_by_ffprobe(ffprobe: str, shared: Path, clip: str) -> None:
    """Picture by picture only every third, because ffprobe decodes the whole clip for that."""
    check_against_ffprobe(ffprobe, shared / "data" / clip, pictures=clip in CLIPS[::3])


def test_the_encoder_is_what_it_wrote_into_the_first_packet(real_clips: Path) -> None:
    encoder = stream_of(min(real_clips.rglob("*.mp4")))["encoder"]
    assert encoder is not None
    assert encoder.startswith("x264 - core 157 - H.264/MPEG-4 AVC codec")
    assert " crf=" in encoder


def test_quantisation_is_that_of_the_frames_read(real_clips: Path) -> None:
    path = min(real_clips.rglob("*.mp4"))
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"export_side_data": "venc_params"}
        told: Any = next(container.decode(stream)).side_data.get("VIDEO_ENC_PARAMS")
        blocks = told.qp_map()  # by PyAV, block by block
    found = stream_of(path)
    assert found["qp_mean"] == pytest.approx(np.mean(blocks))
    assert found["qp_deviation"] == pytest.approx(np.std(blocks))


def test_a_frame_without_blocks_is_quantised_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    with av.open(path, "w") as made:
        stream = made.add_stream("libvpx-vp9", rate=25, options={"cpu-used": "8"})
        stream.width = stream.height = 64
        picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        made.mux(stream.encode())
    with av.open(path) as container:
        video = container.streams.video[0]
        video.codec_context.options = {"export_side_data": "venc_params"}
        told: Any = next(container.decode(video)).side_data.get("VIDEO_ENC_PARAMS")
        assert told.nb_blocks == 0
        whole = told.qp
    found = stream_of(path)
    assert (found["qp_mean"], found["qp_deviation"]) == (whole, 0)


def test_a_clip_of_which_nothing_was_decoded_says_no_quantisation(real_clips: Path) -> None:
    found = stream_of(min(real_clips.rglob("*.mp4")), frames=0)
    assert found["qp_mean"] is None
    assert found["codec"] == "h264"


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (b"\x06\x05\x14" + b"u" * 16 + b"x264\x80", "x264"),
        (b"\x06\x05\x12" + b"u" * 16 + b"\xff\xfe\x80", None),  # no text
        (b"\x06\x05\xff", None),  # cut off
        (b"\x65\x88", None),  # a slice
    ],
)
def test_text_of_an_encoder(unit: bytes, text: str | None) -> None:
    assert encoder_text(memoryview(len(unit).to_bytes(4, "big") + unit), 4) == text


def test_nothing_that_was_asked_of_a_frame_keeps_it(real_clips: Path) -> None:
    """PyAV's `frame.side_data` would: it and the frame refer to each other."""
    with open_clip(next(real_clips.glob("*/*.mp4"))) as video:
        (frame,) = video.frames([0])
        decoded = frame.decoded
        assert frame.width
        assert video.stream["qp_mean"] is not None
    before = sys.getrefcount(decoded)
    del frame
    assert (before, sys.getrefcount(decoded)) == (3, 2)
