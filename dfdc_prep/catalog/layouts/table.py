"""Any other data set: a CSV that names the clips, their labels and what else is known."""

import os
from pathlib import Path

from dfdc_prep.catalog.clips import SPLITS, Entry, Listing, Provenance, SourceOptions, check_unique
from dfdc_prep.catalog.files import (
    abbreviated,
    check_text,
    file_sizes,
    is_path,
    read_csv,
    split_path,
)
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, parse_label

_REQUIRED = ("path", "label")
_OPTIONAL = ("original", "method", "identity", "face_identity", "split", "dataset")


class Table:
    """The clips that a CSV names, with paths relative to the source."""

    name = "table"
    shape = "a CSV with the columns path and label, given with --table"
    #: Only --table selects this layout.
    marks: tuple[str, ...] = ()

    def dataset(self, source: Path, options: SourceOptions) -> str | None:
        return options.dataset

    def read(self, source: Path, options: SourceOptions) -> Listing:
        if options.table is None:
            raise SourceError(f"expected {self.shape}, found no --table; give one")
        top = source.resolve().name or "clips"
        files = _Files(source)
        given = list(read_csv(options.table, _REQUIRED, _OPTIONAL, others=True))
        rows = [row for row in given if _has_names(row)]
        refused = tuple(row["path"] for row in given if not _has_names(row))
        if not given:
            raise SourceError(f"expected rows in {options.table}, found none; add the clips")
        notes = _read_labels(options.table, rows, options.real_is) if rows else ()
        entries = [_entry(options.table, row, top, files, options.dataset) for row in rows]
        check_unique(entries, options.table)
        if entries and all(entry.size is None for entry in entries):
            raise SourceError(
                f"expected the clips of {options.table} below {source}, found none of them, such "
                f"as {entries[0].path}; give the folder that the paths are relative to"
            )
        return Listing(entries, notes=notes, refused=refused)


def _has_names(row: dict[str, str]) -> bool:
    """Whether the paths of a row are those of clips."""
    return is_path(row["path"]) and (not row["original"] or is_path(row["original"]))


class _Files:
    """Sizes of files; each folder is listed once."""

    def __init__(self, source: Path) -> None:
        self.source = str(source)
        self._sizes: dict[str, dict[str, int]] = {}

    def size(self, folder: str, name: str) -> int | None:
        """The size of a file in bytes, None if it does not exist."""
        if folder not in self._sizes:
            path = Path(self.source, folder)
            self._sizes[folder] = file_sizes(path) if path.is_dir() else {}
        return self._sizes[folder].get(name)


def _entry(table: Path, row: dict[str, str], top: str, files: _Files, dataset: str | None) -> Entry:
    names = split_path(table, row["path"])
    *folders, video = names
    folder = "/".join(folders)
    label = row["label"]
    # Crops are stored by part: one folder name for the folders of the path.
    part = "_".join(folders) or top
    check_text(table, "folder", part)
    original = split_path(table, row["original"])[-1] if row["original"] else None
    provenance = Provenance(
        dataset or row["dataset"] or None,
        row["method"] or None if label == FAKE else None,
        row["identity"] or None,
        row["face_identity"] or None if label == FAKE else None,
        SPLITS.get(row["split"].lower()),
    )
    path = os.sep.join((files.source, *names))
    return Entry(
        part,
        video,
        label,
        original if label == FAKE else None,
        path,
        files.size(folder, video),
        provenance,
    )


def _read_labels(table: Path, rows: list[dict[str, str]], real_is: int | None) -> tuple[str, ...]:
    """Set the labels of the rows to REAL and FAKE; return what must be said of it."""
    # Imported here: the other layouts need no pyarrow.
    import pyarrow as pa

    from manifests.tables.external import read_labels

    for row in rows:
        _check_row(table, row)
    columns = {name: [row[name] or None for row in rows] for name in rows[0]}
    found = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    labels, notes = read_labels(found, real_is, str(table))
    for row, label in zip(rows, labels.to_pylist(), strict=True):
        row["label"] = label
    return tuple(notes)


def _check_row(table: Path, row: dict[str, str]) -> None:
    """Check the values of a row other than its paths."""
    if parse_label(row["label"]) is None:
        raise SourceError(
            f"expected a label REAL or FAKE (0 or 1) for {abbreviated(row['path'])} in {table}, "
            f"found {abbreviated(row['label'])}; correct the row"
        )
    if row["split"] and row["split"].lower() not in SPLITS:
        raise SourceError(
            f"expected train, validation or test as split of {abbreviated(row['path'])} in "
            f"{table}, found {abbreviated(row['split'])}; correct the row"
        )
    for column in ("method", "identity", "face_identity", "dataset"):
        check_text(table, column, row[column])
