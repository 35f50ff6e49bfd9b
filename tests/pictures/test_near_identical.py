import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage.data import astronaut

from manifests.pictures.near_identical import (
    MIN_LIKENESS,
    find_near_identical,
    is_blank,
    rows_to_compare,
)
from manifests.pictures.thumbnails import SIDE, Thumbnails, thumbnail

Change = Callable[[Image.Image], Image.Image]


def encoded(image: Image.Image, kind: str = "PNG", quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=quality)
    return file.getvalue()


def part(left: int, top: int = 0, side: int = 224) -> Image.Image:
    return Image.fromarray(astronaut()).crop((left, top, left + side, top + side))


def thumbnails(*images: Image.Image | bytes) -> Thumbnails:
    found = [thumbnail(each if isinstance(each, bytes) else encoded(each)) for each in images]
    return np.stack([each for each in found if each is not None])


def moved(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.pad(np.asarray(image), ((0, 4), (4, 0), (0, 0)))[4:, :-4])


def jpeg(image: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "JPEG", 50)))


CHANGES: dict[str, Change] = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "tighter": lambda image: image.crop((11, 11, 213, 213)).resize((224, 224)),
    "moved": moved,
    "JPEG 50": jpeg,
    "darker": lambda image: image.point([level // 3 for level in range(256)] * 3),
    "half the size": lambda image: image.resize((112, 112)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_near_identical_and_another_picture_is_not(change: str) -> None:
    images = [part(0), part(140), CHANGES[change](part(0))]
    found = find_near_identical(thumbnails(*images), np.arange(3))
    (pair,) = zip(found.first, found.second, strict=True)
    assert {int(found.picture[0]), int(found.picture[2])} == set(pair)
    assert found.likeness.min() >= MIN_LIKENESS


def test_equal_pictures_are_one_and_pairs_within_a_group_are_not_sought() -> None:
    shown = thumbnails(part(0), encoded(part(0)), moved(part(0)))
    assert find_near_identical(shown, np.zeros(3, np.int64)).first.tolist() == []
    found = find_near_identical(shown, np.array([0, 1, 0]))
    assert found.picture[0] == found.picture[1] != found.picture[2]
    assert len(found.first) == 1  # the first two are in two groups


def test_blank_and_nearly_black_pictures_are_left_out() -> None:
    grain = np.random.default_rng(0).integers(0, 9, (2, 224, 224, 3)).astype(np.uint8)
    shown = thumbnails(*(Image.fromarray(each) for each in grain), Image.new("RGB", (224, 224)))
    assert is_blank(shown).all()
    assert find_near_identical(shown, np.arange(3)).picture.tolist() == [-1, -1, -1]
    assert not is_blank(thumbnails(part(0))).any()


def test_what_is_found_does_not_depend_on_the_order_of_the_rows() -> None:
    shown = thumbnails(*(part(at, at) for at in range(0, 60, 4)))
    order = np.random.default_rng(1).permutation(len(shown))
    one = find_near_identical(shown, np.arange(len(shown)))
    other = find_near_identical(shown[order], order)
    assert len(one.first)
    assert other.picture.tolist() == one.picture[order].tolist()
    for name in ("first", "second", "likeness"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_images_that_cannot_be_decoded_have_no_thumbnail() -> None:
    assert thumbnail(b"no image") is None
    assert thumbnail(encoded(part(0))[:1000]) is None
    found = thumbnail(encoded(Image.new("L", (30, 60), 7), "PNG"))
    assert found is not None
    assert found.shape == (SIDE, SIDE)
    assert (found == 7).all()


def test_of_a_large_table_some_frames_of_each_clip_are_compared() -> None:
    table = pa.table(
        {
            "video": [f"{clip}.mp4" for clip in range(10) for _ in range(5)],
            "label": ["REAL"] * 50,
            "original": pa.nulls(50, pa.string()),
            "frame": list(range(5)) * 10,
        }
    )
    assert rows_to_compare(table).all()
    few = rows_to_compare(table, 20).reshape(10, 5)
    assert few.sum(axis=1).tolist() == [2] * 10
    assert rows_to_compare(table, 7).reshape(10, 5).sum() == 7
