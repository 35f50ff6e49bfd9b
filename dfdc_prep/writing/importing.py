"""Imports an existing crop set into a faces folder with the layout of `extract`.

The images are hard-linked, or copied if the folder is on another file system; they are never
re-encoded. They keep their relative paths: `<folder>/a/b.jpg` becomes `crops/<part>/a/b.jpg`.
"""

import filecmp
import hashlib
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import __version__ as pillow_version

from dfdc_prep import __version__
from dfdc_prep.crops.encoding import crop_fault, decode, encode
from dfdc_prep.crops.files import list_images
from dfdc_prep.errors import OptionsDiffer, OutputError, SourceError
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.progress import Progress
from manifests.arrow import CLIP_LOG_SCHEMA, CLIP_SOURCE_FIELD, MANIFEST_SCHEMA
from manifests.files import atomic_folder, file_sha256, link_or_copy, parse_json, write_json
from manifests.folders import FacesFolder
from manifests.labels import FAKE
from manifests.relatives import FamilyCounts, OriginalMatches
from manifests.result import Result, TextTable, written_to
from manifests.schemas import CROP_SIZE, PROVENANCE_COLUMNS, ClipRow, make_row
from manifests.tables.codes import SOURCE, cast_column, clip_codes, clips_known, set_column
from manifests.tables.external import BY_EVIDENCE, Reading, read_bare_table
from manifests.tables.families import connected_families, count_families
from manifests.tables.parquet import MANIFEST, sort_manifest, write_faces_tables
from manifests.wording import counted

#: Maximum size of an image file, bytes; larger files are not read.
_MAX_BYTES = 50_000_000
#: Part of the crops whose table has no `part`.
_PART = "imported"
#: What becomes of a row, in the order in which the clip log names the faults of a clip.
_KINDS = ("crop", "unreadable", "missing", "without image", "duplicate")
_CROP, _UNREADABLE, _MISSING, _NO_IMAGE, _DUPLICATE = _KINDS
#: Unsafe paths and names: parent folders, absolute paths, backslashes, NUL characters.
_UNSAFE_PATH = r"(^|/)\.\.(/|$)|^/|\\|\x00"
_UNSAFE_NAME = r"/|\\|\x00|^\.{0,2}$"
#: Manifest columns that have another name in the Kaggle table.
_KAGGLE_NAMES = {"w": "original_width", "h": "original_height"}
#: Faults listed in one row of the clip log; the rest is only counted.
_MAX_FAULTS = 5


class _Outcome(NamedTuple):
    """What became of one row of the table."""

    row: int
    kind: str  #: one of `_KINDS`
    fault: str | None = None  #: None for a crop
    image: str = ""  #: relative to the folder of crops
    path: str = ""  #: of the crop, relative to the faces folder
    sha256: str = ""  #: of its file, hexadecimal


@dataclass(frozen=True)
class ImportReport(Result):
    """Counts of what was imported and what was not; clips.parquet has the names."""

    out: Path
    crops: int
    clips: int | None  # None if it is not known what is a clip
    missing: int
    without_image: int
    unnamed: int
    duplicates: int
    unreadable: int  # images that are not valid crops
    fakes: FamilyCounts  # the FAKE clips by the source of their family
    originals: OriginalMatches  # how the originals that they name were found in the table
    notes: tuple[str, ...] = ()  # how the table was read, where it does not say it itself

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
        of_clips = "" if self.clips is None else f" of {counted(self.clips, 'clip')}"
        lines = [*self.notes, f"{counted(self.crops, 'crop')}{of_clips}"]
        lines += [*self.fakes.lines(), *self.originals.lines()]
        lines += [f"{what}: {n:,}" for what, n in faults.items() if n]
        return "\n".join([*lines, *written_to(self.out)])

    def cells(self) -> TextTable:
        counts = {name: n for name, n in vars(self).items() if isinstance(n, int)}
        known = {f"FAKE clips, family {name}": n for name, n in vars(self.fakes).items()}
        return TextTable(("count of", "number"), (counts | known).items())


