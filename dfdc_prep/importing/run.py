"""A crop set somebody else made becomes a faces folder, as if `extract` had written it.

The images are hard-linked, or copied where the folder lies on another disk; they are never
encoded anew. They keep their places: `<folder>/a/b.jpg` becomes `crops/<part>/a/b.jpg`.
"""

import filecmp
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import __version__ as pillow_version
from tqdm import tqdm

from dfdc_prep import __version__
from dfdc_prep.crops import CROP_SIZE
from dfdc_prep.crops.files import describe_image
from dfdc_prep.crops.folder import list_images
from dfdc_prep.errors import OptionsDiffer, OutputError, SourceError
from dfdc_prep.importing.manifest import Imported, clip_log, manifest, place
from dfdc_prep.importing.matching import Matches, match
from dfdc_prep.output_folder import LOCK_FILE, RUN_FILE, foreign_files
from dfdc_prep.parallel.cpu_count import available_cores
from manifests.io.atomic import whole_folder
from manifests.io.json_files import parse_json
from manifests.tables.external import read_bare
from manifests.tables.kaggle_csv import metadata
from manifests.tables.parquet import write_table

MANIFEST = "manifest.parquet"
#: What other commands choose from an import's crops.
_CHOSEN = ("balanced.parquet", "split.parquet")
#: A crop larger than this is not read, bytes.
_LARGEST = 50_000_000


@dataclass(frozen=True)
class ImportReport:
    """What was imported, and what was not; each count's names stand in clips.parquet."""

    crops: int
    clips: int
    missing: int
    imageless: int
    unnamed: int
    repeated: int
    unreadable: int

    @property
    def failed(self) -> int:
        """Rows and images that were left out."""
        return self.missing + self.imageless + self.unnamed + self.repeated + self.unreadable

    def text(self) -> str:
        """One line for what there is, and one for each kind of fault that occurs."""
        faults = {
            "rows whose image is missing": self.missing,
            "rows without an image": self.imageless,
            "images without a row": self.unnamed,
            "second rows of one name": self.repeated,
            f"images that are no readable {CROP_SIZE}x{CROP_SIZE} crop": self.unreadable,
        }
        lines = [f"{self.crops:,} crops of {self.clips:,} clips"]
        return "\n".join([*lines, *(f"{what}: {n:,}" for what, n in faults.items() if n)])


def import_crops(source: Path, csv: Path, out: Path, overwrite: bool = False) -> ImportReport:
    """Make a faces folder of a folder of crops and the table that describes them.

    Args:
        source: the folder of crops, 224x224 PNG or JPEG, RGB or grey, however deep.
        csv: a bare table (`manifests.bare`); images are found by its `path`, relative to
            `source` or to the table's folder, or by the stem of its video.
        out: the faces folder; appears whole, or not at all. Tables chosen from the same crops
            stay in it.
        overwrite: replace a faces folder that another table or `extract` made, with the tables
            chosen from its crops.

    Raises:
        TableError, SourceError: the table or the folder is none, or a name is hostile.
        OptionsDiffer: `out` was made otherwise, and `overwrite` is not set.
        OutputError: `out` is no faces folder, holds other files or tables chosen from other
            crops, or cannot be written.
    """
    table = read_bare(csv)
    run = _run(csv)
    _check_free(source, out, run, overwrite)
    prefix = Path(os.path.relpath(source, csv.parent)).as_posix()
    matches = match(table, list_images(source), prefix)
    with whole_folder(out) as folder:
        _check_free(source, out, run, overwrite)  # again, now that nobody else writes it
        checked = list(_take_over(table, matches, source, folder))
        _check_some(checked, source)
        crops = manifest(table, [one for one in checked if one.fault is None])
        log = clip_log(table, matches, checked)
        write_table(log, folder / "clips.parquet")
        write_table(crops, folder / MANIFEST)
        write_table(metadata(crops), folder / "metadata.csv")
        (folder / RUN_FILE).write_text(json.dumps(run, indent=2) + "\n")
        if not overwrite:
            _keep_chosen(out, folder)
    return ImportReport(
        crops.num_rows,
        log.num_rows,
        len(matches.missing),
        len(matches.imageless),
        len(matches.unnamed),
        len(matches.repeated),
        sum(one.fault is not None for one in checked),
    )


