"""Manifest to TFRecord shards, and the metadata files by which other tools read them.

`manifest -> layout (which crop in which shard) -> shards -> index files`, written into
a folder beside the target and renamed when whole: a shards folder that exists is complete.
The same manifest and options give the same bytes, whatever the number of cores.
"""

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dfdc_prep import __version__
from dfdc_prep.crops.files import CropReader
from dfdc_prep.errors import OptionsDiffer, OutputError
from dfdc_prep.parallel.progress import RecordBar
from dfdc_prep.parallel.thread_pool import ThreadPool
from dfdc_prep.shards import tfds_metadata
from dfdc_prep.shards.checksums import SUMS, file_sha256, write_sums
from dfdc_prep.shards.croissant import CROISSANT, croissant
from dfdc_prep.shards.features import COLUMNS, content
from dfdc_prep.shards.layout import DATASET, lay_out, runs
from dfdc_prep.shards.tfrecord import FRAMING, encode, frame
from manifests.io.atomic import whole_folder
from manifests.io.json_files import parse_json
from manifests.io.locks import clear_folder_lock
from manifests.labels import LABELS
from manifests.schema import SHARDED
from manifests.splitting.split import SplitPlan, assign
from manifests.tables.parquet import read_manifest, write_table

#: Bytes of a record beside the image and its framing, about: names and numbers.
_TEXT = 250
TOOL = "dfdc-prep"
_INDEX = {
    tfds_metadata.MANIFEST,
    tfds_metadata.METADATA,
    tfds_metadata.INFO,
    tfds_metadata.FEATURES,
    tfds_metadata.LABEL_NAMES,
    CROISSANT,
    SUMS,
}
_SHARD_FILE = re.compile(rf"{DATASET}-.+\.tfrecord-\d{{5}}-of-\d{{5}}")


@dataclass(frozen=True)
class ShardOptions:
    """How a manifest becomes shards.

    Attributes:
        plan: the splits, what stays together, the seed (of the shuffle within a split too).
        shards: number of train shards, the other splits follow in proportion; None to
            choose 16 or more of 20 to 200 MB where the data allow.
        image_format: as-is copies the crops; jpeg encodes those that are no JPEG yet.
        quality: of the JPEGs, 1 to 100.
        overwrite: replace a shards folder of other content.
        workers: threads; no byte depends on it. None for one a core.
    """

    plan: SplitPlan
    shards: int | None = None
    image_format: str = "as-is"
    quality: int = 95
    overwrite: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class ShardReport:
    """What lies in a shards folder: its shard files by split, its bytes, the split in words."""

    path: Path
    shards: dict[str, int]
    size: int
    assignment: str
    already_there: bool = False

    def text(self) -> str:
        """The report as lines for the terminal."""
        state = "is there already" if self.already_there else "is written"
        counts = ", ".join(f"{count} {split}" for split, count in self.shards.items())
        return f"{self.assignment}\n{self.path} {state}: shards {counts}; {self.size / 1e6:,.1f} MB"


def write_shards(faces: Path, shards: Path, options: ShardOptions) -> ShardReport:
    """Write the crops of `faces`/balanced.parquet to a shards folder.

    Raises:
        TableError: no balanced manifest, or one that is no manifest.
        ShardError: a crop is missing, altered, no 224x224 image, or lies elsewhere.
        OptionsDiffer: `shards` holds something else, and `overwrite` is not set.
        OutputError: `shards` holds other files as well, it cannot be written, or another run is
            writing it.
    """
    source = faces / "balanced.parquet"
    table = read_manifest(source, made_by="dfdc-prep balance")
    metadata = _metadata(source, options)
    assignment = assign(table, options.plan)
    if _is_there(shards, metadata, options.overwrite):
        clear_folder_lock(shards)  # of a run that was killed when all but this was done
        laid = read_manifest(
            shards / tfds_metadata.MANIFEST, "dfdc-prep shard --overwrite", SHARDED
        )
        return _report(shards, laid, assignment.text(), already_there=True)
    crops = CropReader(os.path.realpath(faces), options.image_format, options.quality)
    sizes = crops.sizes(table) + FRAMING + _TEXT
    order = tuple(name for name, _ in options.plan.fractions)
    laid = lay_out(table, assignment.names, order, sizes, options.plan.seed, options.shards)
    with whole_folder(shards) as folder:
        _is_there(shards, metadata, options.overwrite)  # again, now that nobody else writes it
        written = _write_records(laid, crops, folder, options.workers)
        _write_index(laid, written, metadata, folder)
    return _report(shards, laid, assignment.text())


