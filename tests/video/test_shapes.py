"""Clips are read as players show them: turned, with square pixels, the stream that plays."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image as Pillow

from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip
from tests.video.shapes import MATRICES, Track, looks_like, shown, turn, write


def frames(path: Path) -> list[Image]:
    with open_clip(path) as clip:
        return [frame.rgb() for frame in clip.frames(range(clip.timeline.count))]


@pytest.mark.parametrize("name", MATRICES)
def test_every_display_matrix_is_applied(tmp_path: Path, name: str) -> None:
    matrix, stored = MATRICES[name]
    path = write(tmp_path / "turned.mp4", Track([stored(shown())] * 3))
    turn(path, matrix)
    with open_clip(path) as clip:
        (frame,) = clip.frames([1])
    assert (frame.width, frame.height) == (96, 64)
    assert looks_like(frame.rgb(), shown())
    assert looks_like(frame.rgb_part(8, 4, 88, 60), shown()[4:60, 8:88])
    assert frame.rgb(48).shape == (32, 48, 3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [("1/1", (96, 64)), ("64/45", (137, 64)), ("2/1", (192, 64)), ("1/2", (96, 128))],
)
def test_pixels_are_shown_square(
    tmp_path: Path, suffix: str, aspect: str, size: tuple[int, int]
) -> None:
    path = write(tmp_path / f"a.{suffix}", Track([shown()] * 12, pixel_aspect=Fraction(aspect)))
    with open_clip(path) as clip:
        (frame,) = clip.frames([1])
        assert clip.pixels in (size[0] * size[1], 96 * 64)
    wanted = np.asarray(Pillow.fromarray(shown()).resize(size))
    assert (frame.width, frame.height) == size
    assert looks_like(frame.rgb(), wanted)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("first", [True, False])
def test_a_poster_is_not_the_clip(tmp_path: Path, suffix: str, first: bool) -> None:
    poster = Track([np.zeros((48, 48, 3), np.uint8)], "mjpeg", pixels="yuvj420p")
    tracks = [Track([shown()] * 5), poster]
    path = write(tmp_path / f"a.{suffix}", *(tracks[::-1] if first else tracks))
    found = frames(path)
    assert len(found) == 5
    assert all(looks_like(image, shown()) for image in found)


def test_a_cover_alone_is_no_clip(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as song:
        cover = song.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        song.mux(cover.encode(av.VideoFrame.from_ndarray(shown())))
    with pytest.raises(ClipError, match="cover picture only"), open_clip(tmp_path / "song.mp4"):
        pass


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_a_clip(tmp_path: Path, form: str) -> None:
    pictures = [Pillow.fromarray(np.roll(shown(), 9 * i, axis=1)) for i in range(4)]
    path = tmp_path / f"a.{form.lower()}"
    pictures[0].save(path, form, save_all=True, append_images=pictures[1:], duration=160)
    with open_clip(path) as clip:
        found = list(clip.frames([1, 3]))
        assert (clip.timeline.count, clip.duration_s, clip.shortfall) == (4, 0.48, None)
    assert [(frame.index, frame.time_s) for frame in found] == [(1, 0.16), (3, 0.48)]
    assert looks_like(found[1].rgb(), np.roll(shown(), 27, axis=1))
