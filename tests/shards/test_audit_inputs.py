from pathlib import Path

import pytest

from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.shards.audit_inputs import read_audit_inputs
from dfdc_prep.shards.writer import ShardOptions, write_shards
from manifests.auditing.audit import Audit, audit
from manifests.splitting.split import SplitPlan
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
    write_shards(faces, tmp_path / "shards", ShardOptions(SplitPlan.parse("50/30/20", group_by)))
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
    assert "only 2 images were compared" in found.text()
    assert not found.leaking


def test_a_path_without_a_data_set_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DfdcPrepError, match=r"^expected .* found .*; [a-z]+"):
            read_audit_inputs(path)
