"""A clip whose file ends early is truncated, whatever of it decodes; an intact one is not."""

from pathlib import Path

import pytest

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.errors import ClipError
from dfdc_prep.extraction.clip import Boxes, ClipExtractor, ClipResult, Relatives
from dfdc_prep.video.reader import open_clip
from dfdc_prep.video.timeline import common_length
from tests.crop_sets import crop_options
from tests.video.shapes import Track, noise, write

#: Container and codec, and options of the container.
KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "a.mp4": ("libx264", {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "a.mov": ("libx264", {"movflags": "faststart"}),
    "a.mkv": ("libx264", {}),
    "a.webm": ("libvpx", {}),
    "a.avi": ("mpeg4", {}),
    "a.flv": ("libx264", {}),
    "a.ts": ("libx264", {}),
    "a.m2ts": ("libx264", {}),
    "a.mpg": ("mpeg2video", {}),
    "a.wmv": ("wmv2", {}),
}


class Nothing:
    """A detector that finds no face."""

    name = "nothing"

    def detect(self, picture: object) -> list[object]:
        return []

    def detect_fast(self, picture: object, before: object) -> list[object]:
        return []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for name, (codec, options) in KINDS.items():
        write(folder / name, Track(noise(40), codec), options=options)
    return folder


def extracted(path: Path, frames: int = 3, relatives: Relatives | None = None) -> ClipResult:
    clip = Clip("p", path.name, "REAL", None, path.name, path.stem, str(path), 1)
    extractor = ClipExtractor(crop_options(frames=frames), Nothing())  # type: ignore[arg-type]
    return extractor.extract(clip, path.parent, relatives or Relatives())


@pytest.mark.parametrize("name", KINDS)
def test_an_intact_clip_is_whole(whole: Path, name: str) -> None:
    assert extracted(whole / name).status == "no_face"


@pytest.mark.parametrize("filled", [False, True], ids=["cut off", "filled with zeros"])
@pytest.mark.parametrize("name", KINDS)
def test_a_clip_of_which_the_end_is_missing_is_truncated(
    whole: Path, tmp_path: Path, name: str, filled: bool
) -> None:
    data = (whole / name).read_bytes()
    kept = len(data) * 6 // 10
    (tmp_path / name).write_bytes(data[:kept] + bytes(len(data) - kept) * filled)
    result = extracted(tmp_path / name, frames=1)
    assert (result.status, result.frames_decoded) == ("truncated", 1)
    assert result.error is not None
    assert ("the end of the file is empty" if filled else f"ends after {kept:,} of") in result.error


def test_a_clip_whose_index_is_missing_says_why(whole: Path, tmp_path: Path) -> None:
    write(tmp_path / "whole.mp4", Track(noise(40)))
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(ClipError, match="the file ends after"), open_clip(tmp_path / "cut.mp4"):
        pass


def test_bytes_after_the_last_box_are_no_part_of_a_clip(whole: Path, tmp_path: Path) -> None:
    data = (whole / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data + b"signed by somebody")
    (tmp_path / "b.mp4").write_bytes(data + (20_008).to_bytes(4, "big") + b"free" + bytes(20_000))
    assert [extracted(tmp_path / f"{n}.mp4").status for n in "ab"] == ["no_face", "no_face"]


def clip_of(path: Path, frames: int) -> Clip:
    write(path, Track(noise(frames)))
    return Clip("p", path.name, "FAKE", None, "0.mp4", path.stem, str(path), 1)


def test_the_frames_of_a_family_are_those_that_all_its_clips_have(tmp_path: Path) -> None:
    original, fake = clip_of(tmp_path / "0.mp4", 60), clip_of(tmp_path / "1.mp4", 40)
    alone = extracted(Path(original.path), 10)
    together = extracted(Path(original.path), 10, Relatives(others=(fake,)))
    assert alone.boxes is not None
    assert together.boxes is not None
    assert max(alone.boxes.frames) >= 40 > max(together.boxes.frames)
    assert len(together.boxes.frames) == 10
    shared = extracted(Path(fake.path), 10, Relatives(together.boxes))
    assert (shared.status, shared.frames_decoded) == ("no_face", 10)


def test_a_clip_without_the_familys_frames_takes_frames_of_its_own(tmp_path: Path) -> None:
    fake = clip_of(tmp_path / "1.mp4", 12)
    boxes = Boxes("original", 96, 64, tuple(range(5, 60, 6)), ((),) * 10)
    assert extracted(Path(fake.path), 10, Relatives(boxes)).frames_decoded == 10


def test_a_much_shorter_clip_does_not_take_the_frames_of_the_others() -> None:
    assert common_length(10, 300, [290, None, 20, 9]) == 290
    assert common_length(10, 300, [300, 400]) == 300
    assert common_length(200, 300, [160, 250]) == 250
