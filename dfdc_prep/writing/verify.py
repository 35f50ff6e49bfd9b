"""Verifies a shards folder completely and reports every fault.

Checks every file against SHA256SUMS, the checksum, image and features of every record against
manifest.parquet, every count against dataset_info.json, and that no known family, no families
joined by their crops, and no estimated person that the split is grouped by, are in two splits.
"""

import hashlib
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops.encoding import crop_fault, mask_fault
from dfdc_prep.errors import ShardError
from dfdc_prep.parallel.threads import RecordBar, ThreadPool
from dfdc_prep.writing import tfrecord
from dfdc_prep.writing.sharding import iter_shards
from dfdc_prep.writing.sources import GIVEN
from dfdc_prep.writing.writer import SUMS
from manifests.arrow import SHARD_MANIFEST_SCHEMA
from manifests.errors import DfdcPrepError
from manifests.files import file_sha256, format_sums, parse_json, parse_sums
from manifests.folders import ShardsFolder, is_report, path_meant
from manifests.result import Result, TextTable
from manifests.schemas import CROP_SIZE
from manifests.splitting.groups import IDENTITY, JOINED
from manifests.tables.codes import clip_codes
from manifests.tables.families import count_families
from manifests.tables.parquet import read_manifest
from manifests.wording import counted

#: Number of faults in the report; the rest is only counted.
_MAX_SHOWN = 20
#: Values of `group_by` with which families may be in two splits, and what the report says.
_LEAKING = {"none": "made with --group-by none", GIVEN: "made with --crops split"}


@dataclass(frozen=True)
class Fault:
    """One fault in a file, or in one of its records (counted from 0)."""

    file: str
    what: str
    record: int | None = None

    def __str__(self) -> str:
        where = self.file if self.record is None else f"{self.file}, record {self.record}"
        return f"{where}: {self.what}"


@dataclass(frozen=True)
class VerifyReport(Result):
    """What `verify_shards` read, the faults it found, and what it says beside them."""

    path: Path
    records: int
    size: int
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def text(self) -> str:
        """The report for the terminal; lists the first faults and counts the rest."""
        read = f"{self.path}: {counted(self.records, 'record')}, {self.size / 1e6:,.1f} MB"
        if not self.faults:
            return "\n".join([f"{read}, no faults in files and records", *self.notes])
        lines = [f"  {fault}" for fault in self.faults[:_MAX_SHOWN]]
        more = len(self.faults) - _MAX_SHOWN
        if more > 0:
            lines.append(f"  and {more:,} more")
        faults = counted(len(self.faults), "fault")
        return "\n".join([f"{read}, {faults}", *lines, *self.notes])

    def caption(self) -> str:
        return self.text().splitlines()[0]

    def cells(self) -> TextTable:
        faults = ((f.file, "" if f.record is None else f.record, f.what) for f in self.faults)
        return TextTable(("file", "record", "fault"), faults)


class _Checked(NamedTuple):
    """What was found in one shard."""

    sha256: str
    records: int
    size: int  #: bytes of its records with framing
    faults: list[Fault]


def verify_shards(shards: Path, workers: int | None = None) -> VerifyReport:
    """Read every file of a shards folder and report the faults; changes nothing.

    Args:
        workers: number of threads, None for one per core.

    Raises:
        ShardError: the folder was not written by `dfdc-prep shard`.
    """
    entries = shards.iterdir() if shards.is_dir() else ()
    # A report is about the shards, not one of their files.
    names = sorted(entry.name for entry in entries if not is_report(entry.name))
    is_faces = "crops" in names
    if is_faces or not {SUMS, ShardsFolder.INFO, ShardsFolder.MANIFEST} & set(names):
        kind = "a faces folder" if is_faces else "none of its files"
        raise ShardError(
            f"expected shards of dfdc-prep shard in {shards}, found {kind}; "
            + (path_meant(shards) or "give the folder that holds SHA256SUMS")
        )
    if odd := [name for name in names if not (shards / name).is_file()]:
        raise ShardError(f"expected only files in {shards}, found {odd[0]}; remove it")
    shard_names = [name for name in names if ShardsFolder.is_shard(name)]
    hashes = {name: file_sha256(shards / name) for name in names if name not in shard_names}
    hashes.pop(SUMS, None)
    rows, faults, notes = _read_rows(shards, hashes)
    total = sum(map(len, rows.values())) or None
    with RecordBar("verify", total) as bar, ThreadPool(workers) as pool:
        found = pool.map(
            lambda pool, name: _check_shard(shards / name, rows.get(name), pool, bar), shard_names
        )
    checked = dict(zip(shard_names, found, strict=True))
    hashes |= {name: shard.sha256 for name, shard in checked.items()}
    faults = _sums_faults(shards, hashes) + faults + _count_faults(shards, checked)
    faults += [fault for shard in checked.values() for fault in shard.faults]
    size = sum(shard.size for shard in checked.values())
    records = sum(shard.records for shard in checked.values())
    return VerifyReport(shards, records, size, tuple(faults), tuple(notes))