def _take_over(table: pa.Table, matches: Matches, source: Path, folder: Path) -> Iterator[Imported]:
    """Check and link every image that has a row, in the order of the rows."""
    part = table["part"].to_pylist() if "part" in table.column_names else None

    def take(pair: tuple[int, str]) -> Imported:
        row, image = pair
        path = place(part[row] if part else None, image)
        return _take(row, source / image, folder / path, path)

    with ThreadPoolExecutor(available_cores()) as pool:
        taken = pool.map(take, matches.pairs)
        yield from tqdm(taken, "import", len(matches.pairs), unit=" crops", disable=None)


def _take(row: int, file: Path, target: Path, path: str) -> Imported:
    try:
        if not file.is_file():  # a pipe would never end
            return Imported(row, path, "", f"{file.name} is no file")
        if file.stat().st_size > _LARGEST:
            return Imported(row, path, "", f"{file.name} has more than {_LARGEST:,} bytes")
        data = file.read_bytes()
    except OSError as error:
        return Imported(row, path, "", f"{file.name} cannot be read: {error.strerror}")
    what = describe_image(data, decode=True)
    if what != f"{CROP_SIZE}x{CROP_SIZE}":
        return Imported(
            row, path, "", f"expected {CROP_SIZE}x{CROP_SIZE} in {file.name}, found {what}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(file), target)
    except OSError:  # another disk, or one that knows no hard links
        shutil.copyfile(file, target)
    return Imported(row, path, hashlib.sha256(data).hexdigest(), None)


def _run(csv: Path) -> dict[str, Any]:
    """What run.json holds: the table by its bytes, no path and no time, so it is the same twice."""
    return {
        "command": "import",
        "options": {"table_sha256": hashlib.sha256(csv.read_bytes()).hexdigest()},
        "versions": {
            "dfdc-prep": __version__,
            "numpy": np.__version__,
            "pillow": pillow_version,
            "pyarrow": pa.__version__,
        },
    }


def _check_free(source: Path, out: Path, run: dict[str, Any], overwrite: bool) -> None:
    here, there = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise OutputError(
            f"expected {out} to lie outside the folder of crops {source}, found one inside the "
            f"other; name another folder"
        )
    if not out.exists() or (out.is_dir() and set(os.listdir(out)) <= {LOCK_FILE}):
        return
    try:
        earlier = parse_json((out / RUN_FILE).read_bytes())["options"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"expected {out} to be free or a faces folder, found something else; "
            f"name another folder"
        ) from error
    if earlier != run["options"] and not overwrite:
        raise OptionsDiffer(
            f"expected {out} to be an import of the same table, found it made with other options "
            f"(table_sha256); name another folder or use --overwrite"
        )
    if odd := foreign_files(out):
        raise OutputError(
            f"expected nothing but a faces folder at {out}, which is replaced as a whole, found "
            f"{odd[0]}; take it out or name another folder"
        )


def _keep_chosen(earlier: Path, folder: Path) -> None:
    """Take over what was chosen from the crops of an earlier import, if they are the same."""
    for name in _CHOSEN:
        if not (earlier / name).is_file():
            continue
        try:
            same = filecmp.cmp(earlier / MANIFEST, folder / MANIFEST, shallow=False)
        except FileNotFoundError:
            same = False
        if not same:
            raise OutputError(
                f"expected the crops that {earlier / name} was chosen from, found others; "
                "name another folder or use --overwrite"
            )
        shutil.copyfile(earlier / name, folder / name)


def _check_some(checked: list[Imported], source: Path) -> None:
    if all(one.fault is not None for one in checked):
        why = checked[0].fault if checked else "no row of the table names any of its images"
        raise SourceError(f"expected crops to import from {source}, found none: {why}; mend either")
