"""`extract` from and to a bucket writes the same bytes as on a disk."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import dfdc_prep
from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors.registry import choose_detector
from dfdc_prep.errors import OptionsDiffer, OutputError, StorageError
from dfdc_prep.extraction.clip import Relatives
from dfdc_prep.extraction.summary import RunSummary
from dfdc_prep.extraction.worker import Transfer, extract_in_worker, init_worker
from dfdc_prep.storage.place import Place, lease
from dfdc_prep.storage.urls import Url
from manifests.tables.parquet import read_manifest
from tests.crop_sets import crop_options
from tests.forged_clips import make_masked_family
from tests.storage.server import ACCESS_KEY, SECRET_KEY, S3Server

TABLES = ("manifest.parquet", "metadata.csv")
Extract = Callable[..., RunSummary]


@pytest.fixture
def extract(yunet_model: Path) -> Extract:
    def call(source: object, out: object, **how: object) -> RunSummary:
        how = {"frames": 2, "workers": 2, **how}
        return dfdc_prep.extract(
            str(source), str(out), detector="yunet", detector_model=yunet_model, **how
        )

    return call


@pytest.fixture
def family(real_clips: Path, tmp_path: Path) -> Path:
    """A source with one original and its fake."""
    folder = tmp_path / "dfdc" / "dfdc_train_part_1"
    folder.mkdir(parents=True)
    part = real_clips / folder.name
    text = (part / "metadata.json").read_text()
    names = [path.name for path in sorted(part.glob("*.mp4")) if path.name.startswith("004")]

    listed = {name: row for name, row in json.loads(text).items() if name in names}
    (folder / "metadata.json").write_text(json.dumps(listed))
    for name in names:
        shutil.copyfile(part / name, folder / name)
    return folder.parent


def sums(files: dict[str, bytes]) -> dict[str, str]:
    """The hashes of crops, masks and the tables that hold no times."""
    chosen = {n: d for n, d in files.items() if n.startswith("crops/") or n in TABLES}
    return {name: hashlib.sha256(data).hexdigest() for name, data in chosen.items()}


def on_disk(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_all_ways_write_the_same_bytes(
    extract: Extract, real_clips: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    s3.upload(real_clips, bucket, "dfdc")
    extract(real_clips, tmp_path / "faces", frames=1)
    wanted = sums(on_disk(tmp_path / "faces"))
    assert len(wanted) >= 14
    result = extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces", frames=1)
    assert str(result.out) == f"s3://{bucket}/faces"
    assert sums(s3.files(bucket, "faces")) == wanted
    extract(f"s3://{bucket}/dfdc", tmp_path / "from", frames=1)
    assert sums(on_disk(tmp_path / "from")) == wanted
    extract(real_clips, f"s3://{bucket}/to", frames=1)
    assert sums(s3.files(bucket, "to")) == wanted


def test_masks_are_the_same(
    extract: Extract, family: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    s3.upload(family, bucket, "dfdc")
    extract(family, tmp_path / "faces", masks=True)
    extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces", masks=True)
    wanted = sums(on_disk(tmp_path / "faces"))
    assert any("mask" in name for name in wanted)
    assert sums(s3.files(bucket, "faces")) == wanted


def test_given_masks_are_the_same(
    extract: Extract, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    make_masked_family(tmp_path / "ff")
    s3.upload(tmp_path / "ff", bucket, "ff")
    extract(tmp_path / "ff", tmp_path / "faces", masks=True)
    extract(f"s3://{bucket}/ff", f"s3://{bucket}/faces", masks=True)
    rows = read_manifest(tmp_path / "faces" / "manifest.parquet")
    assert rows["mask_source"].to_pylist() == ["given"] * 2 + [None] * 2
    assert sums(s3.files(bucket, "faces")) == sums(on_disk(tmp_path / "faces"))


def test_a_finished_run_does_nothing_and_other_options_are_refused(
    extract: Extract, family: Path, s3: S3Server, bucket: str
) -> None:
    s3.upload(family, bucket, "dfdc")
    extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces")
    s3.counts()
    extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces")
    assert s3.counts()["GET"] < 12  # lists, run.json, metadata.json, journal; no clip
    with pytest.raises(OutputError, match=rf"frames 3 in s3://{bucket}/faces, found frames 2"):
        extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces", frames=3)
    extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces", frames=3, overwrite=True)
    assert len([n for n in s3.files(bucket, "faces") if n.startswith("crops/")]) == 6


def test_an_object_replaced_by_one_of_its_size_is_extracted_again(
    extract: Extract, family: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    s3.upload(family, bucket, "dfdc")
    extract(f"s3://{bucket}/dfdc", tmp_path / "faces")
    journal = (tmp_path / "faces/journal.jsonl").read_bytes()
    extract(f"s3://{bucket}/dfdc", tmp_path / "faces")
    assert (tmp_path / "faces/journal.jsonl").read_bytes() == journal
    place = Place(Url(f"s3://{bucket}/dfdc"))
    name = next(name for name in sorted(place.list()) if name.endswith(".mp4"))
    place.put({name: place.read(name)[:-1] + b"?"})
    extract(f"s3://{bucket}/dfdc", tmp_path / "faces")
    assert (tmp_path / "faces/journal.jsonl").read_bytes() != journal


def test_a_lost_crop_is_written_again(
    extract: Extract, family: Path, s3: S3Server, bucket: str
) -> None:
    extract(family, f"s3://{bucket}/faces")
    before = sums(s3.files(bucket, "faces"))
    Place(Url(f"s3://{bucket}/faces")).remove([next(iter(before))])
    extract(family, f"s3://{bucket}/faces")
    assert sums(s3.files(bucket, "faces")) == before


def test_a_clip_that_is_not_there_is_missing(
    extract: Extract, family: Path, s3: S3Server, bucket: str
) -> None:
    s3.upload(family, bucket, "dfdc")
    s3.client().delete_object(Bucket=bucket, Key="dfdc/dfdc_train_part_1/004.mp4")
    result = extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces")
    assert result.clips["REAL", "missing"] == 1


def test_a_lost_output_is_no_fault_of_the_clip(
    family: Path, s3: S3Server, bucket: str, yunet_model: Path, tmp_path: Path
) -> None:
    s3.upload(family, bucket, "dfdc")
    name = "dfdc_train_part_1/004.mp4"
    size = (family / name).stat().st_size
    clip = Clip(
        "dfdc_train_part_1", "004.mp4", "REAL", None, "004.mp4", "004",
        f"s3://{bucket}/dfdc/{name}", size,
    )  # fmt: skip
    lost = Transfer(Path("/proc/lost"), tmp_path)
    init_worker(lost, crop_options(), choose_detector("yunet", yunet_model))
    with pytest.raises(FileNotFoundError):
        extract_in_worker(clip, Relatives())
    gone = replace(clip, path=f"s3://{bucket}/dfdc/gone.mp4")
    assert extract_in_worker(gone, Relatives()).status == "missing"


def test_an_unreachable_source_ends_the_run_with_a_sentence(
    extract: Extract, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hidden@127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match="expected to list s3://bucket/dfdc") as raised:
        extract("s3://bucket/dfdc", tmp_path / "faces")
    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_bucket_that_turns_read_only_ends_the_run_and_the_next_goes_on(
    extract: Extract, family: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    out = f"s3://{bucket}/faces"
    s3.faults("readonly=5")  # the lease twice, run.json, and some crops
    with pytest.raises(StorageError, match=r"expected to \w+ s3://.*PermissionError"):
        extract(family, out, frames=5)
    s3.faults()
    extract(family, out, frames=5)
    extract(family, tmp_path / "faces", frames=5)
    assert sums(s3.files(bucket, "faces")) == sums(on_disk(tmp_path / "faces"))


def test_two_runs_do_not_write_one_folder(
    extract: Extract, family: Path, s3: S3Server, bucket: str
) -> None:
    out = Url(f"s3://{bucket}/faces")
    with (
        lease(Place(out)) as held,
        pytest.raises(OutputError, match=r"expected exclusive access to s3://.*, found process"),
    ):
        extract(family, out)
    assert held.is_exclusive
    extract(family, out)
    assert not [name for name in s3.files(bucket, "faces") if name.startswith(".lease")]


def test_credentials_are_written_nowhere(
    extract: Extract, family: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    s3.upload(family, bucket, "dfdc")
    extract(f"s3://{bucket}/dfdc", tmp_path / "faces")
    extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces")
    written = [*on_disk(tmp_path / "faces").values(), *s3.files(bucket, "faces").values()]
    assert not [data for data in written if ACCESS_KEY.encode() in data]
    assert not [data for data in written if SECRET_KEY.encode() in data]


def test_bad_answers_change_no_byte(
    extract: Extract, family: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    s3.upload(family, bucket, "dfdc")
    extract(family, tmp_path / "faces")
    s3.faults("share=0.1&kinds=503,500,cut&seed=2")
    extract(f"s3://{bucket}/dfdc", f"s3://{bucket}/faces")
    s3.faults()
    assert sums(s3.files(bucket, "faces")) == sums(on_disk(tmp_path / "faces"))


def test_slices_into_a_bucket_are_gathered(
    extract: Extract, real_clips: Path, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    url, source = f"s3://{bucket}/faces", real_clips / "dfdc_train_part_1"
    extract(source, tmp_path / "faces", frames=1)
    extract(source, url, frames=1, slice="1/2")
    with pytest.raises(OutputError, match=r"missing: slice 2/2 \("):
        dfdc_prep.gather(url)
    with pytest.raises(OptionsDiffer, match="expected frames 1 as in the other slices in s3://"):
        extract(source, url, slice="2/2")
    with pytest.raises(OutputError, match="without --overwrite"):
        extract(source, url, frames=1, slice="2/2", overwrite=True)
    extract(source, url, frames=1, slice="2/2")
    dfdc_prep.gather(url)
    written = s3.files(bucket, "faces")
    assert sums(written) == sums(on_disk(tmp_path / "faces"))
    assert not [name for name in written if name.startswith(("journal-", ".lease"))]


def test_slices_run_beside_each_other_but_not_beside_a_run(s3: S3Server, bucket: str) -> None:
    url = Url(f"s3://{bucket}/faces")
    place = Place(url)

    def refused(name: str) -> bool:
        with pytest.raises(OutputError, match="expected exclusive access"):
            lease(place, name).__enter__()
        return True

    with lease(place, ".lease/1-of-2"), lease(place, ".lease/2-of-2"):
        assert refused(".lease")
        assert refused(".lease/1-of-2")
    with lease(place):
        assert refused(".lease/1-of-2")
    assert not place.list(".lease")
