"""Writes the crops of faces folders in one of the formats: shards, or those of other tools.

All files are written into a temporary folder, which is renamed when complete: a folder that
exists is complete. The same crops and options give the same bytes for any number of threads, and
the sorted names of SHA256SUMS, in the format of `sha256sum`, make its text depend on them alone.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from dfdc_prep import __version__
from dfdc_prep.errors import OptionsDiffer
from dfdc_prep.writing.sources import CropSelection, SplitCrops, crops_metadata, read_crops
from manifests import files
from manifests.arrow import SPLIT_SCHEMA
from manifests.folders import ExportFolder, ShardsFolder, is_report
from manifests.result import Result, TextTable
from manifests.splitting.sets import given_splits
from manifests.tables.parquet import read_manifest, write_table

SUMS = ShardsFolder.SUMS
TOOL = f"dfdc-prep {__version__}"
#: Keys of metadata.json: the format, which shards do not name; and what was found in the crops,
#: which determines nothing.
_EXPORT, _PICTURES = "export", "pictures"


class Written(NamedTuple):
    """What a format wrote."""

    manifest: pa.Table  #: the rows of the crops written, with their split
    hashes: dict[str, str]  #: SHA-256 of files by name, relative to the folder; others are hashed
    notes: tuple[str, ...] = ()  #: what the user should know, one line each


@dataclass(frozen=True)
class Format(ABC):
    """A format, with its options: how the crops are encoded, and which files lie beside them."""

    name: ClassVar[str]
    kind: ClassVar[str] = "an export"  # what messages call what is written
    folder: ClassVar[str] = "an export"  # what they call its folder
    command: ClassVar[str] = "dfdc-prep export"  # the command that writes it
    bar: ClassVar[str] = "export"  # label of the progress bar
    schema: ClassVar[pa.Schema] = SPLIT_SCHEMA  # of manifest.parquet

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The options that determine the bytes, for metadata.json."""

    def metadata(self, source: dict[str, Any]) -> dict[str, Any]:
        """The content of metadata.json after `tool`, given that of `crops_metadata`."""
        return {_EXPORT: self.name, **source, **self.options()}

    @abstractmethod
    def write(self, crops: SplitCrops, folder: Path, workers: int | None) -> Written:
        """Write the crops into an empty folder, in threads; None for one per core."""

    @staticmethod
    def check_replaceable(folder: Path) -> None:
        """Raise OutputError if replacing a folder of this format would delete a foreign file."""
        ExportFolder.check_replaceable(folder, files.parse_sums(folder / SUMS))

    def descriptions(
        self, written: Written, folder: Path, metadata: dict[str, Any]
    ) -> dict[str, Any]:
        """The files that describe what was written into the folder: text, or values as JSON.

        Args:
            metadata: the content of metadata.json.
        """
        return {}


@dataclass(frozen=True)
class WriteReport(Result):
    """Summary of a folder of shards or an export."""

    out: Path
    format: str  # tfrecord, webdataset, huggingface or deepfakebench
    crops: dict[str, int]  # number of crops by split
    shards: dict[str, int]  # number of shard files by split; empty for a format without shards
    size: int  # bytes of all files
    assignment: str  # description of the split for the terminal
    notes: tuple[str, ...] = ()  # what the user should know, one line each
    already_exists: bool = False  # whether the folder was complete, so that nothing was written

    def text(self) -> str:
        """The report as lines for the terminal."""
        (_, noun), numbers = self.cells().header, self.cells().rows
        counts = ", ".join(f"{count:,} {split}" for split, count in numbers)
        what = noun if self.format == "tfrecord" else f"{self.format}, {noun}"
        state = "already exists" if self.already_exists else "written"
        last = f"{self.out} {state}: {what} {counts}; {self.size / 1e6:,.1f} MB"
        return "\n".join([self.assignment, *self.notes, last])

    def cells(self) -> TextTable:
        noun = "shards" if self.format == "tfrecord" else "crops"
        return TextTable(("split", noun), getattr(self, noun).items())


