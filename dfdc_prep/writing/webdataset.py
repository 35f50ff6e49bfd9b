"""WebDataset: tar files of samples, read by `webdataset` and by PyTorch.

A sample is the files of one key: `train-00000012.png` or `.jpg`, `.cls` (0 REAL, 1 FAKE),
`.json` (the columns of the manifest) and, for a crop with a mask, `.mask.png`.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dfdc_prep.crops.files import CropReader
from dfdc_prep.writing.export import Written
from dfdc_prep.writing.records import Record, ShardSettings, lay_out, write_shard_files
from dfdc_prep.writing.sources import SplitCrops
from manifests.files import sync_file
from manifests.folders import ShardsFolder
from manifests.labels import LABELS

#: Bytes of a tar header, and of a block that content is padded to.
_BLOCK = 512
#: Approximate bytes of a sample in addition to its image and mask.
_OVERHEAD = 8 * _BLOCK


@dataclass(frozen=True)
class WebDataset:
    """The format `webdataset`."""

    settings: ShardSettings = field(default_factory=ShardSettings)
    name: str = "webdataset"

    def options(self) -> dict[str, Any]:
        """The options that determine the bytes, for metadata.json."""
        return self.settings.as_json()

    def write(self, crops: SplitCrops, folder: Path) -> Written:
        """Write the tar files into an empty folder."""
        settings = self.settings
        reader = CropReader(crops.folders, settings.image_format, settings.quality, size=None)
        sharded = lay_out(crops, reader, settings.shards, _OVERHEAD, tar_file)
        write = partial(_write_tar, folder)
        return Written(sharded, write_shard_files(sharded, reader, settings, write))


def tar_file(split: str, index: int, _count: int) -> str:
    """File name of one shard, as `dfdc_faces-train-{000000..000015}.tar` expands to."""
    return f"{ShardsFolder.DATASET}-{split}-{index:06d}.tar"


def _write_tar(folder: Path, name: str, records: Iterator[Record]) -> str:
    """Write one tar file; return its SHA-256."""
    digest = hashlib.sha256()
    with (folder / name).open("wb") as file:

        def put(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        for record in records:
            key = f"{record.split}-{record.number:08d}"
            for suffix, data in _files(record):
                put(_header(f"{key}.{suffix}", len(data)))
                put(data)
                put(bytes(-len(data) % _BLOCK))
        put(bytes(2 * _BLOCK))
    sync_file(folder / name)
    return digest.hexdigest()


def _files(record: Record) -> Iterator[tuple[str, bytes]]:
    """Yield suffix and content of each file of a sample, sorted by suffix."""
    values = {"label": record.label, **record.values}
    files = {
        record.suffix: record.image,
        "cls": str(LABELS.index(record.label)).encode(),
        "json": json.dumps(values, allow_nan=False, separators=(",", ":")).encode(),
    }
    if record.mask is not None:
        files["mask.png"] = record.mask
    yield from sorted(files.items())


def _header(name: str, size: int) -> bytes:
    """The tar header of a file, without time, owner or anything else of this machine."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)
