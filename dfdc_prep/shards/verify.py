"""Reads a shards folder back whole and names whatever is wrong with it.

Every file against SHA256SUMS; every record's checksum, image and names against
manifest.parquet; every count against dataset_info.json; no family in two splits.
"""

import hashlib
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops import CROP_SIZE
from dfdc_prep.crops.files import describe_image
from dfdc_prep.errors import ShardError
from dfdc_prep.parallel.progress import RecordBar
from dfdc_prep.parallel.thread_pool import ThreadPool
from dfdc_prep.shards import tfds_metadata
from dfdc_prep.shards.checksums import SUMS, HashedFile, file_sha256, listed, sums_text
from dfdc_prep.shards.features import COLUMNS, content
from dfdc_prep.shards.layout import runs, shard_file
from dfdc_prep.shards.tfrecord import FRAMING, example, scan
from manifests.errors import DfdcPrepError
from manifests.io.json_files import parse_json
from manifests.schema import SHARDED
from manifests.tables.parquet import read_manifest

_SHOWN = 20
#: What must be whole before the manifest is believed.
_TRUSTED = (tfds_metadata.MANIFEST, tfds_metadata.METADATA)
Row = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: in which file, in which of its records (from 0) if in one."""

    file: str
    what: str
    record: int | None = None

    def __str__(self) -> str:
        where = self.file if self.record is None else f"{self.file}, record {self.record}"
        return f"{where}: {self.what}"


@dataclass(frozen=True)
class VerifyReport:
    """What was read and what was wrong with it."""

    path: Path
    records: int
    size: int
    faults: tuple[Fault, ...]
    note: str = ""

    def text(self) -> str:
        """The report as lines for the terminal, the first faults in full."""
        read = f"{self.path}: {self.records:,} records, {self.size / 1e6:,.1f} MB"
        if not self.faults:
            return "\n".join([f"{read}, all as they should be", self.note]).rstrip()
        lines = [f"  {fault}" for fault in self.faults[:_SHOWN]]
        more = len(self.faults) - _SHOWN
        if more > 0:
            lines.append(f"  and {more:,} more")
        return "\n".join([f"{read}, {len(self.faults):,} faults", *lines, self.note]).rstrip()


@dataclass(frozen=True)
class _Checked:
    """One shard after reading it."""

    sha256: str
    records: int
    size: int
    faults: list[Fault]


def verify(shards: Path, workers: int | None = None) -> VerifyReport:
    """Read everything in a shards folder and say what is wrong; changes nothing.

    Args:
        workers: threads, None for one a core.

    Raises:
        ShardError: the folder is none that `dfdc-prep shard` wrote.
    """
    names = _file_names(shards)
    shard_names = [name for name in names if ".tfrecord" in name]
    hashes = {name: file_sha256(shards / name) for name in names if name not in shard_names}
    hashes.pop(SUMS, None)
    rows, faults, note = _rows(shards, hashes)
    with (
        RecordBar("verify", sum(map(len, rows.values())) or None) as bar,
        ThreadPool(workers) as pool,
    ):

        def check(pool: ThreadPool, name: str) -> _Checked:
            return _check_shard(shards / name, rows.get(name), pool, bar)

        checked = dict(zip(shard_names, pool.map(check, shard_names), strict=True))
    hashes |= {name: shard.sha256 for name, shard in checked.items()}
    faults = _sums_faults(shards, hashes) + faults + _count_faults(shards, checked)
    faults += [fault for shard in checked.values() for fault in shard.faults]
    size = sum(shard.size for shard in checked.values())
    records = sum(shard.records for shard in checked.values())
    return VerifyReport(shards, records, size, tuple(faults), note)


def _file_names(shards: Path) -> list[str]:
    names = sorted(entry.name for entry in shards.iterdir()) if shards.is_dir() else []
    if not {SUMS, tfds_metadata.INFO, tfds_metadata.MANIFEST} & set(names):
        raise ShardError(
            f"expected the shards dfdc-prep shard writes in {shards}, found none of its files; "
            "give the folder that holds SHA256SUMS"
        )
    odd = [name for name in names if not (shards / name).is_file()]
    if odd:
        raise ShardError(f"expected only files in {shards}, found {odd[0]}; take it out")
    return names


def _rows(shards: Path, hashes: dict[str, str]) -> tuple[dict[str, list[Row]], list[Fault], str]:
    """The manifest's rows by shard, what is wrong with its families, and a note on them.

    A manifest whose hash is wrong is not opened: nothing in it could be relied on.
    """
    told = listed(shards / SUMS)
    if any(name not in hashes or told.get(name) != hashes[name] for name in _TRUSTED):
        return {}, [], "the records could not be compared with the manifest"
    try:
        table = read_manifest(
            shards / tfds_metadata.MANIFEST, "dfdc-prep shard --overwrite", SHARDED
        )
        grouped = parse_json((shards / tfds_metadata.METADATA).read_bytes())
        copied, leaks = grouped["image_format"] == "as-is", grouped["group_by"] == "none"
        columns = COLUMNS if copied else [name for name in COLUMNS if name != "sha256"]
        rows = {name: part.select(columns).to_pylist() for name, part in runs(table)}
        families = _torn(table)
    except (DfdcPrepError, KeyError, TypeError, ValueError) as error:
        return {}, [Fault(tfds_metadata.MANIFEST, f"cannot be used ({error})")], ""
    if leaks:
        return rows, [], f"made with --group-by none: {len(families):,} families are in two splits"
    return (
        rows,
        [Fault(tfds_metadata.MANIFEST, f"family {name} is in two splits") for name in families],
        "",
    )


def _torn(table: pa.Table) -> list[str]:
    """The families that stand in more than one split."""
    pairs = table.group_by(["family", "split"]).aggregate([]).group_by("family")
    found = pairs.aggregate([("split", "count")])
    return list(found.filter(pc.greater(found["split_count"], 1))["family"].to_pylist())


def _check_shard(path: Path, rows: list[Row] | None, pool: ThreadPool, bar: RecordBar) -> _Checked:
    """Read one shard record by record; `rows` are what the manifest says of them."""
    faults, count, size = [], 0, 0
    with path.open("rb") as file:
        hashed = HashedFile(file)
        found = scan(hashed, path.stat().st_size)
        for index, (record, row) in enumerate(zip_longest(found, rows or ())):
            pool.check_cancelled()
            if record is None:
                faults.append(Fault(path.name, "is not there, the manifest has it", index))
                break
            data, what = record
            what = what or _record_fault(data, row, rows is not None)
            if what:
                faults.append(Fault(path.name, what, index))
            count += 1
            size += len(data) + FRAMING
            bar.add(len(data) + FRAMING)
        return _Checked(hashed.sha256(), count, size, faults)


def _record_fault(data: bytes, row: Row | None, compare: bool) -> str:
    """What is wrong with the content of a record, "" where nothing is."""
    try:
        found = example(data)
    except ShardError:
        return "is no tf.train.Example"
    image = found.pop("image", [])
    if len(image) != 1 or not isinstance(image[0], bytes):
        return "holds no image"
    what = describe_image(image[0], decode=True)
    if what != f"{CROP_SIZE}x{CROP_SIZE}":
        return f"its image is {what}, not {CROP_SIZE}x{CROP_SIZE}"
    if not compare:
        return ""
    if row is None:
        return "has no row in the manifest"
    if "sha256" in row and hashlib.sha256(image[0]).hexdigest() != row["sha256"]:
        return f"its image is not the crop {row['path']} of the manifest"
    wanted = {name: [value] for name, value in content(row).items()}
    wrong = sorted(name for name in wanted.keys() | found if wanted.get(name) != found.get(name))
    return f"differs from the manifest in {' and '.join(wrong)}" if wrong else ""


def _sums_faults(shards: Path, hashes: dict[str, str]) -> list[Fault]:
    """Where SHA256SUMS and the folder differ, down to a space or a line end."""
    told = listed(shards / SUMS)
    faults = [Fault(name, "is missing") for name in sorted(told.keys() - hashes)]
    for name, sha256 in sorted(hashes.items()):
        if name not in told:
            faults.append(Fault(name, f"is not named in {SUMS}"))
        elif told[name] != sha256:
            faults.append(Fault(name, f"its hash is not the one in {SUMS}"))
    file = shards / SUMS
    if not faults and (not file.is_file() or file.read_bytes() != sums_text(hashes).encode()):
        faults.append(Fault(SUMS, "is not written as sha256sum writes it, so it was altered"))
    return faults


def _count_faults(shards: Path, checked: dict[str, _Checked]) -> list[Fault]:
    """Where dataset_info.json and the records that were read differ."""
    try:
        info = parse_json((shards / tfds_metadata.INFO).read_bytes())
        told = {
            shard_file(split["name"], index, len(split["shardLengths"])): int(length)
            for split in info["splits"]
            for index, length in enumerate(split["shardLengths"])
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        return [Fault(tfds_metadata.INFO, f"cannot be used ({type(error).__name__})")]
    found = {name: shard.records for name, shard in checked.items()}
    return [
        Fault(
            name,
            f"has {found.get(name, 'no')} records, "
            f"{tfds_metadata.INFO} says {told.get(name, 'none')}",
        )
        for name in sorted(told.keys() | found)
        if told.get(name) != found.get(name)
    ]