def _metadata(source: Path, options: ShardOptions) -> dict[str, Any]:
    """metadata.json: where the shards come from. Equal metadata, equal bytes."""
    return {
        "tool": f"{TOOL} {__version__}",
        "source": {"file": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()},
        "split": {name: round(share, 6) for name, share in options.plan.fractions},
        "group_by": options.plan.group_by,
        "seed": options.plan.seed,
        "shards": options.shards or "auto",
        "image_format": options.image_format,
        "quality": options.quality if options.image_format == "jpeg" else None,
    }


def _is_there(shards: Path, metadata: dict[str, Any], overwrite: bool) -> bool:
    """Whether the folder holds these very shards; refuses to touch what it may not replace."""
    if not shards.exists() or (shards.is_dir() and not any(shards.iterdir())):
        return False
    try:
        found = parse_json((shards / tfds_metadata.METADATA).read_bytes())
        known = str(found["tool"]).startswith(TOOL) and (shards / tfds_metadata.INFO).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise OptionsDiffer(
            f"expected {shards} to be free or to hold shards, found something else; "
            "choose another folder, or remove this one"
        )
    if found == metadata and not overwrite:
        return True
    if overwrite:
        _refuse_strangers(shards)
        return False
    differs = sorted(key for key in metadata if found.get(key) != metadata[key])
    raise OptionsDiffer(
        f"expected {shards} to hold shards of the same manifest and options, found another "
        f"{' and '.join(differs)}; add --overwrite to replace it"
    )


def _refuse_strangers(shards: Path) -> None:
    """Refuse to replace a folder that holds a file no run of ours wrote."""
    names = sorted(set(os.listdir(shards)) - _INDEX)
    if odd := [name for name in names if not _SHARD_FILE.fullmatch(name)]:
        raise OutputError(
            f"expected nothing but shards at {shards}, which is replaced as a whole, found "
            f"{odd[0]}; take it out or name another folder"
        )


@dataclass(frozen=True)
class _Shard:
    sha256: str
    size: int
    records: int


def _write_records(
    laid: pa.Table, crops: CropReader, folder: Path, workers: int | None
) -> dict[str, _Shard]:
    """Write every shard, one a thread at a time; what was written, by file name."""
    bar = RecordBar("shard", laid.num_rows)

    def write(pool: ThreadPool, shard: tuple[str, pa.Table]) -> tuple[str, _Shard]:
        name, rows = shard
        digest, size = hashlib.sha256(), 0
        with (folder / name).open("wb") as file:
            for row in rows.select(COLUMNS).to_pylist():
                pool.check_cancelled()
                image = crops.image(row["path"], row["sha256"])
                record = encode(content(row) | {"image": image})
                framed = frame(record)
                digest.update(framed)
                file.write(framed)
                size += len(record)
                bar.add(len(framed))
            file.flush()
            os.fsync(file.fileno())
        return name, _Shard(digest.hexdigest(), size, rows.num_rows)

    with bar, ThreadPool(workers) as pool:
        return dict(pool.map(write, runs(laid)))


def _write_index(
    laid: pa.Table, written: dict[str, _Shard], metadata: dict[str, Any], folder: Path
) -> None:
    """Write what other tools open the shards by."""
    splits: dict[str, tuple[list[int], int]] = {}
    for name, rows in runs(laid):
        split = rows["split"][0].as_py()
        lengths, size = splits.get(split, ([], 0))
        splits[split] = ([*lengths, rows.num_rows], size + written[name].size)
    write_table(laid, folder / tfds_metadata.MANIFEST)
    hashes = {name: shard.sha256 for name, shard in written.items()}
    hashes[tfds_metadata.MANIFEST] = file_sha256(folder / tfds_metadata.MANIFEST)
    tfds_metadata.write_json(croissant(laid, hashes), folder / CROISSANT)
    (folder / tfds_metadata.LABEL_NAMES).write_text("".join(f"{label}\n" for label in LABELS))
    tfds_metadata.write_json(metadata, folder / tfds_metadata.METADATA)
    tfds_metadata.write_json(tfds_metadata.features(), folder / tfds_metadata.FEATURES)
    tfds_metadata.write_json(tfds_metadata.dataset_info(splits), folder / tfds_metadata.INFO)
    write_sums(folder, hashes)


def _report(
    shards: Path, laid: pa.Table, assignment: str, already_there: bool = False
) -> ShardReport:
    splits = laid.select(["split", "shard"]).to_pylist()
    first = {row["shard"]: row["split"] for row in splits}
    size = sum(file.stat().st_size for file in shards.iterdir())
    return ShardReport(shards, dict(Counter(first.values())), size, assignment, already_there)
