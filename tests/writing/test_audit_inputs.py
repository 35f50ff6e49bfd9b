from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.writing.audit_inputs import read_audit_inputs
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.auditing.audit import Audit, audit
from manifests.splitting.split import SplitPlan
from manifests.tables.external import Reading
from tests.bare_tables import write
from tests.crop_sets import make_faces


def audited(path: Path) -> Audit:
    found = read_audit_inputs(path)
    return audit(found.table, found.near)


def test_the_leak_of_the_real_crops_is_found(shared: Path) -> None:
    found = audited(shared / "data" / "crops")
    assert found.crossing == {"clips": (47, 60), "families": (47, 60)}
    assert [leak.shared for leak in found.families] == [47, 47, 47]
    assert [leak.shared for leak in found.files or []] == [50, 50, 50]
    assert [leak.shared for leak in found.images or []] == [50, 50, 50]
    assert found.compared == 167


@pytest.mark.parametrize(("group_by", "leaking"), [("original", False), ("none", True)])
def test_shards_are_audited_from_their_records(
    tmp_path: Path, group_by: str, leaking: bool
) -> None:
    faces = make_faces(tmp_path / "faces", families=20)
    write_crops(
        faces,
        tmp_path / "shards",
        TFRecords(),
        CropSelection(SplitPlan.parse("50/30/20", group_by)),
    )
    found = audited(tmp_path / "shards")
    assert found.compared == 40
    assert any(leak.shared for leak in found.families) == leaking
    assert not any(leak.shared for leak in found.files or [])


def test_images_of_a_csv_are_hashed_and_missing_ones_are_reported(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    make_faces(tmp_path / "set", families=2)
    inside = tmp_path / "set/crops/dfdc_train_part_0/clip000/000000_0.png"
    (tmp_path / "outside.png").write_bytes(inside.read_bytes())
    rows = [
        "crops/dfdc_train_part_0/clip000/000000_0.png,a,REAL,,train",
        "crops/dfdc_train_part_0/clip001/000000_0.png,b,REAL,,test",
        "crops/absent.png,c,FAKE,d,test",
        "../outside.png,e,FAKE,f,test",
    ]
    table = write(tmp_path / "set", "\n".join(["path,video,label,original,split", *rows]) + "\n")
    found = audited(table)
    assert found.compared == 2
    assert "images compared: only 2" in found.text()
    assert not found.leaking


def test_a_path_without_a_data_set_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DfdcPrepError, match=r"^expected .* found .*; [a-z]+"):
            read_audit_inputs(path)


def make_tree(folder: Path, paths: Iterable[str]) -> Path:
    """Write a picture of noise, each another one, at every path."""
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(folder / path)
    return folder


CLIPS = {"real": ["r0", "r1", "r2"], "fake": ["f0", "f1", "f2"]}


def test_frames_of_clips_that_are_in_two_splits(tmp_path: Path) -> None:
    frames = {"train": (0, 1), "test": (1, 2)}
    paths = (
        f"{split}/{label}/{clip}/{frame}.png"
        for label, clips in CLIPS.items()
        for clip in clips
        for split, numbers in frames.items()
        for frame in numbers
    )
    found = audited(make_tree(tmp_path, paths))
    assert found.crossing["clips"] == (6, 6)
    assert [leak.rate for leak in found.families] == [1.0]


def test_frames_of_clips_in_one_split_each(tmp_path: Path) -> None:
    paths = (
        f"{'test' if clip.endswith('0') else 'train'}/{label}/{clip}/{frame}.png"
        for label, clips in CLIPS.items()
        for clip in clips
        for frame in range(3)
    )
    found = audited(make_tree(tmp_path, paths))
    assert found.crossing["clips"] == (0, 6)
    assert [leak.rate for leak in found.families] == [0.0]


def test_names_that_say_nothing_give_no_count_of_clips(tmp_path: Path) -> None:
    places = [("Train", "Real"), ("Train", "Fake"), ("Test", "Real"), ("Test", "Fake")]
    names = (
        f"{split}/{label}/{label.lower()}_{n}.jpg" for split, label in places for n in range(4)
    )
    inputs = read_audit_inputs(make_tree(tmp_path, names))
    assert inputs.notes[0].startswith("clips: not known; names such as T")
    found = audit(inputs.table, inputs.near)
    assert "clips" not in found.crossing
    assert not any(leak.rate for leak in found.families)
    given = read_audit_inputs(tmp_path, reading=Reading(r"/(?P<clip>[a-z]+_\d)"))
    assert given.notes[0].startswith("8 clips, read by the pattern given")
    assert audit(given.table, given.near).crossing["clips"] == (8, 8)


def test_images_outside_the_layout_are_counted(tmp_path: Path) -> None:
    paths = ["train/real/a_0.png", "test/fake/b_0.png", "notes/a.png", "b.png"]
    notes = read_audit_inputs(make_tree(tmp_path, paths)).notes
    assert "left out, in no folder such as train/real: 2 images" in notes


def test_clips_from_is_refused_where_clips_have_names(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=2)
    (faces / "balanced.parquet").rename(faces / "manifest.parquet")
    with pytest.raises(DfdcPrepError, match=r"--clips-from and --real-is, found .*; leave them"):
        read_audit_inputs(faces, reading=Reading("name"))
