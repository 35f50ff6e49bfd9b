"""Measures of crops, shortcuts among them, and the nearest pairs of crops."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dfdc_prep.reports import shortcuts
from dfdc_prep.reports.page import Table, Text
from dfdc_prep.reports.shards_report import NearPair, nearest_pairs, read_images
from dfdc_prep.reports.shortcuts import (
    ImageMeasures,
    Measure,
    find_shortcuts,
    measure_image,
    measure_images,
    shortcuts_section,
    stream_measures,
)
from dfdc_prep.video.timeline import evenly_spaced
from dfdc_prep.writing.audit_inputs import AuditInputs
from manifests.arrow import CLIP_LOG_SCHEMA, SHARD_MANIFEST_SCHEMA
from manifests.pictures.near_identical import NearIdentical
from manifests.schemas import ClipRow, make_row
from manifests.tables.parquet import read_manifest
from tests.reports.folders import shards_folder


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def test_a_flat_image_has_its_grey_level_and_no_sharpness() -> None:
    brightness, sharpness, size = measure_image(encoded(np.full((50, 50, 3), 77, np.uint8)))
    assert (brightness, sharpness) == (77, 0)
    assert size > 0


def test_a_blurred_image_is_less_sharp() -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    blurred = cv2.GaussianBlur(image, (0, 0), 3)
    assert measure_image(encoded(image))[1] > 50 * measure_image(encoded(blurred))[1]


@pytest.mark.parametrize("data", [None, b"", b"GIF89a", encoded(np.zeros((9, 9), np.uint8))[:40]])
def test_an_unusable_image_has_no_measures(data: bytes | None) -> None:
    assert np.isnan(measure_image(data)).all()


def test_identical_files_are_measured_once_and_missing_ones_counted() -> None:
    images = [encoded(np.full((9, 9), 5, np.uint8)), None, None, None]
    read: list[int] = []
    found = measure_images(lambda row: read.append(row) or images[row], ["a", "a", "a", "b"])
    assert set(read) == {0, 3}
    assert found.brightness[:3].tolist() == [5, 5, 5]
    assert (found.tried, found.unreadable) == (4, 1)


def test_of_many_images_evenly_spaced_ones_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    image = encoded(np.zeros((9, 9), np.uint8))
    monkeypatch.setattr(shortcuts, "MAX_BYTES", 3 * len(image))
    monkeypatch.setattr(shortcuts, "_WEIGHED", 2)
    found = measure_images(lambda row: image, ["same", *(str(n) for n in range(8)), "same"])
    assert found.tried == 4
    assert np.isfinite(found.brightness).tolist() == [
        True,
        *[False] * 3,
        True,
        *[False] * 3,
        True,
        True,
    ]


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 40))
def test_evenly_spaced_rows(rows: int, most: int) -> None:
    found = evenly_spaced(rows, most)
    assert len(found) == min(rows, most)
    assert found == sorted(set(found))
    assert all(0 <= row < rows for row in found)


def shortcut(
    values: list[float], label: list[int], clip: list[int] | None = None
) -> tuple[float, str, bool]:
    clips = np.array(range(len(label)) if clip is None else clip)
    measure = Measure("brightness", "grey levels", np.array(values, np.float64))
    (found,) = find_shortcuts([measure], np.array(label), clips)
    return found.auc, found.larger, found.separates


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=4))
def test_the_auc_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    values, label = [float(value) for value, _ in rows], [int(fake) for _, fake in rows]
    if len(set(label)) == 2:
        expected = roc_auc_score(label, values)
        assert shortcut(values, label)[0] == pytest.approx(max(expected, 1 - expected))


def test_a_measure_that_separates_the_labels_is_a_shortcut_in_its_direction() -> None:
    label = [0] * 20 + [1] * 20
    assert shortcut([*range(20), *range(30, 50)], label) == (1.0, "FAKE", True)
    assert shortcut([*range(30, 50), *range(20)], label) == (1.0, "REAL", True)


def test_few_clips_prove_nothing_however_many_crops_they_have() -> None:
    label, clip = [0] * 50 + [1] * 50, [0] * 25 + [1] * 25 + [2] * 25 + [3] * 25
    assert shortcut(list(range(100)), label, clip) == (1.0, "FAKE", False)


def section_of(values: list[float], label: list[int]) -> str:
    """The sentences about one measure, of clips with one crop each."""
    measure = Measure("brightness", "grey levels", np.array(values, np.float64))
    images = ImageMeasures(measure.values, measure.values, measure.values, len(values), 0)
    section, _ = shortcuts_section([measure], images, np.array(label), np.arange(len(label)))
    assert all(len(block.rows) for block in section.blocks if isinstance(block, Table))
    has_table = any(isinstance(block, Table) for block in section.blocks)
    sentence = next(block for block in section.blocks if isinstance(block, Text))
    return f"{sentence.kind}, {'a' if has_table else 'no'} table: {sentence.text}"


def test_few_clips_have_no_auc_and_no_all_clear() -> None:
    assert section_of([0, 1, 0, 1], [0, 0, 1, 1]) == (
        "plain, no table: 2 REAL clips and 2 FAKE clips: too few to say whether a single measure "
        "tells the labels apart."
    )
    of_20 = section_of([*range(10), *range(10)], [0] * 10 + [1] * 10)
    assert of_20.startswith("plain, a table: No single measure is seen to separate the labels.")
    assert of_20.endswith("AUC 0.50 over 20 clips, which leave room for an AUC of up to 0.81.")
    assert section_of([*range(100), *range(100)], [0] * 100 + [1] * 100).startswith("good, a table")


def test_unknown_values_and_one_label_are_left_out() -> None:
    unknown = Measure("time", "s", np.array([1.0, np.nan]))
    assert find_shortcuts([unknown], np.array([0, 1]), np.array([0, 1])) == []


def test_the_nearest_pairs_are_of_different_splits() -> None:
    table = pa.table({"split": ["train", "train", "test", "test", "validation"]})
    near = NearIdentical(
        np.array([0, 1, 2, 0, -1]),
        np.array([0, 0, 1]),
        np.array([1, 2, 2]),
        np.array([0.95, 0.91, 0.96], np.float32),
    )
    inputs = AuditInputs(table, near)
    found = [
        (round(pair.likeness, 2), pair.first, pair.second)
        for pair in nearest_pairs(inputs, np.arange(5), 9)
    ]
    assert found == [(1.0, 0, 3), (0.96, 1, 2), (0.95, 1, 3), (0.91, 0, 2)]
    assert nearest_pairs(inputs, np.arange(5), 1) == [NearPair(1.0, 0, 3)]
    of_two = nearest_pairs(inputs, np.array([0, 1, 0, 0, 1]), 9)
    assert [pair[1:] for pair in of_two] == [(0, 3), (1, 2)]


def test_images_of_shards_are_those_of_their_rows(tmp_path: Path) -> None:
    shards = shards_folder(tmp_path)
    table = read_manifest(shards / "manifest.parquet", schema=SHARD_MANIFEST_SCHEMA)
    rows = [table.num_rows - 1, 0, 3]
    found = read_images(shards, table, rows)
    paths = table["path"].to_pylist()
    assert found == {row: (tmp_path / "faces" / paths[row]).read_bytes() for row in rows}


def test_a_stream_that_differs_between_the_labels_is_a_shortcut() -> None:
    clips = pa.Table.from_pylist(
        [
            make_row(
                ClipRow,
                {
                    "video": f"{n:02}.mp4",
                    "part": "p",
                    "audio": "aac" if n % 2 else "none",
                    "qp_mean": n % 2 * 9.0,
                    "codec": "h264",
                },
            )
            for n in range(40)
        ],
        CLIP_LOG_SCHEMA,
    )
    crops = pa.table({"part": ["p"] * 61, "video": [f"{n % 30:02}.mp4" for n in range(60)] + ["?"]})
    label = np.arange(61) % 2
    measures = stream_measures(crops, clips)
    found = find_shortcuts(measures, label, np.arange(61) % 30)
    separating = {each.measure.name: each.clips for each in found if each.separates}
    # 30 of the 40 clips have crops; the last crop's clip is in no log. All have one codec.
    counts = {"REAL": 15, "FAKE": 15}
    assert separating == dict.fromkeys(("audio none", "audio aac", "qp mean"), counts)
    assert stream_measures(crops, None) == []
