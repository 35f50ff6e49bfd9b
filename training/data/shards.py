"""The shards that a model reads: a folder, or a bucket behind a cache of bounded size on this disk.

TensorFlow reads local files only. The small files of a shards folder in a bucket are fetched at
the start, each shard file when the input pipeline comes to it, some shards ahead.
"""

import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.run_files import CropSettings, ShardsConfig
from dfdc_prep.storage.urls import Location, Url
from dfdc_prep.storage.workspace import Mirror, workspace
from manifests.arrow import SHARD_MANIFEST_SCHEMA
from manifests.errors import OutputError, StorageError, TrainingError
from manifests.files import file_sha256, folder_lock, parse_json, parse_sums
from manifests.folders import ShardsFolder, path_meant
from manifests.labels import LABELS
from manifests.tables.parquet import read_manifest
from manifests.wording import did_you_mean

SPLITS = ("train", "validation", "test")
#: Size of the cache unless --cache-gb says otherwise.
DEFAULT_GB = 50.0
#: Shards that are kept even if they exceed the size: those read, and those fetched ahead.
_KEPT = 16


class Shards:
    """A shards folder on this machine, as its dataset_info.json lists it, or that of a cache.

    `lengths` has the number of records of each shard file, by split and in order.

    Raises:
        TrainingError: dataset_info.json is missing or invalid, or a shard file is missing.
    """

    def __init__(self, folder: Path, cache: "ShardCache | None" = None) -> None:
        self.folder, self.cache = folder, cache
        self.manifest = folder / ShardsFolder.MANIFEST
        try:
            found = parse_json((folder / ShardsFolder.INFO).read_bytes())
            self._dataset = found["name"]
            self.lengths = {
                split["name"]: tuple(int(length) for length in split["shardLengths"])
                for split in found["splits"]
            }
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise TrainingError(
                f"expected shards of dfdc-prep shard in {self}, found no valid dataset_info.json "
                f"({type(error).__name__}); " + (path_meant(folder) or "run dfdc-prep shard")
            ) from error
        files = (self.files(split) for split, held in self.lengths.items() if held)
        for file in chain.from_iterable(files):
            if not (file.name in cache.sizes if cache else file.is_file()):
                raise TrainingError(
                    f"expected the shard {file.name} in {self}, found none; "
                    "write the shards again with dfdc-prep shard --overwrite"
                )

    def __str__(self) -> str:
        """The path or URL for messages and records."""
        return str(self.cache.url if self.cache else self.folder)

    def files(self, split: str) -> list[Path]:
        """The shard files of a split, in order; TrainingError if it has none."""
        count = len(self.lengths.get(split, ()))
        if not count:
            found = [name for name, lengths in self.lengths.items() if lengths]
            raise TrainingError(
                f"expected a split {split!r} in {self}, found {', '.join(found) or 'none'}; "
                + (did_you_mean(split, found) or "write the shards with dfdc-prep shard")
            )
        names = (ShardsFolder.shard(split, i, count, dataset=self._dataset) for i in range(count))
        return [self.folder / name for name in names]

    def count(self, split: str) -> int:
        """Number of records of a split; raises as `files`."""
        return sum(self.lengths[split]) if self.files(split) else 0

    def rows(self, split: str | None = None) -> pa.Table:
        """The manifest, or its rows of a split, in the order of the records; else TableError."""
        table = read_manifest(self.manifest, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
        return table.filter(pc.equal(table["split"], split)) if split else table

    def manifest_hash(self) -> str:
        """SHA-256 of the manifest, which lists every crop, its split and its position."""
        return file_sha256(self.manifest)

    def describe(self) -> ShardsConfig:
        """What a run records; TrainingError if a split to train, choose or test on is empty."""
        table = self.rows()
        counts = {}
        for split in SPLITS:
            labels = table.filter(pc.equal(table["split"], split))["label"].to_pylist()
            counts[split] = {label: labels.count(label) for label in LABELS}
        if empty := [split for split, found in counts.items() if not any(found.values())]:
            raise TrainingError(
                f"expected images in the splits {', '.join(SPLITS)} of {self}, found none in "
                f"{' and '.join(empty)}; shard crops of more families, or with another --split"
            )
        try:
            metadata = parse_json((self.folder / ShardsFolder.METADATA).read_bytes())
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"expected the metadata.json of dfdc-prep shard in {self}, found no readable "
                "one; write the shards again with dfdc-prep shard --overwrite"
            ) from error
        return ShardsConfig(self.manifest_hash(), counts, _crop_settings(table), metadata)