def _read_rows(
    shards: Path, hashes: dict[str, str]
) -> tuple[dict[str, list[dict[str, Any]]], list[Fault], list[str]]:
    """The manifest's rows by shard, the faults of the manifest, and notes for the report."""
    listed = parse_sums(shards / SUMS)
    needed = (ShardsFolder.MANIFEST, ShardsFolder.METADATA)
    if any(name not in hashes or listed.get(name) != hashes[name] for name in needed):
        # Its rows are unreliable.
        return {}, [], ["records and families not compared: the manifest is missing or altered"]
    try:
        table = read_manifest(
            shards / ShardsFolder.MANIFEST, "dfdc-prep shard --overwrite", SHARD_MANIFEST_SCHEMA
        )
        options = parse_json((shards / ShardsFolder.METADATA).read_bytes())
        copied, group_by = options["image_format"] == "as-is", options["group_by"]
        columns = (
            tfrecord.COLUMNS if copied else [name for name in tfrecord.COLUMNS if name != "sha256"]
        )
        rows = {s.name: s.rows.select(columns).to_pylist() for s in iter_shards(table)}
        families = _in_two_splits(table, "family")
        people = _in_two_splits(table, IDENTITY) if group_by == IDENTITY else []
        joined = _in_two_splits(table, JOINED)
        fakes = count_families(table, clip_codes(table))
    except (DfdcPrepError, KeyError, TypeError, ValueError) as error:
        return {}, [Fault(ShardsFolder.MANIFEST, f"cannot be used ({error})")], []
    if group_by in _LEAKING:
        leak = f"{_LEAKING[group_by]}: in two splits, {counted(len(families), 'family')}"
        return rows, [], [*fakes.lines(), leak]
    divided = [f"family {name}" for name in families] + [f"identity {name}" for name in people]
    divided += [f"joined family {name}" for name in joined if name is not None]
    faults = [Fault(ShardsFolder.MANIFEST, f"{what} is in two splits") for what in divided]
    return rows, faults, fakes.lines() if families else fakes.apart_lines()


def _in_two_splits(table: pa.Table, column: str) -> list[str]:
    """The values of a column that are in more than one split."""
    pairs = table.group_by([column, "split"]).aggregate([]).group_by(column)
    found = pairs.aggregate([("split", "count")])
    return list(found.filter(pc.greater(found["split_count"], 1))[column].to_pylist())


def _check_shard(
    path: Path, rows: list[dict[str, Any]] | None, pool: ThreadPool, bar: RecordBar
) -> _Checked:
    """Check one shard record by record; `rows` are those of the manifest, None to compare none."""
    faults, count, size, digest = [], 0, 0, hashlib.sha256()
    with path.open("rb") as file:

        def read(length: int) -> bytes:
            data = file.read(length)
            digest.update(data)  # the file is read only once
            return data

        found = tfrecord.scan_records(read, path.stat().st_size)
        for index, (record, row) in enumerate(zip_longest(found, rows or ())):
            pool.check_cancelled()
            if record is None:
                faults.append(Fault(path.name, "is missing, but the manifest lists it", index))
                break
            data, what = record
            what = what or _record_fault(data, row, rows is not None)
            if what:
                faults.append(Fault(path.name, what, index))
            count += 1
            size += len(data) + tfrecord.FRAMING
            bar.add(len(data) + tfrecord.FRAMING)
        while read(1 << 20):
            pass  # what follows a record of unknown length
    return _Checked(digest.hexdigest(), count, size, faults)


