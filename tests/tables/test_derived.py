"""Tables made from another manifest than the folder's are refused by whoever reads them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dfdc_prep
from dfdc_prep.errors import OutputError, TableError
from manifests.arrow import IDENTITY_SCHEMA
from manifests.tables.parquet import (
    bound,
    check_bound,
    manifest_hash,
    read_manifest,
    write_faces_tables,
    write_table,
)
from tests.crop_sets import make_crops


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A faces folder with every table that is made from its manifest."""
    names = [f"{n}.mp4" for n in range(12)]
    fakes = [{"video": f"f{name}", "label": "FAKE", "original": name, "family": name}
             for name in names]  # fmt: skip
    folder = make_crops(tmp_path_factory.mktemp("made") / "faces", [{"video": n} for n in names])
    folder = make_crops(folder, [*({"video": n} for n in names), *fakes])
    rows = [{"video": n, "part": "dfdc_train_part_0", "family": n, "label": "REAL", "identity": n,
             "identity_source": "real", "identity_faces": 1} for n in names]  # fmt: skip
    people = pa.Table.from_pylist(rows, IDENTITY_SCHEMA)
    write_table(bound(people, manifest_hash(folder)), folder / "identities.parquet")
    dfdc_prep.balance(folder)
    dfdc_prep.split(folder, split="50/25/25")
    return folder


@pytest.fixture
def relabelled(made: Path, tmp_path: Path) -> Path:
    """The folder after `extract` ran again with another label of one clip."""
    folder = tmp_path / "faces"
    shutil.copytree(made, folder)
    rows = read_manifest(folder / "manifest.parquet").to_pylist()
    rows[-1]["label"] = "REAL"
    table = pa.Table.from_pylist(rows, pq.read_schema(folder / "manifest.parquet"))
    write_table(table, folder / "manifest.parquet")
    return folder


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "split": ("balance", dfdc_prep.split),
    "shard": ("balance", lambda f: dfdc_prep.shard(f, f.parent / "shards")),
    "shard a split": ("split", lambda f: dfdc_prep.shard(f, f.parent / "shards", crops="split")),
    "shard people": (
        "identify",
        lambda f: dfdc_prep.shard(f, f.parent / "shards", crops="all", group_by="identity"),
    ),
    "export": ("balance", lambda f: dfdc_prep.export_webdataset(f, f.parent / "out")),
    "audit": ("split", dfdc_prep.audit),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_stale_table_is_refused_and_the_command_named(relabelled: Path, reader: str) -> None:
    command, read = READERS[reader]
    again = rf"found one that was made from another manifest; run dfdc-prep {command} {relabelled}"
    with pytest.raises(TableError, match=again):
        read(relabelled)
    assert not (relabelled.parent / "shards").exists()
    assert not (relabelled.parent / "out").exists()


def test_the_command_named_makes_it_valid_again(relabelled: Path) -> None:
    with pytest.raises(TableError):
        dfdc_prep.split(relabelled)
    dfdc_prep.balance(relabelled)
    dfdc_prep.split(relabelled, split="50/25/25")
    with pytest.raises(TableError, match=r"identities.parquet made from the present manifest"):
        dfdc_prep.audit(relabelled)
    (relabelled / "identities.parquet").unlink()
    dfdc_prep.audit(relabelled)
    dfdc_prep.shard(relabelled, relabelled.parent / "shards", crops="split")


def test_equal_rows_are_no_other_manifest(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "faces")
    manifest = tmp_path / "faces/manifest.parquet"
    write_table(read_manifest(manifest), manifest)
    dfdc_prep.audit(tmp_path / "faces")


def test_a_table_that_does_not_say_its_manifest_is_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(made, folder)
    table = pq.read_table(folder / "balanced.parquet").replace_schema_metadata(None)
    write_table(table, folder / "balanced.parquet")
    with pytest.raises(TableError, match="no word of the manifest that it was made from; run"):
        dfdc_prep.split(folder)


def test_a_clip_log_of_another_run_is_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(made, folder)
    from manifests.arrow import CLIP_LOG_SCHEMA

    manifest = read_manifest(folder / "manifest.parquet")
    write_faces_tables(folder, manifest, CLIP_LOG_SCHEMA.empty_table())
    check_bound(folder / "clips.parquet", manifest_hash(folder), "dfdc-prep extract")
    write_table(manifest.slice(1), folder / "manifest.parquet")
    for read in (dfdc_prep.summarize, dfdc_prep.report):
        with pytest.raises(TableError, match="run dfdc-prep extract SOURCE"):
            read(folder)


@pytest.mark.parametrize("command", [dfdc_prep.balance, dfdc_prep.split, dfdc_prep.identify])
@pytest.mark.parametrize("kind", ["shards", "export"])
def test_no_table_is_written_into_a_folder_of_another_kind(
    made: Path, tmp_path: Path, command: Callable[[Path], object], kind: str
) -> None:
    folder = tmp_path / kind
    (dfdc_prep.shard if kind == "shards" else dfdc_prep.export_webdataset)(made, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match=rf"a faces folder at {folder}, found an? {kind}"):
        command(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_extract_overwrites_no_folder_of_another_kind(
    made: Path, tmp_path: Path, real_clips: Path, yunet_model: Path
) -> None:
    folder = tmp_path / "shards"
    dfdc_prep.shard(made, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OutputError, match="to be empty or to contain an earlier run"):
        dfdc_prep.extract(real_clips, folder, overwrite=True, detector_model=yunet_model)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
