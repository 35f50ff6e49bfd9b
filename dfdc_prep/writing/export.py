"""Writes an export: reads and splits the crops, and has a format write them into a folder.

All files are written into a temporary folder, which is renamed when complete: an export that
exists is complete. The same crops and options give the same bytes for any number of threads.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from dfdc_prep.writing.checksums import SUMS, parse_sums, write_sums
from dfdc_prep.writing.output import METADATA, TOOL, OutputFolder
from dfdc_prep.writing.sources import (
    CropChoice,
    SplitCrops,
    crops_metadata,
    read_crops,
    with_pictures,
)
from manifests.files import atomic_folder, write_json
from manifests.folders import ExportFolder
from manifests.result import Result, TextTable
from manifests.schema import SPLIT_SCHEMA
from manifests.splitting.sets import RowsInSplits, given_splits
from manifests.tables.parquet import read_manifest, write_table

MANIFEST = ExportFolder.MANIFEST
#: The key of metadata.json that names the format.
_FORMAT = "export"


@dataclass(frozen=True)
class Written:
    """What a format wrote.

    Attributes:
        manifest: the rows of the exported crops, with their split.
        hashes: SHA-256 of files by name, relative to the folder; the others are hashed.
        notes: what the user should know, one line each.
    """

    manifest: pa.Table
    hashes: dict[str, str]
    notes: tuple[str, ...] = ()


class Format(Protocol):
    """A format of exports, with its options."""

    @property
    def name(self) -> str:
        """Its name in metadata.json and in messages."""
        ...

    def options(self) -> dict[str, Any]:
        """The options that determine the bytes, for metadata.json."""
        ...

    def write(self, crops: SplitCrops, folder: Path) -> Written:
        """Write the crops into an empty folder."""
        ...


@dataclass(frozen=True)
class ExportReport(Result):
    """Summary of an export.

    Attributes:
        out: the folder.
        format: deepfakebench, webdataset or huggingface.
        crops: number of crops by split.
        size: bytes of all files.
        assignment: description of the split for the terminal.
        notes: what the user should know, one line each.
        already_exists: whether the folder was complete before, so that nothing was written.
    """

    out: Path
    format: str
    crops: dict[str, int]
    size: int
    assignment: str
    notes: tuple[str, ...] = ()
    already_exists: bool = False

    def text(self) -> str:
        """The report as lines for the terminal."""
        state = "already exists" if self.already_exists else "written"
        counts = ", ".join(f"{count:,} {split}" for split, count in self.crops.items())
        last = f"{self.out} {state}: {self.format}, crops {counts}; {self.size / 1e6:,.1f} MB"
        return "\n".join([self.assignment, *self.notes, last])

    def cells(self) -> TextTable:
        return TextTable(("split", "crops"), self.crops.items())


def write_export(
    faces: Sequence[Path], out: Path, choice: CropChoice, form: Format, overwrite: bool = False
) -> ExportReport:
    """Write the crops of one or several faces folders in the format of another tool.

    Args:
        overwrite: replace an export of other crops or options.

    Raises:
        TableError: a table is missing or invalid, or a split has no crops.
        ShardError: a crop is missing, altered or outside its folder.
        OptionsDiffer: `out` has other content, and `overwrite` is not set.
        OutputError: `out` contains foreign files, cannot be written, or another run is writing
            it.
    """
    chosen = crops_metadata(faces, choice)
    metadata = {"tool": TOOL, _FORMAT: form.name, **chosen, **form.options()}
    output = OutputFolder(out, "an export", "an export", _is_export, check_only_listed)
    if output.is_complete(metadata, overwrite):
        manifest = read_manifest(out / MANIFEST, "dfdc-prep export --overwrite", SPLIT_SCHEMA)
        return _report(out, form.name, manifest, given_splits(manifest), already_exists=True)
    crops = read_crops(faces, choice)
    with atomic_folder(out) as folder:
        output.check_again(metadata, overwrite)
        written = form.write(crops, folder)
        write_table(written.manifest, folder / MANIFEST)
        write_json(folder / METADATA, with_pictures(metadata, crops), ensure_ascii=False)
        write_sums(folder, written.hashes)
    splits = replace(crops.splits, text=crops.text)
    return _report(out, form.name, written.manifest, splits, written.notes)


def _is_export(_folder: Path, metadata: dict[str, Any]) -> bool:
    return _FORMAT in metadata


def check_only_listed(folder: Path) -> None:
    """Raise OutputError if replacing an export would delete a file not in its SHA256SUMS."""
    ExportFolder.check_replaceable(folder, parse_sums(folder / SUMS))


def _report(
    out: Path,
    name: str,
    manifest: pa.Table,
    splits: RowsInSplits,
    notes: tuple[str, ...] = (),
    already_exists: bool = False,
) -> ExportReport:
    found = Counter(manifest["split"].to_pylist())
    counts = {split: found[split] for split in splits.order}
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return ExportReport(out, name, counts, size, splits.text, notes, already_exists)
