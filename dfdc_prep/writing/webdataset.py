"""WebDataset: tar files of samples, read by `webdataset` and by PyTorch.

A sample is the files of one key: `train-00000012.png` or `.jpg`, `.cls` (0 REAL, 1 FAKE),
`.json` (the columns of the manifest) and, for a crop with a mask, `.mask.png`.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from dfdc_prep.writing.sharding import Record, ShardFormat
from manifests.folders import ShardsFolder
from manifests.labels import LABELS

#: Bytes of a tar header, and of a block that content is padded to.
_BLOCK = 512


class WebDataset(ShardFormat):
    """The format `webdataset`."""

    name = "webdataset"
    overhead = 8 * _BLOCK

    @staticmethod
    def file_name(split: str, index: int, count: int) -> str:
        """The file name of a shard, as `dfdc_faces-train-{000000..000015}.tar` expands to."""
        return f"{ShardsFolder.DATASET}-{split}-{index:06d}.tar"

    def write_shard(self, path: Path, records: Iterator[Record], manifest: pa.Table) -> None:
        columns = ["label", *self.columns(manifest)]
        with path.open("wb") as file:
            for record in records:
                values = {name: record.row[name] for name in columns}
                sample = {
                    record.suffix: record.image,
                    "cls": str(LABELS.index(record.row["label"])).encode(),
                    "json": json.dumps(values, allow_nan=False, separators=(",", ":")).encode(),
                }
                if record.mask is not None:
                    sample["mask.png"] = record.mask
                for suffix, data in sorted(sample.items()):
                    # Without time, owner or anything else of this machine.
                    header = tarfile.TarInfo(f"{record.key}.{suffix}")
                    header.size = len(data)
                    file.write(header.tobuf(tarfile.USTAR_FORMAT))
                    file.write(data)
                    file.write(bytes(-len(data) % _BLOCK))
            file.write(bytes(2 * _BLOCK))