def import_crops(
    source: Path,
    csv: Path,
    out: Path,
    overwrite: bool = False,
    reading: Reading = BY_EVIDENCE,
    resize: bool = False,
) -> ImportReport:
    """Make a faces folder from a folder of crops and a table that describes them.

    Args:
        source: the folder of crops, 224x224 PNG or JPEG, RGB or grey, in subfolders of any depth.
        csv: a bare table (`manifests.tables.external`). Its `path` names the images, relative to
            `source` or to the table's folder; without it, the stem of `video` does.
        out: the faces folder; it is created completely or not at all. What was derived from its
            manifest is kept if the manifest is unchanged.
        overwrite: replace a faces folder of another table or of `extract`, and all derived files.
        reading: how to read what the table does not say.
        resize: scale square images of another size to 224x224, and write them as PNG.

    Raises:
        TableError, SourceError, OptionsDiffer, OutputError: as `dfdc_prep.import_crops`.
    """
    table, notes = read_bare_table(csv, reading)
    # The hash of the table but no path and no time, so that repeated imports are identical.
    run: dict[str, Any] = {
        "command": "import",
        "options": {"table_sha256": file_sha256(csv), **asdict(reading)},
        "versions": {
            "dfdc-prep": __version__,
            "numpy": np.__version__,
            "pillow": pillow_version,
            "pyarrow": pa.__version__,
        },
    }
    run["options"] |= {"resize": True} if resize else {}
    _check_output(source, out, run, overwrite)
    if "path" in table.column_names:
        for top in {f"{source.absolute()}/", f"{source.resolve()}/"}:
            inside = pc.fill_null(pc.starts_with(table["path"], top), False)
            relative = pc.utf8_slice_codeunits(table["path"], len(top))
            table = set_column(table, "path", pc.if_else(inside, relative, table["path"]))
    prefix = Path(os.path.relpath(source, csv.parent)).as_posix()
    matched, unnamed = _match_images(table, list_images(source), prefix)
    with atomic_folder(out) as folder:
        # Check again: another run may have written the folder before this one had the lock.
        _check_output(source, out, run, overwrite)
        outcomes = _link_crops(table, matched, source, folder, resize)
        imported = [outcome for outcome in outcomes if outcome.kind == _CROP]
        if not imported:
            unreadable = (outcome.fault for outcome in outcomes if outcome.kind == _UNREADABLE)
            why = next(unreadable, "no row of the table names any of its images")
            raise SourceError(
                f"expected crops to import from {source}, found none: {why}; "
                "correct the table or the folder"
            )
        crops = _build_manifest(table, imported)
        log = _build_clip_log(table, outcomes, unnamed)
        write_faces_tables(folder, crops, log)
        write_json(folder / FacesFolder.RUN, run)
        if not overwrite:
            _keep_derived(out, folder)
    count = Counter(outcome.kind for outcome in outcomes)
    return ImportReport(
        out,
        crops=crops.num_rows,
        clips=log.num_rows if clips_known(table) else None,
        missing=count[_MISSING],
        without_image=count[_NO_IMAGE],
        unnamed=len(unnamed),
        duplicates=count[_DUPLICATE],
        unreadable=count[_UNREADABLE],
        fakes=count_families(crops, clip_codes(crops)),
        originals=connected_families(table).matches,
        notes=notes,
    )


def _link_crops(
    table: pa.Table, matched: list[_Outcome], source: Path, folder: Path, resize: bool
) -> list[_Outcome]:
    """Check and link every image that matches a row; return the outcomes of all rows."""
    # A part that was read from the path would only repeat it.
    named = "part" in table.column_names and SOURCE not in table.column_names
    parts = table["part"].to_pylist() if named else [None] * table.num_rows
    images = {outcome.image for outcome in matched}

    def link(outcome: _Outcome) -> _Outcome:
        if outcome.kind != _CROP:
            return outcome
        file, path = source / outcome.image, f"crops/{parts[outcome.row] or _PART}/{outcome.image}"
        data, fault = _read_image(file, resize)
        if fault:
            return outcome._replace(kind=_UNREADABLE, fault=fault)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if resize and (scaled := _scaled(data)):
            image = outcome.image if outcome.image.endswith(".png") else f"{outcome.image}.png"
            while image != outcome.image and image in images:
                image = f"{image.removesuffix('.png')}_.png"
            data, path = scaled, f"{path.removesuffix(outcome.image)}{image}"
            with (folder / path).open("xb") as target:  # another crop may be a link to the source
                target.write(data)
        else:
            link_or_copy(file, folder / path)
        return outcome._replace(path=path, sha256=hashlib.sha256(data).hexdigest())

    outcomes, bar = [], Progress(len(matched), "crops", "import")
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for outcome in pool.map(link, matched):
            outcomes.append(outcome)
            bar.update()
    return outcomes


