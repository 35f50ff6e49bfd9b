"""The commands on tables, shards and reports do in a bucket what they do on a disk."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.errors import OptionsDiffer, OutputError, TableError
from tests.crop_sets import make_faces
from tests.storage.server import S3Server
from tests.storage.test_extract import on_disk


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A faces folder with 24 crops."""
    folder = make_faces(tmp_path / "faces")
    shutil.copyfile(folder / "balanced.parquet", folder / "manifest.parquet")
    (folder / "balanced.parquet").unlink()
    return folder


@pytest.fixture
def url(faces: Path, s3: S3Server, bucket: str) -> str:
    """The same folder in a bucket."""
    s3.upload(faces, bucket, "faces")
    return f"s3://{bucket}/faces"


def test_the_tables_are_the_same(faces: Path, url: str, s3: S3Server, bucket: str) -> None:
    for where in (str(faces), url):
        dfdc_prep.balance(where, per_class=10)
        result = dfdc_prep.split(where, split="60/20/20")
    assert str(result).endswith(f"written to {url}/split.parquet")
    assert s3.files(bucket, "faces") == on_disk(faces)
    assert str(dfdc_prep.summarize(url)) == str(dfdc_prep.summarize(str(faces)))
    assert str(dfdc_prep.audit(url)) == str(dfdc_prep.audit(str(faces)))


def test_a_table_is_written_where_out_says(url: str, s3: S3Server, bucket: str) -> None:
    dfdc_prep.balance(url, out=f"s3://{bucket}/tables/balanced.csv", per_class=10)
    assert list(s3.files(bucket, "tables")) == ["balanced.csv"]
    dfdc_prep.split(f"s3://{bucket}/tables/balanced.csv", out=f"{url}/own.csv")
    assert "own.csv" in s3.files(bucket, "faces")


def test_shards_are_the_same_and_whole(
    faces: Path, url: str, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    for where, out in ((str(faces), str(tmp_path / "shards")), (url, f"s3://{bucket}/shards")):
        dfdc_prep.balance(where, per_class=12)
        dfdc_prep.shard(where, out, shards=2)
    assert s3.files(bucket, "shards") == on_disk(tmp_path / "shards")
    assert dfdc_prep.verify(f"s3://{bucket}/shards").ok
    again = dfdc_prep.shard(url, f"s3://{bucket}/shards", shards=2)
    assert f"s3://{bucket}/shards already exists" in str(again)
    with pytest.raises(OptionsDiffer, match=rf"options in s3://{bucket}/shards, found another"):
        dfdc_prep.shard(url, f"s3://{bucket}/shards", shards=1)
    dfdc_prep.shard(url, f"s3://{bucket}/shards", shards=1, overwrite=True)
    assert dfdc_prep.verify(f"s3://{bucket}/shards").ok
    assert len([name for name in s3.files(bucket, "shards") if ".tfrecord-" in name]) == 3


@pytest.mark.parametrize("export", [dfdc_prep.export_webdataset, dfdc_prep.export_deepfakebench])
def test_an_export_is_the_same(
    faces: Path, url: str, s3: S3Server, bucket: str, tmp_path: Path, export: Callable[..., object]
) -> None:
    for where, out in ((str(faces), str(tmp_path / "out")), (url, f"s3://{bucket}/out")):
        dfdc_prep.balance(where, per_class=12)
        export(where, out)
    assert s3.files(bucket, "out") == on_disk(tmp_path / "out")
    assert "already" in str(export(url, f"s3://{bucket}/out"))


def test_crops_that_are_not_balanced_are_fetched(
    faces: Path, url: str, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    for where, out in ((str(faces), str(tmp_path / "all")), (url, f"s3://{bucket}/all")):
        dfdc_prep.shard(where, out, crops="all", test_only=True)
    assert s3.files(bucket, "all") == on_disk(tmp_path / "all")


def test_a_damaged_shard_is_found(faces: Path, url: str, s3: S3Server, bucket: str) -> None:
    dfdc_prep.balance(url, per_class=12)
    dfdc_prep.shard(url, f"s3://{bucket}/shards", shards=2)
    name = next(name for name in s3.files(bucket, "shards") if ".tfrecord-" in name)
    s3.client().put_object(Bucket=bucket, Key=f"shards/{name}", Body=b"damaged")
    result = dfdc_prep.verify(f"s3://{bucket}/shards")
    assert not result.ok
    assert name in str(result)


def test_a_report_is_written_beside_the_folder(
    faces: Path, url: str, s3: S3Server, bucket: str
) -> None:
    result = dfdc_prep.report(url)
    assert str(result.out) == f"{url}/report.html"
    dfdc_prep.report(str(faces))
    assert s3.files(bucket, "faces") == on_disk(faces)


def test_an_import_is_the_same(shared: Path, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    crops = tmp_path / "set" / "crops"
    crops.mkdir(parents=True)
    rows = ["path,label"]
    for label in ("real", "fake"):
        for path in sorted((shared / "data" / "crops" / "train" / label).iterdir())[:4]:
            shutil.copyfile(path, crops / path.name)
            rows.append(f"{path.name},{label}")
    (tmp_path / "set" / "table.csv").write_text("\n".join(rows))
    s3.upload(tmp_path / "set", bucket, "set")
    dfdc_prep.import_crops(crops, tmp_path / "set" / "table.csv", tmp_path / "faces")
    url = f"s3://{bucket}"
    dfdc_prep.import_crops(f"{url}/set/crops", f"{url}/set/table.csv", f"{url}/faces")
    assert s3.files(bucket, "faces") == on_disk(tmp_path / "faces")
    dfdc_prep.import_crops(f"{url}/set/crops", f"{url}/set/table.csv", f"{url}/faces")
    assert s3.files(bucket, "faces") == on_disk(tmp_path / "faces")


def test_errors_name_the_url(s3: S3Server, bucket: str) -> None:
    with pytest.raises(TableError, match=rf"expected a table at s3://{bucket}/none/manifest"):
        dfdc_prep.balance(f"s3://{bucket}/none")


def test_a_foreign_file_is_never_removed(faces: Path, url: str, s3: S3Server, bucket: str) -> None:
    dfdc_prep.balance(url, per_class=12)
    s3.client().put_object(Bucket=bucket, Key="shards/notes.txt", Body=b"mine")
    with pytest.raises(OptionsDiffer, match="found something else"):
        dfdc_prep.shard(url, f"s3://{bucket}/shards", overwrite=True)
    s3.client().put_object(Bucket=bucket, Key="other/notes.txt", Body=b"mine")
    (faces.parent / "metadata.json").write_text('{"a.mp4": {"label": "REAL"}}')
    with pytest.raises(OutputError, match=r"found notes\.txt"):
        dfdc_prep.extract(str(faces.parent), f"s3://{bucket}/other", overwrite=True)
    assert s3.files(bucket, "shards")["notes.txt"] == b"mine"


def test_the_command_line_says_the_same(url: str, s3: S3Server) -> None:
    done = CliRunner().invoke(main, ["balance", url, "--per-class", "10"])
    assert done.exit_code == 0, done.output
    assert f"written to {url}/balanced.parquet" in done.output
    done = CliRunner().invoke(main, ["summary", url])
    assert f"dfdc-prep report {url}" in done.output
