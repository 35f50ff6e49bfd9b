"""Shards and exports: whole or not at all, the same bytes each time, never over other files."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.errors import OptionsDiffer, OutputError, ShardError, TableError
from dfdc_prep.writing.deepfakebench import DeepfakeBench
from dfdc_prep.writing.huggingface import HuggingFace
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.webdataset import WebDataset
from dfdc_prep.writing.writer import Format, WriteReport, write_crops
from manifests.splitting.split import SplitPlan
from tests.crop_sets import make_faces

EXPORTS = [
    dfdc_prep.export_deepfakebench,
    dfdc_prep.export_huggingface,
    dfdc_prep.export_webdataset,
]
each_export = pytest.mark.parametrize("export", EXPORTS, ids=lambda each: each.__name__)
each_format = pytest.mark.parametrize(
    "export", [*EXPORTS, dfdc_prep.shard], ids=lambda each: each.__name__
)
Export = Callable[..., WriteReport]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("exports") / "faces", families=20)


def sums(out: Path) -> str:
    return (out / "SHA256SUMS").read_text()


@pytest.mark.parametrize(
    "output",
    [DeepfakeBench(), HuggingFace(3), WebDataset(3), TFRecords(3)],
    ids=lambda output: output.name,
)
def test_one_worker_and_three_leave_the_same_bytes(
    output: Format, faces: Path, tmp_path: Path
) -> None:
    selection = CropSelection(SplitPlan.parse("56/24/20"))
    for workers in (1, 3):
        write_crops(faces, tmp_path / str(workers), output, selection, workers=workers)
    assert sums(tmp_path / "1") == sums(tmp_path / "3")
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / "1")
    assert done.returncode == 0
    files = [path for path in (tmp_path / "1").rglob("*") if path.is_file()]
    assert len(sums(tmp_path / "1").splitlines()) == len(files) - 1


@each_export
def test_the_manifest_has_the_splits_of_the_shards(
    export: Export, faces: Path, tmp_path: Path
) -> None:
    dfdc_prep.shard(faces, tmp_path / "shards")
    export(faces, tmp_path / "out")
    found = [
        dict(zip(table["path"].to_pylist(), table["split"].to_pylist(), strict=True))
        for table in (
            pq.read_table(tmp_path / name / "manifest.parquet") for name in ("shards", "out")
        )
    ]
    assert found[0] == found[1]
    assert not dfdc_prep.audit(tmp_path / "out").leaking


@each_format
def test_the_same_again_other_options_and_overwrite(
    export: Export, faces: Path, tmp_path: Path
) -> None:
    first = export(faces, tmp_path / "out")
    again = export(faces, tmp_path / "out")
    assert again.already_exists
    assert again.crops == first.crops == {"train": 22, "validation": 10, "test": 8}
    with pytest.raises(OptionsDiffer, match=r"found another seed; use --overwrite"):
        export(faces, tmp_path / "out", seed=1)
    before = sums(tmp_path / "out")
    export(faces, tmp_path / "out", seed=1, overwrite=True)
    assert sums(tmp_path / "out") != before
    assert os.listdir(tmp_path) == ["out"]


def test_an_audit_of_an_export_names_no_report(faces: Path, tmp_path: Path) -> None:
    dfdc_prep.export_webdataset(faces, tmp_path / "out")
    dfdc_prep.shard(faces, tmp_path / "shards")
    for folder, hinted in (("out", False), ("shards", True)):
        done = CliRunner().invoke(main, ["audit", str(tmp_path / folder)])
        assert "in more than one split" in done.output
        assert ("dfdc-prep report" in done.output) is hinted


@each_format
def test_foreign_files_are_never_removed(export: Export, faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(faces, out)
    thesis = next(path for path in [*out.rglob("*"), out] if path.is_dir()) / "thesis.txt"
    thesis.write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.txt; move it"):
        export(faces, out, overwrite=True)
    assert thesis.read_text() == "years of work"


@each_export
def test_shards_and_exports_do_not_replace_each_other(
    export: Export, faces: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(faces, out)
    dfdc_prep.shard(faces, tmp_path / "shards")
    with pytest.raises(OptionsDiffer, match="to be empty or an export, found something else"):
        export(faces, tmp_path / "shards", overwrite=True)
    with pytest.raises(OptionsDiffer, match="to be empty or a shards folder"):
        dfdc_prep.shard(faces, out, overwrite=True)


@pytest.mark.slow
@each_format
def test_a_full_disk_leaves_nothing(export: Export, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=20, suffix="jpg")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(OutputError, match=os.strerror(errno.EFBIG)):
            export(faces, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["faces"]


KILLED = """
import os, signal, sys
import dfdc_prep
from dfdc_prep.writing import deepfakebench, sharding
from dfdc_prep.parallel.threads import RecordBar

class Deadly(RecordBar):
    def add(self, size):
        super().add(size)
        if self._bytes > 500_000:
            os.kill(os.getpid(), signal.SIGKILL)

sharding.RecordBar = deepfakebench.RecordBar = Deadly
getattr(dfdc_prep, sys.argv[1])(sys.argv[2], sys.argv[3])
"""


@pytest.mark.slow
@each_format
def test_a_killed_run_leaves_nothing_and_the_next_one_the_same_bytes(
    export: Export, faces: Path, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", KILLED, export.__name__, str(faces), str(tmp_path / "out")]
    assert subprocess.run(arguments).returncode == -signal.SIGKILL
    left, lock = sorted(os.listdir(tmp_path))
    assert lock == ".out.lock"
    assert re.fullmatch(r"\.out\.[0-9a-f]{16}\.partial", left)
    export(faces, tmp_path / "out")
    export(faces, tmp_path / "other")
    assert sums(tmp_path / "out") == sums(tmp_path / "other")
    assert sorted(n for n in os.listdir(tmp_path) if n[0] != ".") == ["other", "out"]
    assert not (tmp_path / left).exists()


@each_format
def test_a_split_without_crops_is_an_error(export: Export, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=2)
    with pytest.raises(TableError, match="expected crops in every split, found none in "):
        export(faces, tmp_path / "out")
    assert os.listdir(tmp_path) == ["faces"]


@pytest.mark.slow
@each_format
def test_an_altered_crop_is_named(export: Export, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=20)
    crop = next(faces.rglob("*.png"))
    crop.write_bytes(crop.read_bytes()[:-9])
    with pytest.raises(ShardError, match=crop.parent.name):
        export(faces, tmp_path / "out")
    assert os.listdir(tmp_path) == ["faces"]