def _crop_settings(table: pa.Table) -> CropSettings:
    """The most frequent detector and alignment, and the median margin; None if not recorded."""
    rows = table.select(["detector", "margin", "align"]).to_pandas()
    rows = rows.dropna(subset=["detector", "margin"])
    if rows.empty:
        return CropSettings(detector=None, margin=None, align="none")
    return CropSettings(
        detector=str(rows["detector"].mode()[0]),
        margin=round(float(rows["margin"].astype(float).median()), 2),
        align=str(rows["align"].fillna("none").mode()[0]),
    )


class ShardCache:
    """The shard files of a folder in a bucket, whose small files have been fetched.

    Those used longest ago make room for others. What an earlier training left here is used again
    if it has the hash that SHA256SUMS lists. Any thread may fetch.
    """

    def __init__(self, mirror: Mirror, max_bytes: int) -> None:
        self.url, self.sizes = mirror.url, mirror.sizes
        #: The last error of fetching, which TensorFlow reports as one of its own.
        self.error: StorageError | None = None
        self._mirror, self._max_bytes = mirror, max_bytes
        self._sums = parse_sums(mirror.folder / ShardsFolder.SUMS)
        if not self._sums:
            raise TrainingError(
                f"expected SHA256SUMS in {self.url}, found none: the shards are not complete; run "
                "dfdc-prep shard"
            )
        self._fetched: OrderedDict[str, None] = OrderedDict()  # the one used last at the end
        self._changes = Lock()
        self._fetches = {name: Lock() for name in self.sizes}

    def fetch(self, name: str) -> Path:
        """Return the path of a shard, fetched if it is not there; StorageError if it cannot be."""
        path = self._mirror.folder / name
        with self._fetches[name]:
            with self._changes:
                if name in self._fetched:
                    self._fetched.move_to_end(name)
                    return path
            try:
                self._fetch(path)
            except StorageError as error:
                self.error = error
                raise
            except OSError as error:
                self.error = StorageError(
                    f"expected room for {name} in the cache at {path.parent.parent}, found "
                    f"{error.strerror or error}; free disk space, or lower --cache-gb"
                )
                raise self.error from error
            with self._changes:
                self._fetched[name] = None
                used = sum(self.sizes[each] for each in self._fetched)
                while used > self._max_bytes and len(self._fetched) > _KEPT:
                    oldest, _ = self._fetched.popitem(last=False)
                    (path.parent / oldest).unlink(missing_ok=True)  # readers keep their open file
                    used -= self.sizes[oldest]
        return path

    def _fetch(self, path: Path) -> None:
        def is_whole() -> bool:
            return path.is_file() and self._sums.get(path.name) == file_sha256(path)

        if is_whole():
            return
        if not self._mirror.pull([path.name]):
            raise StorageError(
                f"expected the shard {self.url / path.name}, found no such object; write the "
                "shards again"
            )
        if not is_whole():
            raise StorageError(
                f"expected the hash of SHA256SUMS in {self.url / path.name}, found another; check "
                f"the shards with dfdc-prep verify {self.url}"
            )


@contextmanager
def open_shards(location: Location, cache_gb: float = DEFAULT_GB) -> Iterator[Shards]:
    """Yield a shards folder on this machine.

    The cache of a bucket, of `cache_gb` times 10**9 bytes, is a folder of the user's, or a new one
    if that is in use.

    Raises:
        StorageError: the bucket cannot be reached.
        TrainingError: it is no shards folder.
    """
    with ExitStack() as stack:
        folder = None
        if isinstance(location, Url):
            import pooch  # imported here because it is slow, and a folder on this disk needs none

            flat = location.text.replace("://", "-").replace("/", "-")
            folder = Path(pooch.os_cache("dfdc-prep")) / "shards" / flat[-200:] / location.name
            try:
                stack.enter_context(folder_lock(folder))
            except (OutputError, OSError):
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="dfdc-prep-"))
                folder = Path(scratch, location.name)
            folder.mkdir(parents=True, exist_ok=True)
        space = stack.enter_context(workspace(location, _pull_small_files, folder=folder))
        cache = ShardCache(space, int(cache_gb * 1e9)) if isinstance(space, Mirror) else None
        yield Shards(space.folder, cache)


def _pull_small_files(mirror: Mirror) -> None:
    """Fetch all but the shard files, and remove those in the cache that are no longer there."""
    mirror.pull(n for n in mirror.sizes if not ShardsFolder.is_shard(n) and "/" not in n)
    for path in mirror.folder.iterdir():
        if ShardsFolder.is_shard(path.name) and path.name not in mirror.sizes:
            path.unlink()