def _record_fault(data: bytes, row: dict[str, Any] | None, compare: bool) -> str:
    """The fault of a record, "" if it has none; `compare` it with its row."""
    try:
        found = tfrecord.parse_example(data)
    except ShardError:
        return "is not a tf.train.Example"
    image = found.pop("image", [])
    if len(image) != 1 or not isinstance(image[0], bytes):
        return "does not contain exactly one image"
    if what := crop_fault(image[0], decoded=True):
        return f"its image is {what}, not {CROP_SIZE}x{CROP_SIZE}"
    mask = found.pop(tfrecord.MASK, [])
    if what := _mask_fault(mask, row if compare else None):
        return what
    if not compare:
        return ""
    if row is None:
        return "has no row in the manifest"
    if "sha256" in row and hashlib.sha256(image[0]).hexdigest() != row["sha256"]:
        return f"its image is not the crop {row['path']} of the manifest"
    wanted = {name: [value] for name, value in tfrecord.features_of(row).items()}
    wrong = sorted(name for name in wanted.keys() | found if wanted.get(name) != found.get(name))
    return f"differs from the manifest in {' and '.join(wrong)}" if wrong else ""


def _mask_fault(mask: tfrecord.Feature, row: dict[str, Any] | None) -> str:
    """The fault of a record's mask, "" if it has none; compare it with the row, if given."""
    data = mask[0] if len(mask) == 1 else None
    if mask:
        if not isinstance(data, bytes):
            return "has a mask that is no image"
        if what := mask_fault(data):
            return f"its mask is {what}, not a grey PNG of {CROP_SIZE}x{CROP_SIZE}"
    if row is None:
        return ""
    if bool(mask) != (row["mask"] is not None):
        return "has a mask and no row says so" if mask else f"lacks the mask {row['mask']}"
    if isinstance(data, bytes) and hashlib.sha256(data).hexdigest() != row["mask_sha256"]:
        return f"its mask is not {row['mask']} of the manifest"
    return ""


def _sums_faults(shards: Path, hashes: dict[str, str]) -> list[Fault]:
    """Differences between SHA256SUMS and the folder, and any other change of SHA256SUMS."""
    listed = parse_sums(shards / SUMS)
    faults = [Fault(name, "is missing") for name in sorted(listed.keys() - hashes)]
    for name, sha256 in sorted(hashes.items()):
        if name not in listed:
            faults.append(Fault(name, f"is not listed in {SUMS}"))
        elif listed[name] != sha256:
            faults.append(Fault(name, f"its hash differs from {SUMS}"))
    file = shards / SUMS
    if not faults and (not file.is_file() or file.read_bytes() != format_sums(hashes).encode()):
        faults.append(Fault(SUMS, "is not in the format that shard writes, so it was altered"))
    return faults


def _count_faults(shards: Path, checked: dict[str, _Checked]) -> list[Fault]:
    """Shards whose number of records differs from dataset_info.json."""
    try:
        info = parse_json((shards / ShardsFolder.INFO).read_bytes())
        listed = {
            ShardsFolder.shard(split["name"], index, len(split["shardLengths"])): int(length)
            for split in info["splits"]
            for index, length in enumerate(split["shardLengths"])
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        return [Fault(ShardsFolder.INFO, f"cannot be used ({type(error).__name__})")]
    faults = []
    for name in sorted(listed.keys() | checked):
        records = checked[name].records if name in checked else None
        if records is None or records != listed.get(name):
            held = "no records" if records is None else counted(records, "record")
            what = f"has {held}, {ShardsFolder.INFO} says {listed.get(name, 'none')}"
            faults.append(Fault(name, what))
    return faults