def _scaled(data: bytes) -> bytes | None:
    """A square crop of another size at that of the shards, as PNG; None if it has that size."""
    crop = decode(data)
    if len(crop) == CROP_SIZE:
        return None
    # Averaging areas loses no pixel; a cubic spline is for more pixels than there are.
    how = cv2.INTER_AREA if len(crop) > CROP_SIZE else cv2.INTER_CUBIC
    scaled = cv2.resize(crop, (CROP_SIZE, CROP_SIZE), interpolation=how).astype(np.uint8)
    return encode(scaled, "png")


def _read_image(file: Path, any_size: bool) -> tuple[bytes, str | None]:
    """The bytes of an image file, and why it is no crop, if it is none."""
    try:
        if not file.is_file():  # reading a pipe would block
            return b"", f"{file.name} is not a file"
        if file.stat().st_size > _MAX_BYTES:
            return b"", f"{file.name} has more than {_MAX_BYTES:,} bytes"
        data = file.read_bytes()
    except OSError as error:
        return b"", f"{file.name} cannot be read: {error.strerror}"
    what = crop_fault(data, None if any_size else CROP_SIZE, decoded=True)
    side = "a square" if any_size else f"{CROP_SIZE}x{CROP_SIZE}"
    way = "" if any_size or what is None or crop_fault(data, None) else " (--resize scales it)"
    return data, what and f"expected {side} in {file.name}, found {what}{way}"


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
    options = {"resize": None, **run["options"]}
    changed = [name for name, value in options.items() if earlier.get(name) != value]
    if changed and not overwrite:
        raise OptionsDiffer(
            f"expected an import of the same table in {out}, found one with other options "
            f"({', '.join(changed)}); choose another folder or use --overwrite"
        )
    FacesFolder.check_replaceable(out)


def _keep_derived(earlier: Path, folder: Path) -> None:
    """Copy the derived files of an earlier import; OutputError if the manifest has changed."""
    derived = [name for name in FacesFolder.DERIVED if (earlier / name).is_file()]
    manifest = earlier / MANIFEST
    unchanged = manifest.is_file() and filecmp.cmp(manifest, folder / MANIFEST, shallow=False)
    if derived and not unchanged:
        raise OutputError(
            f"expected the manifest that {earlier / derived[0]} was made from, found another; "
            "choose another folder or use --overwrite"
        )
    for name in derived:
        shutil.copyfile(earlier / name, folder / name)


def _match_images(
    table: pa.Table, images: list[str], prefix: str
) -> tuple[list[_Outcome], list[str]]:
    """Find the image of every row: by its `path`, or by the stem of its `video` if that is null.

    Of several images with this stem, the one in a folder called like the row's `part` is taken,
    else the first. Images are sorted paths relative to their folder, whose path relative to the
    table's, the prefix, may precede them in the table. Also returns the images that no row names.
    """
    _check_names(table)
    stems = defaultdict(list)
    for image in images:
        stems[PurePosixPath(image).stem].append(image)
    # `video` may have been read from another column; `videoname` still names the image.
    video = "videoname" if "videoname" in table.column_names else "video"
    columns = (_column(table, "path"), table[video], _column(table, "part"))
    outcomes, existing, taken = [], set(images), set()
    for row, (path, name, part) in enumerate(zip(*(c.to_pylist() for c in columns), strict=True)):
        wanted = path
        if path is None:
            same = stems.get(PurePosixPath(name).stem, [])
            inside = [image for image in same if part in PurePosixPath(image).parent.parts]
            wanted = next(iter(inside or same), None)
        elif path not in existing:
            wanted = path.removeprefix(f"{prefix}/")
        if wanted is None:
            outcomes.append(_Outcome(row, _NO_IMAGE, "no image has this name"))
        elif wanted not in existing:
            outcomes.append(_Outcome(row, _MISSING, f"there is no image {wanted}"))
        elif wanted in taken:
            fault = f"row {row + 1} names {wanted} again and was left out"
            outcomes.append(_Outcome(row, _DUPLICATE, fault))
        else:
            taken.add(wanted)
            outcomes.append(_Outcome(row, _CROP, image=wanted))
    return outcomes, [image for image in images if image not in taken]


def _check_names(table: pa.Table) -> None:
    """Raise SourceError if a name or path of the table leads out of its folder."""
    for name in ("video", "original", "family", "part", "path"):
        if name not in table.column_names:
            continue
        pattern = _UNSAFE_PATH if name == "path" else _UNSAFE_NAME
        unsafe = table[name].filter(pc.match_substring_regex(table[name], pattern))
        if len(unsafe):
            raise SourceError(
                f"expected names that stay inside their folder in the column {name}, found "
                f"{unsafe[0].as_py()!r}; correct or remove that row"
            )


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """A column of the manifest, under its own or the Kaggle table's name; null without one."""
    for known in (name, _KAGGLE_NAMES.get(name)):
        if known in table.column_names:
            return table[known]
    return pa.nulls(table.num_rows, MANIFEST_SCHEMA.field(name).type)


