"""Imports an existing crop set into a faces folder with the layout of `extract`.

The images are hard-linked, or copied if the folder is on another file system; they are never
re-encoded. They keep their relative paths: `<folder>/a/b.jpg` becomes `crops/<part>/a/b.jpg`.
"""

import filecmp
import hashlib
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import __version__ as pillow_version
from tqdm import tqdm

from dfdc_prep import __version__
from dfdc_prep.crops.encoding import crop_fault
from dfdc_prep.crops.files import list_images
from dfdc_prep.errors import OptionsDiffer, OutputError, SourceError
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.writing.imported_tables import (
    CROP,
    DUPLICATE,
    MISSING,
    NO_IMAGE,
    PART,
    UNREADABLE,
    Outcome,
    build_clip_log,
    build_manifest,
    match_images,
)
from manifests.columns import CROP_SIZE
from manifests.files import atomic_folder, file_sha256, link_or_copy, parse_json, write_json
from manifests.folders import FacesFolder
from manifests.relatives import FamilyCounts, OriginalMatches
from manifests.result import Result, TextTable, written_to
from manifests.tables.codes import SOURCE, clip_codes, clips_known
from manifests.tables.external import BY_EVIDENCE, Reading, read_bare_table
from manifests.tables.families import connected_families, count_families
from manifests.tables.parquet import MANIFEST, write_faces_tables

#: Maximum size of an image file, bytes; larger files are not read.
_MAX_BYTES = 50_000_000


@dataclass(frozen=True)
class ImportReport(Result):
    """Counts of what was imported and what was not; clips.parquet has the names.

    `unreadable` counts the images that are not valid crops. `clips` is None if it is not known
    what is a clip, and `notes` say how the table was read, where it does not say it itself.
    `fakes` are the FAKE clips by the source of their family, and `originals` says how the
    originals that they name were found among the clips of the table.
    """

    out: Path
    crops: int
    clips: int | None
    missing: int
    without_image: int
    unnamed: int
    duplicates: int
    unreadable: int
    fakes: FamilyCounts
    originals: OriginalMatches
    notes: tuple[str, ...] = ()

    @property
    def manifest(self) -> Path:
        """The manifest, one row per crop."""
        return self.out / FacesFolder.MANIFEST

    @property
    def failed(self) -> int:
        """Rows and images that were left out; clips.parquet names them."""
        return self.missing + self.without_image + self.unnamed + self.duplicates + self.unreadable

    def text(self) -> str:
        """The report for the terminal: one line of totals, and one per kind of fault found."""
        faults = {
            "rows whose image is missing": self.missing,
            "rows without an image": self.without_image,
            "images without a row": self.unnamed,
            "rows that name the image of an earlier row": self.duplicates,
            f"images that are not a readable {CROP_SIZE}x{CROP_SIZE} crop": self.unreadable,
        }
        of_clips = "" if self.clips is None else f" of {self.clips:,} clips"
        lines = [*self.notes, f"{self.crops:,} crops{of_clips}"]
        lines += [*self.fakes.lines(), *self.originals.lines()]
        lines += [f"{what}: {n:,}" for what, n in faults.items() if n]
        return "\n".join([*lines, *written_to(self.out)])

    def cells(self) -> TextTable:
        counts = {name: n for name, n in vars(self).items() if isinstance(n, int)}
        known = {f"FAKE clips, family {name}": n for name, n in vars(self.fakes).items()}
        return TextTable(("count of", "number"), (counts | known).items())


def import_crops(
    source: Path, csv: Path, out: Path, overwrite: bool = False, reading: Reading = BY_EVIDENCE
) -> ImportReport:
    """Make a faces folder from a folder of crops and a table that describes them.

    Args:
        source: the folder of crops, 224x224 PNG or JPEG, RGB or grey, in subfolders of any depth.
        csv: a bare table (`manifests.tables.external`). Its `path` names the images, relative to
            `source` or to the table's folder; without it, the stem of `video` does.
        out: the faces folder; it is created completely or not at all. An existing
            balanced.parquet, split.parquet and the files of `identify` are kept if the manifest
            is unchanged.
        overwrite: replace a faces folder made from another table or by `extract`, including
            all files derived from its manifest.
        reading: how to read what the table does not say.

    Raises:
        TableError, SourceError: the table or the folder is invalid, or a name is unsafe.
        OptionsDiffer: `out` was made from another table, and `overwrite` is not set.
        OutputError: `out` is not a faces folder, contains foreign files or tables derived from
            another manifest, or cannot be written.
    """
    found = read_bare_table(csv, reading)
    table, run = found.rows, _run_metadata(csv, reading)
    _check_output(source, out, run, overwrite)
    prefix = Path(os.path.relpath(source, csv.parent)).as_posix()
    matched, unnamed = match_images(table, list_images(source), prefix)
    with atomic_folder(out) as folder:
        # Check again: another run may have written the folder before this one had the lock.
        _check_output(source, out, run, overwrite)
        outcomes = _link_crops(table, matched, source, folder)
        imported = [outcome for outcome in outcomes if outcome.kind == CROP]
        if not imported:
            unreadable = (outcome.fault for outcome in outcomes if outcome.kind == UNREADABLE)
            why = next(unreadable, "no row of the table names any of its images")
            raise SourceError(
                f"expected crops to import from {source}, found none: {why}; "
                "fix the table or the folder"
            )
        crops = build_manifest(table, imported)
        log = build_clip_log(table, outcomes, unnamed)
        write_faces_tables(folder, crops, log)
        write_json(folder / FacesFolder.RUN, run)
        if not overwrite:
            _keep_derived(out, folder)
    count = Counter(outcome.kind for outcome in outcomes)
    return ImportReport(
        out,
        crops.num_rows,
        log.num_rows if clips_known(table) else None,
        count[MISSING],
        count[NO_IMAGE],
        len(unnamed),
        count[DUPLICATE],
        count[UNREADABLE],
        count_families(crops, clip_codes(crops)),
        connected_families(table).matches,
        found.notes,
    )