def write_crops(
    faces: Path | Sequence[Path],
    out: Path,
    output: Format,
    selection: CropSelection,
    overwrite: bool = False,
    workers: int | None = None,
) -> WriteReport:
    """Write the crops of one or several faces folders in a format.

    Grouped by identity, manifest.parquet has the columns `identity` and `identity_source`.

    Args:
        overwrite: replace a folder of this format with other content.
        workers: number of threads, None for one per core; does not change the output.

    Raises:
        TableError, ShardError, OptionsDiffer, OutputError: as `dfdc_prep.shard`.
    """
    folders = [faces] if isinstance(faces, Path) else faces
    metadata = {"tool": TOOL, **output.metadata(crops_metadata(folders, selection))}
    if _is_complete(out, output, metadata, overwrite):
        files.clear_folder_lock(out)  # left by a run that was killed just before it finished
        made_by = f"{output.command} --overwrite"
        manifest = read_manifest(out / ExportFolder.MANIFEST, made_by, output.schema)
        splits = given_splits(manifest)
        report = _report(out, output, Written(manifest, {}), splits.order, splits.text)
        return replace(report, already_exists=True)
    crops = read_crops(folders, selection)
    with files.atomic_folder(out) as folder:
        # Check again: another run may have written the folder before this one had the lock.
        _is_complete(out, output, metadata, overwrite)
        written = output.write(crops, folder, workers)
        pictures = {} if crops.splits.joins is None else {_PICTURES: asdict(crops.splits.joins)}
        describe(folder, output, written, metadata | pictures)
    return _report(out, output, written, crops.splits.order, crops.text)


def describe(folder: Path, output: Format, written: Written, metadata: dict[str, Any]) -> None:
    """Write what lies beside the crops: the manifest, descriptions, metadata.json, SHA256SUMS."""
    write_table(written.manifest, folder / ExportFolder.MANIFEST)
    written.hashes[ExportFolder.MANIFEST] = files.file_sha256(folder / ExportFolder.MANIFEST)
    contents = output.descriptions(written, folder, metadata)
    contents[ExportFolder.METADATA] = metadata
    for name, content in contents.items():
        if isinstance(content, str):
            files.write_text(folder / name, content)
        else:
            files.write_json(folder / name, content, ensure_ascii=False)
    write_sums(folder, written.hashes)


def _is_complete(out: Path, output: Format, metadata: dict[str, Any], overwrite: bool) -> bool:
    """Whether a folder already contains what is to be written; if not, whether it may be replaced.

    It may if `overwrite` is set and it is of the same format without foreign files. Equal metadata,
    but for `_PICTURES`, implies equal bytes of all files. Raises as `write_crops`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = files.parse_json((out / ExportFolder.METADATA).read_bytes())
        known = str(found["tool"]).startswith("dfdc-prep")
        known = known and (_EXPORT in found) == (_EXPORT in metadata)
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise OptionsDiffer(
            f"expected {out} to be empty or {output.folder}, found something else; "
            "choose another folder"
        )
    found.pop(_PICTURES, None)
    if overwrite:
        output.check_replaceable(out)
        return False
    keys = metadata.keys() | found.keys()
    if differs := sorted(key for key in keys if found.get(key) != metadata.get(key)):
        raise OptionsDiffer(
            f"expected {output.kind} of the same manifest and options in {out}, found another "
            f"{' and '.join(differs)}; use --overwrite to replace it"
        )
    return True


def _report(
    out: Path, output: Format, written: Written, order: Sequence[str], assignment: str
) -> WriteReport:
    crops, shards = Counter(written.manifest["split"].to_pylist()), Counter[str]()
    if "shard" in written.manifest.column_names:
        pairs = written.manifest.group_by(["split", "shard"]).aggregate([])
        shards.update(pairs["split"].to_pylist())
    written_files = (file for file in out.rglob("*") if file.is_file() and not is_report(file.name))
    return WriteReport(
        out,
        output.name,
        {split: crops[split] for split in order},
        {split: shards[split] for split in order if shards[split]},
        sum(file.stat().st_size for file in written_files),
        assignment,
        written.notes,
    )


def write_sums(folder: Path, known: dict[str, str]) -> None:
    """Write SHA256SUMS of a folder and its subfolders; files that are not in `known` are hashed."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path != folder / SUMS)
    names = (path.relative_to(folder).as_posix() for path in paths)
    hashes = {name: known.get(name) or files.file_sha256(folder / name) for name in names}
    (folder / SUMS).write_text(files.format_sums(hashes), encoding="ascii")
