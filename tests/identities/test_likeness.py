"""Families whose pictures are the same or nearly so, in real crops."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from manifests.identities.evidence import compare_pictures
from manifests.pictures.thumbnails import SCENE_LENGTH, SIDE, Pictures, scenes, thumbnail


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_the_same_picture_and_its_mirror_image_make_families_alike(shared: Path) -> None:
    paths = sorted((shared / "data" / "identities").glob("John_S*/*.jpg"))[::11]
    photographs = [Image.open(path).convert("RGB").resize((224, 224)) for path in paths[:3]]
    one, other, third = photographs
    black = Image.new("RGB", (224, 224))
    images = [one, other, one, ImageOps.mirror(other), third, black, black]
    small = np.array([thumbnail(encoded(image)) for image in images])
    names = [f"{letter}.mp4" for letter in "abcdefg"]
    manifest = pa.table({"family": names, "label": ["REAL", "FAKE"] * 3 + ["REAL"]})
    found = compare_pictures(manifest, Pictures(np.arange(7), small))
    assert found.alike.tolist() == [[0, 2], [1, 3]]
    assert found.family.tolist() == list(range(7))
    assert found.scenes[0] @ found.scenes[2] == pytest.approx(SCENE_LENGTH**2, rel=0.01)
    assert not found.scenes[5].any()  # black crops are no evidence


def test_a_scene_is_the_mean_of_the_pixels_it_covers() -> None:
    wide = np.zeros((1, SIDE, SIDE), np.uint8)
    wide[:, :, SIDE // 2 :] = 200
    (found,) = scenes(wide).reshape(1, 12, 12)
    assert (found[:, :6] == -round(SCENE_LENGTH / 12)).all()
    assert (found[:, 6:] == round(SCENE_LENGTH / 12)).all()