def _originals(table: pa.Table) -> pa.ChunkedArray:
    """The originals of the FAKE rows; values in REAL rows are ignored."""
    null = pa.scalar(None, pa.string())
    return pc.if_else(pc.equal(table["label"], FAKE), table["original"], null)


def _build_manifest(table: pa.Table, crops: list[_Outcome]) -> pa.Table:
    """The manifest of the imported crops; columns that the table lacks are null."""
    rows = table.take(pa.array([crop.row for crop in crops]))
    columns = {name: _column(rows, name) for name in MANIFEST_SCHEMA.names}
    if "crop_size" not in rows.column_names:
        # A crop's width and height are the side of its square, if they are equal.
        width, height = columns["w"], columns["h"]
        unknown = pa.scalar(None, width.type)
        columns["crop_size"] = pc.if_else(pc.equal(width, height), width, unknown)
    columns |= {
        "part": columns["part"].fill_null(_PART),
        "original": _originals(rows),
        "path": pa.array([crop.path for crop in crops]),
        "sha256": pa.array([crop.sha256 for crop in crops]),
        # Masks are not imported.
        "mask": pa.nulls(len(crops), pa.string()),
        "mask_sha256": pa.nulls(len(crops), pa.string()),
        "mask_source": pa.nulls(len(crops), pa.string()),
    }
    found = pa.table(columns)
    typed = [cast_column(found, field.name, field.type, field.type) for field in MANIFEST_SCHEMA]
    manifest = pa.table(typed, schema=MANIFEST_SCHEMA)
    if CLIP_SOURCE_FIELD.name in rows.column_names:
        manifest = manifest.append_column(CLIP_SOURCE_FIELD, rows[CLIP_SOURCE_FIELD.name])
    return sort_manifest(manifest)


def _build_clip_log(table: pa.Table, outcomes: list[_Outcome], unnamed: list[str]) -> pa.Table:
    """The clip log: one row per clip of the table, and one per image that no row names."""
    parts = _column(table, "part").fill_null(_PART).to_pylist()
    names = list(zip(parts, table["video"].to_pylist(), strict=True))
    of_clip: dict[tuple[str, str], list[_Outcome]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda outcome: _KINDS.index(outcome.kind)):
        of_clip[names[outcome.row]].append(outcome)
    # The first row of each clip gives what is the same in all of them.
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    given = [name for name in PROVENANCE_COLUMNS if name in table.column_names]
    columns = table.select(["label", "original", "family", "family_source", *given])
    columns = columns.take(pa.array(list(first.values())))
    columns = columns.set_column(1, "original", _originals(columns))
    rows = [
        _clip_row({"video": video, "part": part, **values}, of_clip[part, video])
        for (part, video), values in zip(first, columns.to_pylist(), strict=True)
    ]
    by_name: dict[str, list[_Outcome]] = defaultdict(list)
    for image in unnamed:
        fault = f"no row names {image}"
        by_name[PurePosixPath(image).name].append(_Outcome(-1, _MISSING, fault))
    for name, missing in by_name.items():
        rows.append(_clip_row({"video": name, "part": _PART, "family": name}, missing))
    order = [("part", "ascending"), ("video", "ascending")]
    return pa.Table.from_pylist(rows, schema=CLIP_LOG_SCHEMA).sort_by(order)


def _clip_row(clip: Mapping[str, Any], outcomes: list[_Outcome]) -> ClipRow:
    """The clip log row of a clip, given by some columns, with its outcomes counted."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    more = [f"and {len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
    if not kinds[_CROP]:
        status = _UNREADABLE if kinds[_UNREADABLE] else _MISSING
    else:
        status = "truncated" if kinds.keys() & {_UNREADABLE, _MISSING, _NO_IMAGE} else "ok"
    counted = {
        "status": status,
        "error": "; ".join([*faults[:_MAX_FAULTS], *more]) or None,
        "frames_wanted": len(outcomes),  # rows of the clip
        "frames_decoded": kinds[_CROP],
        "faces": kinds[_CROP],
        "seconds": 0.0,  # an import does not time its clips
    }
    return make_row(ClipRow, {**clip, **counted})
