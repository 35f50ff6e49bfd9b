"""Records of formats that store the crops in shards: which crop in which file, and its columns."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dfdc_prep.crops.files import CropReader
from dfdc_prep.parallel.threads import RecordBar, ThreadPool
from dfdc_prep.writing.layout import assign_shards, iter_shards
from dfdc_prep.writing.sources import SplitCrops

#: Columns of the manifest that are stored with each crop, where the manifest has them.
COLUMNS = (
    "video",
    "part",
    "original",
    "family",
    "dataset",
    "method",
    "identity",
    "face_identity",
    "official_split",
    "frame",
    "time_s",
    "face",
    "forged",
    "path",
    "sha256",
)
_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class ShardSettings:
    """Options of the formats that store the crops in shards.

    Attributes:
        shards: number of train shards, the other splits get shards in proportion; None to
            choose at least 16 shards of 20 to 200 MB if there is enough data.
        image_format: `as-is` copies the crops; `jpeg` encodes those that are not JPEG files.
        quality: JPEG quality, 1 to 100.
        workers: number of threads, None for one per core; does not change the output.
    """

    shards: int | None = None
    image_format: str = "as-is"
    quality: int = 95
    workers: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The options that determine the bytes."""
        return {
            "shards": self.shards or "auto",
            "image_format": self.image_format,
            "quality": self.quality if self.image_format == "jpeg" else None,
        }


@dataclass(frozen=True)
class Record:
    """One crop to store.

    Attributes:
        split: its split.
        number: its position among the records of its split, from 0.
        label: REAL or FAKE.
        values: the `COLUMNS` that the manifest has; no NaN.
        image: the encoded image, PNG or JPEG.
        mask: the encoded mask, a grey PNG; None without.
    """

    split: str
    number: int
    label: str
    values: dict[str, Any]
    image: bytes
    mask: bytes | None

    @property
    def suffix(self) -> str:
        """The suffix of the image's format: png or jpg."""
        return "jpg" if self.image.startswith(_JPEG) else "png"


def known_columns(table: pa.Table) -> tuple[str, ...]:
    """The `COLUMNS` that a table has."""
    return tuple(name for name in COLUMNS if name in table.column_names)


def lay_out(
    crops: SplitCrops,
    reader: CropReader,
    shards: int | None,
    overhead: int,
    file_name: Callable[[str, int, int], str],
) -> pa.Table:
    """Return the rows in the order of the records, with the columns split and shard.

    Args:
        shards: number of train shards; None to choose it by size.
        overhead: approximate bytes of a record in addition to its image and mask.
        file_name: the name of a shard file, of its split, its index and the number of shards.
    """
    sizes = reader.sizes(crops.table) + reader.mask_sizes(crops.table) + overhead
    return assign_shards(
        crops.table,
        crops.splits.names,
        crops.splits.order,
        sizes,
        crops.seed,
        shards,
        file_name,
    )


def write_shard_files(
    sharded: pa.Table,
    reader: CropReader,
    settings: ShardSettings,
    write: Callable[[str, Iterator[Record]], str],
) -> dict[str, str]:
    """Write every shard, one per thread at a time; return the SHA-256 of each by its name.

    Args:
        sharded: the rows that `lay_out` returned.
        write: writes the records of one shard to the file of that name, returns its SHA-256.
    """
    first: dict[str, int] = {}
    parts: list[tuple[str, pa.Table, int]] = []
    for name, rows in iter_shards(sharded):
        split = rows["split"][0].as_py()
        parts.append((name, rows, first.get(split, 0)))
        first[split] = first.get(split, 0) + rows.num_rows

    with RecordBar("export", sharded.num_rows) as bar, ThreadPool(settings.workers) as pool:

        def write_one(pool: ThreadPool, part: tuple[str, pa.Table, int]) -> tuple[str, str]:
            name, rows, start = part
            return name, write(name, _records(rows, start, reader, pool, bar))

        return dict(pool.map(write_one, parts))


def _records(
    rows: pa.Table, start: int, reader: CropReader, pool: ThreadPool, bar: RecordBar
) -> Iterator[Record]:
    columns = known_columns(rows)
    needed = dict.fromkeys((*columns, "label", "split", "path", "sha256", "mask", "mask_sha256"))
    for number, row in enumerate(rows.select(list(needed)).to_pylist(), start):
        pool.check_cancelled()
        image = reader.image(row["path"], row["sha256"])
        mask = reader.mask(row["mask"], row["mask_sha256"] or "") if row["mask"] else None
        values = {name: _plain(row[name]) for name in columns}
        yield Record(row["split"], number, row["label"], values, image, mask)
        bar.add(len(image))


def _plain(value: Any) -> Any:
    """The value; None for a number that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
