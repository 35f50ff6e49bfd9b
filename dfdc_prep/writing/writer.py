"""Writes the crops of a manifest as TFRecord shards with metadata files for other tools.

`manifest -> layout (which crop in which shard) -> shards -> index files`. All files are written
into a temporary folder, which is renamed when complete: a shards folder that exists is complete.
The same manifest and options give the same bytes for any number of threads.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dfdc_prep.crops.files import CropReader
from dfdc_prep.parallel.threads import RecordBar, ThreadPool
from dfdc_prep.writing import tfds_metadata
from dfdc_prep.writing.checksums import write_sums
from dfdc_prep.writing.croissant import CROISSANT, croissant_metadata
from dfdc_prep.writing.features import COLUMNS, MASK, features_of
from dfdc_prep.writing.layout import assign_shards, iter_shards
from dfdc_prep.writing.output import TOOL, OutputFolder
from dfdc_prep.writing.sources import (
    BALANCED,
    CropChoice,
    crops_metadata,
    read_crops,
    with_pictures,
)
from dfdc_prep.writing.tfrecord import FRAMING, encode_example, frame_record
from manifests.files import atomic_folder, file_sha256, write_json
from manifests.folders import ShardsFolder, is_report
from manifests.labels import LABELS
from manifests.result import Result, TextTable
from manifests.schema import SHARD_MANIFEST_SCHEMA
from manifests.splitting.sets import given_splits
from manifests.splitting.spec import SplitPlan
from manifests.tables.parquet import read_manifest, write_table
from manifests.tables.sources import CLIP

#: Approximate bytes of the other features in a record.
_OTHER_FEATURES = 250


@dataclass(frozen=True)
class ShardOptions:
    """Options of `write_shards`.

    Attributes:
        plan: the splits, the grouping, and the seed (also of the shuffle within a split).
        shards: number of train shards; the other splits get shards in proportion. None to
            choose at least 16 shards of 20 to 200 MB if there is enough data.
        image_format: `as-is` copies the crops; `jpeg` encodes those that are not JPEG files.
        quality: JPEG quality, 1 to 100.
        overwrite: replace a shards folder with other content.
        workers: number of threads, None for one per core; does not change the output.
        label_by: `clip`, or `face`: a face of a fake that was not changed is REAL.
        crops, join_duplicates: which crops are taken, and how they are split; see `CropChoice`.
    """

    plan: SplitPlan
    shards: int | None = None
    image_format: str = "as-is"
    quality: int = 95
    overwrite: bool = False
    workers: int | None = None
    label_by: str = CLIP
    crops: str = BALANCED
    join_duplicates: bool = True

    @property
    def choice(self) -> CropChoice:
        """Which crops are taken, and how they are split."""
        return CropChoice(self.plan, self.crops, self.label_by, self.join_duplicates)


@dataclass(frozen=True)
class ShardReport(Result):
    """Summary of a shards folder.

    Attributes:
        out: the folder.
        shards: number of shard files by split.
        size: bytes of all files.
        assignment: description of the split for the terminal.
        already_exists: whether the folder was complete before, so that nothing was written.
    """

    out: Path
    shards: dict[str, int]
    size: int
    assignment: str
    already_exists: bool = False

    def text(self) -> str:
        """The report as lines for the terminal."""
        state = "already exists" if self.already_exists else "written"
        counts = ", ".join(f"{count} {split}" for split, count in self.shards.items())
        return f"{self.assignment}\n{self.out} {state}: shards {counts}; {self.size / 1e6:,.1f} MB"

    def cells(self) -> TextTable:
        return TextTable(("split", "shards"), self.shards.items())


def write_shards(faces: Path | Sequence[Path], shards: Path, options: ShardOptions) -> ShardReport:
    """Write the crops of one or several faces folders to a shards folder.

    Grouped by identity, manifest.parquet has the columns `identity` and `identity_source`.

    Raises:
        TableError: balanced.parquet is missing or is not a manifest, or identities.parquet, if
            it is needed.
        ShardError: a crop is missing, altered, outside its folder, or not a 224x224 image.
        OptionsDiffer: `shards` has other content, and `overwrite` is not set.
        OutputError: `shards` contains foreign files, cannot be written, or another run is
            writing it.
    """
    folders = [faces] if isinstance(faces, Path) else faces
    metadata = _metadata(crops_metadata(folders, options.choice), options)
    output = OutputFolder(
        shards, "shards", "a shards folder", _is_shards, ShardsFolder.check_replaceable
    )
    if output.is_complete(metadata, options.overwrite):
        sharded = read_manifest(
            shards / tfds_metadata.MANIFEST, "dfdc-prep shard --overwrite", SHARD_MANIFEST_SCHEMA
        )
        return _report(shards, sharded, given_splits(sharded).text, already_exists=True)
    source = read_crops(folders, options.choice)
    crops = CropReader(source.folders, options.image_format, options.quality)
    sizes = crops.sizes(source.table) + crops.mask_sizes(source.table) + FRAMING + _OTHER_FEATURES
    sharded = assign_shards(
        source.table,
        source.splits.names,
        source.splits.order,
        sizes,
        options.plan.seed,
        options.shards,
    )
    with atomic_folder(shards) as folder:
        output.check_again(metadata, options.overwrite)
        written = _write_records(sharded, crops, folder, options.workers)
        _write_index(sharded, written, with_pictures(metadata, source), folder)
    return _report(shards, sharded, source.text)


def _metadata(source: dict[str, Any], options: ShardOptions) -> dict[str, Any]:
    """The content of metadata.json; equal metadata implies equal bytes of all files."""
    found = {name: source[name] for name in ("source", "split", "group_by", "seed")}
    return {
        "tool": TOOL,
        **found,
        "shards": options.shards or "auto",
        "image_format": options.image_format,
        "quality": options.quality if options.image_format == "jpeg" else None,
        **{name: value for name, value in source.items() if name not in found},
    }


def _is_shards(shards: Path, _metadata: dict[str, Any]) -> bool:
    return (shards / tfds_metadata.INFO).is_file()


@dataclass(frozen=True)
class _Shard:
    """One shard that was written; `size` is the bytes of its records without framing."""

    sha256: str
    size: int
    records: int


def _write_records(
    sharded: pa.Table, crops: CropReader, folder: Path, workers: int | None
) -> dict[str, _Shard]:
    """Write all shards, one per thread at a time; return them by file name."""
    bar = RecordBar("shard", sharded.num_rows)

    def write(pool: ThreadPool, shard: tuple[str, pa.Table]) -> tuple[str, _Shard]:
        name, rows = shard
        digest, size = hashlib.sha256(), 0
        with (folder / name).open("wb") as file:
            for row in rows.select(COLUMNS).to_pylist():
                pool.check_cancelled()
                features = features_of(row) | {"image": crops.image(row["path"], row["sha256"])}
                if row["mask"] is not None:
                    features[MASK] = crops.mask(row["mask"], row["mask_sha256"] or "")
                record = encode_example(features)
                framed = frame_record(record)
                digest.update(framed)
                file.write(framed)
                size += len(record)
                bar.add(len(framed))
            file.flush()
            os.fsync(file.fileno())
        return name, _Shard(digest.hexdigest(), size, rows.num_rows)

    with bar, ThreadPool(workers) as pool:
        return dict(pool.map(write, iter_shards(sharded)))


def _write_index(
    sharded: pa.Table, written: dict[str, _Shard], metadata: dict[str, Any], folder: Path
) -> None:
    """Write the manifest, the metadata files and SHA256SUMS."""
    splits: dict[str, tuple[list[int], int]] = {}
    for name, rows in iter_shards(sharded):
        split = rows["split"][0].as_py()
        lengths, size = splits.get(split, ([], 0))
        splits[split] = ([*lengths, rows.num_rows], size + written[name].size)
    write_table(sharded, folder / tfds_metadata.MANIFEST)
    hashes = {name: shard.sha256 for name, shard in written.items()}
    hashes[tfds_metadata.MANIFEST] = file_sha256(folder / tfds_metadata.MANIFEST)
    write_json(folder / CROISSANT, croissant_metadata(sharded, hashes), ensure_ascii=False)
    (folder / tfds_metadata.LABEL_NAMES).write_text("".join(f"{label}\n" for label in LABELS))
    write_json(folder / tfds_metadata.METADATA, metadata, ensure_ascii=False)
    write_json(folder / tfds_metadata.FEATURES, tfds_metadata.feature_spec(), ensure_ascii=False)
    info = tfds_metadata.dataset_info(splits, tfds_metadata.about(sharded))
    write_json(folder / tfds_metadata.INFO, info, ensure_ascii=False)
    write_sums(folder, hashes)


def _report(
    shards: Path, sharded: pa.Table, assignment: str, already_exists: bool = False
) -> ShardReport:
    splits = sharded.select(["split", "shard"]).to_pylist()
    first = {row["shard"]: row["split"] for row in splits}
    files = (file for file in shards.iterdir() if not is_report(file.name))
    size = sum(file.stat().st_size for file in files)
    return ShardReport(shards, dict(Counter(first.values())), size, assignment, already_exists)
