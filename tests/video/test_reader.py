"""Selective decoding yields bit-exact frames and distinguishes I/O errors from damage."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dfdc_prep.errors import ClipError, SourceUnreachable
from dfdc_prep.video.reader import open_clip


def decode_all(path: Path) -> list[np.ndarray]:
    """Every frame in presentation order, decoded sequentially."""
    with av.open(str(path)) as container:
        return [
            frame.reformat(format="rgb24", interpolation="AREA").to_ndarray()
            for frame in container.decode(video=0)
        ]


@pytest.mark.slow
def test_wanted_frames_equal_those_of_a_full_decode(real_clips: Path) -> None:
    path = real_clips / "dfdc_train_part_1" / "004.mp4"
    truth = decode_all(path)
    with open_clip(path) as video:
        assert video.timeline.count == len(truth)
        frames = list(video.frames([1, 2, 3, 120, 251, 305]))
    assert [frame.index for frame in frames] == [1, 2, 3, 120, 251, 305]
    assert all(np.array_equal(frame.rgb(), truth[frame.index]) for frame in frames)


@pytest.mark.slow
def test_a_seek_to_a_later_keyframe_changes_no_pixel(real_clips: Path) -> None:
    path = real_clips / "dfdc_train_part_1" / "004.mp4"
    with open_clip(path) as video:
        assert 250 in video.timeline.keyframes
        frame = next(iter(video.frames([250])))
    assert np.array_equal(frame.rgb(), decode_all(path)[250])


def test_times_are_seconds_from_the_first_frame(real_clips: Path) -> None:
    with open_clip(real_clips / "dfdc_train_part_1" / "634.mp4") as video:
        frames = list(video.frames([0, 250]))
    assert [frame.time_s for frame in frames] == [0.0, 10.0]


@pytest.mark.parametrize("name", ["video_90.mov", "video_180.mov"])
def test_rotated_clips_are_upright_as_in_opencv(shared: Path, name: str) -> None:
    path = shared / "data" / "edge" / name
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    expected = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    capture.release()
    with open_clip(path) as video:
        frame = next(iter(video.frames([0])))
    assert (frame.height, frame.width) == expected.shape[:2]
    assert np.abs(frame.rgb().astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "name", ["torchcodec_av1_video.mkv", "torchcodec_h264_10bits.mp4", "mmaction2_test.avi"]
)
def test_other_codecs_and_containers_are_bit_exact(shared: Path, name: str) -> None:
    path = shared / "data" / "edge" / name
    truth = decode_all(path)
    wanted = [1, len(truth) // 2, len(truth) - 1]
    with open_clip(path) as video:
        frames = list(video.frames(wanted))
    assert [frame.index for frame in frames] == wanted
    assert all(np.array_equal(frame.rgb(), truth[frame.index]) for frame in frames)


def test_a_damaged_clip_yields_the_frames_before_the_damage(shared: Path) -> None:
    with open_clip(shared / "data" / "edge" / "corrupted.mp4") as video:
        assert video.timeline.count == 50
        assert [frame.index for frame in video.frames(range(0, 50, 5))] == [0, 5, 10, 15, 20, 25]


def test_a_file_that_is_not_a_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(ClipError, match=r"expected a video in notes\.mp4"), open_clip(path):
        pass


def test_frames_above_the_pixel_limit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 8192, 8000, "yuvj420p"
        frame = av.VideoFrame(8192, 8000, "yuvj420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(ClipError, match="8192x8000"), open_clip(path):
        pass


def test_ffmpeg_errors_become_clip_errors(real_clips: Path) -> None:
    path = real_clips / "dfdc_train_part_1" / "004.mp4"
    with pytest.raises(ClipError, match=r"expected to decode 004\.mp4"), open_clip(path):
        raise av.error.PermissionError(1, "Operation not permitted")


def test_an_unknown_codec_is_refused(real_clips: Path, tmp_path: Path) -> None:
    clip = (real_clips / "dfdc_train_part_1" / "004.mp4").read_bytes()
    (tmp_path / "odd.mp4").write_bytes(clip.replace(b"avc1", b"zzzz"))
    with pytest.raises(ClipError, match=r"odd\.mp4"), open_clip(tmp_path / "odd.mp4"):
        pass


def test_a_file_that_cannot_be_read_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "failing.mp4").symlink_to(
        "/proc/self/mem"
    )  # opening succeeds, reading fails with EIO
    for name in ("gone.mp4", "failing.mp4"):
        with (
            pytest.raises(SourceUnreachable, match=f"expected to read .*{name}"),
            open_clip(tmp_path / name),
        ):
            pass


def test_an_io_error_while_reading_is_detected(real_clips: Path, tmp_path: Path) -> None:
    """FFmpeg treats a failed read as the end of the file and would yield fewer frames."""
    path = tmp_path / "clip.mp4"
    path.write_bytes((real_clips / "dfdc_train_part_1" / "519.mp4").read_bytes())
    with pytest.raises(SourceUnreachable, match="Input/output error"):
        list(frames_while(path, range(700), break_reading))


def frames_while(path: Path, wanted: range, fault: Callable[[Path], None]) -> Iterator[int]:
    """Yield the positions of a clip's frames; call `fault` after the fifth."""
    with open_clip(path) as video:
        for count, frame in enumerate(video.frames(wanted)):
            if count == 5:
                fault(path)
            assert frame.index < 699, "decoding continued despite the I/O error"
            yield frame.index


def break_reading(path: Path) -> None:
    """Replace the open file with one whose reads fail."""
    (opened,) = (n for n in os.listdir("/proc/self/fd") if same_file(n, path))
    broken = os.open("/proc/self/mem", os.O_RDONLY)
    os.dup2(broken, int(opened))
    os.close(broken)


def same_file(descriptor: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    except OSError:
        return False
