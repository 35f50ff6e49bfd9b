"""Any other data set: a CSV that names the clips, their labels and what else is known.

Its paths are relative to the source.
"""

import os
from functools import cache
from pathlib import Path

from dfdc_prep.catalog import files
from dfdc_prep.catalog.clips import SPLITS, Entry, Layout, Listing, Provenance, SourceOptions
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, LABELS, parse_label
from manifests.wording import abbreviated, did_you_mean

_SHAPE = "a CSV with the columns path and label, given with --table"
_REQUIRED = ("path", "label")
_OPTIONAL = ("original", "method", "identity", "face_identity", "split", "dataset")


def _read(source: Path, options: SourceOptions) -> Listing:
    table = options.table
    if table is None:
        raise SourceError(f"expected {_SHAPE}, found no --table; give one")
    rows, refused = [], []
    for row in files.read_csv(table, _REQUIRED, _OPTIONAL, others=True):
        for column in ("path", "original"):
            row[column] = _relative(row[column], source)
        if files.is_path(row["path"]) and (not row["original"] or files.is_path(row["original"])):
            rows.append(row)
        else:
            refused.append(row["path"])
    if not rows and not refused:
        raise SourceError(f"expected rows in {table}, found none; add the clips")
    notes = _read_labels(table, rows, options.real_is) if rows else []

    @cache
    def sizes(folder: str) -> dict[str, int]:
        path = Path(source, folder)
        return files.file_sizes(path) if path.is_dir() else {}

    entries, top = [], source.resolve().name or "clips"
    for row in rows:
        names = files.split_path(table, row["path"])
        *folders, video = names
        # Crops are stored by part: one folder name for the folders of the path.
        part = "_".join(folders) or top
        files.check_text(table, "folder", part)
        size = sizes("/".join(folders)).get(video)
        original, provenance = _parse(table, row, options.dataset)
        path = os.sep.join((str(source), *names))
        entries.append(Entry(part, video, row["label"], original, path, size, provenance))
    files.check_unique(entries, table)
    if entries and all(entry.size is None for entry in entries):
        raise SourceError(
            f"expected the clips of {table} below {source}, found none of them, such "
            f"as {entries[0].path}; give the folder that the paths are relative to"
        )
    return Listing(options.dataset, entries, notes=notes, refused=refused)


def _relative(path: str, source: Path) -> str:
    """A path with slashes, relative to the source if it is an absolute one inside it."""
    path = path.replace("\\", "/")
    inside = (f"{folder.as_posix()}/" for folder in (source.absolute(), source.resolve()))
    return next((path.removeprefix(top) for top in inside if path.startswith(top)), path)


def _parse(table: Path, row: dict[str, str], dataset: str | None) -> tuple[str | None, Provenance]:
    """The original and the provenance of a row; only fakes have an original and a method."""
    dataset = dataset or row["dataset"] or None
    identity, split = row["identity"] or None, SPLITS.get(row["split"].lower())
    if row["label"] != FAKE:
        return None, Provenance(dataset, None, identity, None, split)
    original = files.split_path(table, row["original"])[-1] if row["original"] else None
    method, face = row["method"] or None, row["face_identity"] or None
    return original, Provenance(dataset, method, identity, face, split)


def _read_labels(table: Path, rows: list[dict[str, str]], real_is: int | None) -> list[str]:
    """Set the labels of the rows to REAL and FAKE; return what must be said of it."""
    # Imported here: the other layouts need no pyarrow.
    import pyarrow as pa

    from manifests.tables.external import read_labels

    for row in rows:
        if parse_label(row["label"]) is None:
            raise SourceError(
                f"expected a label REAL or FAKE (0 or 1) for {abbreviated(row['path'])} in "
                f"{table}, found {abbreviated(row['label'])}; "
                + (did_you_mean(row["label"], LABELS) or "correct the row")
            )
        if row["split"] and row["split"].lower() not in SPLITS:
            raise SourceError(
                f"expected train, validation or test as split of {abbreviated(row['path'])} in "
                f"{table}, found {abbreviated(row['split'])}; "
                + (did_you_mean(row["split"], SPLITS) or "correct the row")
            )
        for column in ("method", "identity", "face_identity", "dataset"):
            files.check_text(table, column, row[column])
    columns = {name: [row[name] or None for row in rows] for name in rows[0]}
    found = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    labels, notes = read_labels(found, real_is, str(table))
    for row, label in zip(rows, labels.to_pylist(), strict=True):
        row["label"] = label
    return list(notes)


#: Only --table selects this layout.
TABLE = Layout("table", _SHAPE, (), _read)