def _link_crops(
    table: pa.Table, matched: list[Outcome], source: Path, folder: Path
) -> list[Outcome]:
    """Check and link every image that matches a row; return the outcomes of all rows."""
    # A part that was read from the path would only repeat it.
    named = "part" in table.column_names and SOURCE not in table.column_names
    parts = table["part"].to_pylist() if named else [None] * table.num_rows

    def link(outcome: Outcome) -> Outcome:
        if outcome.kind != CROP:
            return outcome
        file, path = source / outcome.image, f"crops/{parts[outcome.row] or PART}/{outcome.image}"
        data, fault = _read_image(file)
        if fault:
            return outcome._replace(kind=UNREADABLE, fault=fault)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(file, folder / path)
        return outcome._replace(path=path, sha256=hashlib.sha256(data).hexdigest())

    with ThreadPoolExecutor(available_cores()) as pool:
        linked = pool.map(link, matched)
        return list(tqdm(linked, "import", len(matched), unit=" crops", disable=None))


def _read_image(file: Path) -> tuple[bytes, str | None]:
    """The bytes of an image file, and why it is no crop, if it is none."""
    try:
        if not file.is_file():  # reading a pipe would block
            return b"", f"{file.name} is not a file"
        if file.stat().st_size > _MAX_BYTES:
            return b"", f"{file.name} has more than {_MAX_BYTES:,} bytes"
        data = file.read_bytes()
    except OSError as error:
        return b"", f"{file.name} cannot be read: {error.strerror}"
    what = crop_fault(data, decoded=True)
    return data, what and f"expected {CROP_SIZE}x{CROP_SIZE} in {file.name}, found {what}"


def _run_metadata(csv: Path, reading: Reading) -> dict[str, Any]:
    """The content of run.json.

    It has the hash of the table but no path and no time, so that repeated imports are identical.
    """
    return {
        "command": "import",
        "options": {"table_sha256": file_sha256(csv), **asdict(reading)},
        "versions": {
            "dfdc-prep": __version__,
            "numpy": np.__version__,
            "pillow": pillow_version,
            "pyarrow": pa.__version__,
        },
    }


def _check_output(source: Path, out: Path, run: dict[str, Any], overwrite: bool) -> None:
    """Raise OptionsDiffer or OutputError if `out` must not be written; see `import_crops`."""
    crops, faces = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    if crops.is_relative_to(faces) or faces.is_relative_to(crops):
        raise OutputError(
            f"expected {out} outside the folder of crops {source}, found one inside the "
            f"other; choose another folder"
        )
    if not out.exists() or (out.is_dir() and set(os.listdir(out)) <= {FacesFolder.LOCK}):
        return
    try:
        earlier = dict(parse_json((out / FacesFolder.RUN).read_bytes())["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"expected {out} to be empty or a faces folder, found something else; "
            f"choose another folder"
        ) from error
    changed = [name for name, value in run["options"].items() if earlier.get(name) != value]
    if changed and not overwrite:
        raise OptionsDiffer(
            f"expected an import of the same table in {out}, found one with other options "
            f"({', '.join(changed)}); choose another folder or use --overwrite"
        )
    FacesFolder.check_replaceable(out)


def _keep_derived(earlier: Path, folder: Path) -> None:
    """Copy the derived files of an earlier import, whose manifest must be the same.

    Raises:
        OutputError: there are derived files, but the manifest has changed.
    """
    for name in FacesFolder.DERIVED:
        if not (earlier / name).is_file():
            continue
        try:
            same = filecmp.cmp(earlier / MANIFEST, folder / MANIFEST, shallow=False)
        except FileNotFoundError:
            same = False
        if not same:
            raise OutputError(
                f"expected the manifest that {earlier / name} was made from, found another; "
                "choose another folder or use --overwrite"
            )
        shutil.copyfile(earlier / name, folder / name)
