"""Copies of a clip are told from others; sketches estimate how near two pictures are."""

import math
from pathlib import Path

import av
import numpy as np
import pytest

from dfdc_prep.recipe.fingerprints import (
    FRAME_VALUES,
    clip_print,
    crop_print,
    describe_copy,
    psnr,
    squared_error,
)


def random_image(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)


def test_the_sketch_of_a_picture_stays_the_same() -> None:
    pixels, sketch = crop_print(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    assert (pixels.hex(), sketch.hex()) == ("1d4a9f", "64ff8a00")


@pytest.mark.parametrize("size", [64, 224, 1024])
@pytest.mark.parametrize("sigma", [1, 8])
def test_sketches_give_the_squared_error(size: int, sigma: int) -> None:
    rng = np.random.default_rng(1)
    found = []
    for seed in range(30):
        image = random_image(size, seed)
        other = np.clip(image + rng.normal(0, sigma, image.shape).round(), 0, 255).astype(np.uint8)
        true = ((image.astype(float) - other) ** 2).mean()
        sketches = crop_print(image)[1], crop_print(other)[1]
        found.append(squared_error(*sketches, image.size) / true)
    # 60 projections: the mean of the ratio has a standard error of sqrt(2 / 60) = 0.18.
    assert np.mean(found) == pytest.approx(1, abs=0.55)


def test_equal_pictures_are_infinitely_near() -> None:
    sketch = crop_print(random_image(224))[1]
    assert psnr(sketch, sketch, 224 * 224 * 3) == math.inf
    assert psnr(sketch, crop_print(random_image(224, 1))[1], 224 * 224 * 3) < 25


def copy(clip: Path, to: Path, frames: int | None = None) -> Path:
    """Copy the packets of a clip's video, or the first of them, into another container."""
    with av.open(str(clip)) as source, av.open(str(to), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.dts is None or (frames is not None and number >= frames):
                continue
            packet.stream = stream
            target.mux(packet)
    return to


def encode(clip: Path, to: Path, crf: int) -> Path:
    """Encode the first frames of a clip again."""
    with av.open(str(clip)) as source, av.open(str(to), "w") as target:
        first = source.streams.video[0]
        stream = target.add_stream("libx264", first.average_rate, {"crf": str(crf)})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for number, frame in enumerate(source.decode(first)):
            if number == 10:
                break
            frame.pict_type = av.video.frame.PictureType.NONE
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return to


@pytest.mark.slow
def test_each_copy_is_named_as_what_it_is(real_clips: Path, tmp_path: Path) -> None:
    clip = real_clips / "dfdc_train_part_1" / "004.mp4"
    fake = clip.with_name("004_982.mp4")
    expected = clip_print(clip)
    assert expected.frames == 309
    assert expected.size == clip.stat().st_size
    broken, begin = tmp_path / "broken.mp4", tmp_path / "begin.mp4"
    broken.write_bytes(b"\0" * 10_000)
    begin.write_bytes(clip.read_bytes()[: expected.size // 2])
    found = {
        "same": describe_copy(clip, expected),
        "re-muxed": describe_copy(copy(clip, tmp_path / "a.mkv"), expected),
        "cut": describe_copy(copy(clip, tmp_path / "b.mp4", 100), expected),
        "encoded": describe_copy(encode(clip, tmp_path / "c.mp4", 23), expected),
        "encoded badly": describe_copy(encode(clip, tmp_path / "d.mp4", 45), expected),
        "other": describe_copy(clip.with_name("519.mp4"), expected),
        "relative": describe_copy(fake, expected, [clip_print(fake).sha256]),
        "broken": describe_copy(broken, expected),
        "begin": describe_copy(begin, expected),
    }
    assert found == {
        "same": "same",
        "re-muxed": "re-muxed",
        "cut": "cut short",
        "encoded": "re-encoded",
        "encoded badly": "re-encoded",
        "other": "other clip",
        "relative": "other clip",
        "broken": "unreadable",
        "begin": "cut short",
    }


def test_a_folder_of_frames(tmp_path: Path) -> None:
    import cv2

    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), random_image(64, number))
    expected = clip_print(tmp_path)
    assert expected.frames == 3
    assert describe_copy(tmp_path, expected) == "same"
    (tmp_path / "2.png").unlink()
    assert describe_copy(tmp_path, expected) == "cut short"
    cv2.imwrite(str(tmp_path / "0.png"), random_image(64, 7))
    assert describe_copy(tmp_path, expected) == "other clip"


def test_a_clip_that_does_not_open_has_a_print_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 1000)
    found = clip_print(tmp_path / "a.mp4")
    assert (found.size, found.frames, found.sketch) == (1000, None, None)
    assert describe_copy(tmp_path / "a.mp4", found) == "same"
    assert len(np.frombuffer(b"\0" * 16, "<i2")) == 8
    assert FRAME_VALUES == 12288
