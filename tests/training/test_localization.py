"""Heatmaps beside masks: scores, the evaluation of shards with masks, the picture of predict."""

import csv
import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.arrow import MANIFEST_SCHEMA
from manifests.splitting.split import SplitPlan
from tests.training.conftest import make_faces
from tests.training.test_predict import Middle
from training.evaluate import main
from training.evaluation import heatmaps
from training.evaluation.heatmaps import score_heatmap
from training.inference.face_crops import FaceCropOptions, find_faces
from training.runs.folder import Run


def mask_of(rows, columns):
    mask = np.zeros((224, 224), np.uint8)
    mask[rows, columns] = 255
    return mask


def test_a_heatmap_on_the_mask_scores_one_and_beside_it_zero():
    heatmap = np.zeros((7, 7), np.float32)
    heatmap[3, 3] = 5
    assert score_heatmap(heatmap, mask_of(slice(60, 164), slice(60, 164))) == (
        True,
        pytest.approx(1),
    )
    assert score_heatmap(heatmap, mask_of(slice(0, 40), slice(0, 40))) == (False, 0)
    assert score_heatmap(np.zeros((7, 7), np.float32), mask_of(slice(9), slice(9))) == (False, 0)


def test_an_even_heatmap_scores_the_area_of_the_mask():
    _, energy = score_heatmap(np.ones((7, 7), np.float32), mask_of(slice(112), slice(224)))
    assert energy == pytest.approx(0.5)


def test_shards_with_masks_are_evaluated_against_them(finished, tmp_path):
    faces = make_faces(tmp_path / "faces", families=8)
    rows = pq.read_table(faces / "balanced.parquet").to_pylist()
    for row in rows:
        if row["label"] == "FAKE":
            row["mask"] = row["path"].removesuffix(".png") + ".mask.png"
            Image.fromarray(mask_of(slice(64, 160), slice(64, 160))).save(faces / row["mask"])
            row["mask_sha256"] = hashlib.sha256((faces / row["mask"]).read_bytes()).hexdigest()
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), faces / "balanced.parquet")
    plan = SplitPlan.parse("40/30/30", "original", 1)
    write_crops(faces, tmp_path / "masked", TFRecords(), CropSelection(plan))
    result = CliRunner().invoke(main, [str(finished.folder), str(tmp_path / "masked")])
    assert result.exit_code == 0, result.output
    found = Run(finished.folder / "evaluations" / "masked-test").metrics().localization
    assert found.images > 0
    assert found.area == pytest.approx((96 / 224) ** 2)
    assert 0 <= found.energy <= 1
    assert "pointing game" in result.output
    mistakes = finished.folder / "evaluations" / "masked-test" / "mistakes"
    with open(mistakes / "mistakes.csv", newline="") as file:
        for row in csv.DictReader(file):
            with Image.open(mistakes / row["image"]) as drawn:
                assert drawn.width == (672 if row["label"] == "FAKE" else 448)
    assert finished.metrics().localization is None


def test_a_mask_beside_an_image_is_cut_and_drawn_with_it(tmp_path):
    Image.new("RGB", (256, 256), (90, 60, 50)).save(tmp_path / "000000_0.png")
    whole = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    Image.fromarray(whole).save(tmp_path / "000000_0.mask.png")
    options = FaceCropOptions(0.25, 1, False)
    (found,) = find_faces(tmp_path / "000000_0.png", Middle(), options).crops
    assert found.mask[0, 0, 0] == pytest.approx(32, abs=1)
    drawn = heatmaps.draw_side_by_side(found.crop, np.ones((7, 7), np.float32), found.mask)
    assert drawn.shape == (224, 672, 3)
    assert (drawn[:, 448:] == found.mask).all()
