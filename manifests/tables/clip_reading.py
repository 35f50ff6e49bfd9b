"""Reads the clips of a table that names none, from the paths of all its rows. Does no I/O.

- By folder: `<label>/<clip>/<frame>.png`. The images' names are only numbers, the same ones in
  several folders, or begin with the name of the folder.
- By name: `<clip>_<number>.png`, `<clip>.png`, `<fake>_<original>_<number>.png`.
- Not known: `train/real/real_0.png`. Neither folders nor names say which clip it is.

Where the paths can be read in two ways, or a clip would have both labels, that is an error.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.labels import FAKE, LABELS
from manifests.relatives import read_originals
from manifests.tables import path_names
from manifests.tables.codes import (
    COLUMN,
    FOLDER,
    NAME,
    PATTERN,
    SOURCE,
    UNKNOWN,
    Codes,
    Mask,
    clip_codes,
    factorize,
    label_codes,
    set_column,
    text_column,
)
from manifests.wording import columns_found, counted

#: What a pattern given as `clips_from` contains.
GROUP = "(?P<clip>"
_GIVE = f"give --clips-from folder, name, a column, or a regular expression with {GROUP}...)"
#: Folders are clips if at least this share of the images' names recurs in other folders.
_RECURRING = 0.05
#: Fewer folders, with more images each, are not believed to be clips.
_FEW_FOLDERS, _MANY_IMAGES = 8, 500
#: Largest share of exceptions to what the other paths say.
_STRAY = 0.01


def read_clips(table: pa.Table, clips_from: str | None, where: str) -> pa.Table:
    """Return the table with the columns video, part and clip_source; a `part` of its own is kept.

    Where the names of fakes end in that of an original, the column `original` is added, unless the
    table has one.

    Args:
        table: with the column label (REAL or FAKE), and path unless `clips_from` is a column.
        clips_from: folder, name, a column, or a pattern: a regular expression (RE2) with the
            group `clip`, and optionally `part`, that is searched in the path. None to decide.
        where: the table's path or name, for messages.

    Raises:
        TableError: a row has no path or no clip; a clip would have both labels; the paths can be
            read in two ways; or there is no such column.
    """
    if clips_from in table.column_names:
        source, columns = COLUMN, {"video": text_column(table, str(clips_from))}
    elif clips_from is not None and GROUP in clips_from:
        try:
            found = pc.extract_regex(_paths(table, where), clips_from)
        except pa.ArrowException as error:
            raise TableError(
                "expected a regular expression (RE2) whose groups all have names, found "
                f"{clips_from!r} ({error}); correct --clips-from"
            ) from error
        groups = {"video": "clip", "part": "part"}
        named = {field.name for field in found.type}
        columns = {
            n: pc.struct_field(found, group) for n, group in groups.items() if group in named
        }
        source = PATTERN
    elif clips_from in (None, FOLDER, NAME):
        paths = _Paths.of(table, where)
        source = clips_from or _decide(paths, where)
        columns = paths.columns(source)
    else:
        raise TableError(
            f"expected a column of {where} to read the clips from, found {clips_from!r} and "
            f"{columns_found(table.column_names, clips_from)}; {_GIVE}"
        )
    for name, column in columns.items():
        if name == "video" or name not in table.column_names:
            table = set_column(table, name, column)
    table = set_column(table, SOURCE, pa.repeat(pa.scalar(source), table.num_rows))
    _check(table, source, where)
    return table


def _check(table: pa.Table, source: str, where: str) -> None:
    """Raise TableError if a row is of no clip, or a clip has both labels."""
    video, label = table["video"], label_codes(table)

    def name(row: int) -> str:
        path = table["path"][row].as_py() if "path" in table.column_names else None
        return str(path) if path else f"row {row + 1}"

    if video.null_count or pc.any(pc.equal(video, "")).as_py():
        without = pc.equal(video.fill_null(""), "")
        raise TableError(
            f"expected a clip in every row of {where}, found none in "
            f"{counted(pc.sum(without).as_py(), 'row')}, such as "
            f"{name(pc.index(without, True).as_py())}; {_GIVE}"
        )
    clip = clip_codes(table)
    first = np.empty(int(clip.max()) + 1, np.int64)
    first[clip[::-1]] = np.arange(len(clip))[::-1]
    differing = np.flatnonzero(label[first[clip]] != label)
    if len(differing) and source != UNKNOWN:
        row = int(differing[0])
        pair = sorted((row, int(first[clip[row]])), key=lambda row: int(label[row]))
        real, fake = map(name, pair)
        raise TableError(
            f"expected one label in every clip of {where}, found both in {video[row]} if clips "
            f"are read by {source}: {real} is REAL, {fake} is FAKE; {_GIVE}"
        )


@dataclass(frozen=True)
class _Paths:
    """The paths of a table, divided into folders and names."""

    path: pa.ChunkedArray  # string [rows], with slashes
    fake: Mask  # bool [rows], whether the image is FAKE
    folder: Codes  # int64 [rows], without folders such as `frames` inside that of a clip
    stem: Codes  # int64 [rows], the name without extension
    folders: pa.Array  # string, the distinct ones
    stems: pa.Array  # the same
    splits: frozenset[str]  # the names of splits in this table, in lower case

    @classmethod
    def of(cls, table: pa.Table, where: str) -> "_Paths":
        path = _paths(table, where)
        folder_names, image_names = path_names.divide(path)
        (folder,), folders = factorize(folder_names)
        (outer,), bases = factorize(pc.replace_substring_regex(folders, path_names.INNER, ""))
        (stem,), stems = factorize(pc.replace_substring_regex(image_names, r"(.)\.[^.]*$", r"\1"))
        fake = label_codes(table) == LABELS.index(FAKE)
        # Usual names of splits, and those of the column split that are no numbers.
        column = table["split"] if "split" in table.column_names else pa.array([], pa.string())
        given = {str(name).lower() for name in pc.unique(column).to_pylist() if name is not None}
        splits = frozenset(path_names.SPLITS) | {name for name in given if not name.isdigit()}
        return cls(path, fake, outer[folder], stem, bases, stems, splits)

    def columns(self, source: str) -> dict[str, pa.ChunkedArray | pa.Array]:
        """The columns video and part, and original where names give it."""
        if source == UNKNOWN:
            return {"video": pc.replace_substring(pc.utf8_ltrim(self.path, "/"), "/", "_")}
        if source == FOLDER:
            parents = pc.replace_substring_regex(self.folders, r"/?[^/]*$", "")
            return {"video": _pick(self.last_folders, self.folder), **self._part(parents)}
        fakes, reals, originals = self.names
        fake = pa.array(self.fake)
        video = pc.if_else(fake, _pick(fakes, self.stem), _pick(reals, self.stem))
        columns = {"video": video, **self._part(self.folders)}
        if originals.null_count < len(originals):
            columns["original"] = _pick(originals, self.stem)
        return columns

    @cached_property
    def last_folders(self) -> pa.Array:
        """The last folder of each path of folders, string [folders]; may be empty."""
        return pc.replace_substring_regex(self.folders, r"^.*/", "")

    @cached_property
    def names(self) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Per stem: the clip if it is FAKE and if it is REAL, and the original of the fake."""
        base = path_names.without_number(self.stems)
        base = pc.coalesce(path_names.find(self.stems, path_names.CELEB_DF), base)
        if self.is_faceforensics:
            found = (path_names.find(self.stems, name) for name in path_names.FACEFORENSICS)
            fake, real = (pc.coalesce(clip, base) for clip in found)
            return fake, real, pa.nulls(len(base), pa.string())
        if not pc.any(pc.match_substring(base, "_")).as_py():
            return base, base, pa.nulls(len(base), pa.string())
        real = base.take(pa.array(np.unique(self.stem[~self.fake])))
        fake = path_names.find(base, path_names.DFDC_FAKE)
        return pc.coalesce(fake, base), base, path_names.originals(base, real)

    @cached_property
    def is_faceforensics(self) -> bool:
        """Whether folders are named as in FaceForensics++, or all images are."""
        if pc.any(_matches(self.folders, path_names.FACEFORENSICS_FOLDER)).as_py():
            return True
        # Every fake is 183_253, every REAL clip 183, and half of the originals are there: three
        # digits alone may be anything, so that all names of the table have to agree.
        rows = (self.fake, ~self.fake)
        fakes, reals = (
            path_names.find(_pick(self.stems, np.unique(self.stem[of_label])), pattern)
            for of_label, pattern in zip(rows, path_names.FACEFORENSICS, strict=True)
        )
        if fakes.null_count or reals.null_count or not len(fakes) or not len(reals):
            return False
        known = set(reals.to_pylist())
        originals = set(read_originals(fakes.to_pylist(), known).values())
        return 2 * len(originals & known) >= len(originals) > 0

    def _part(self, folders: pa.Array) -> dict[str, pa.Array]:
        """The column part: folders joined by `_`, but those of splits; none if all are empty."""
        (code,), distinct = factorize(folders)
        no_part = {"", *self.splits}
        kept = (
            [name for name in path.split("/") if name.lower() not in no_part]
            for path in distinct.to_pylist()
        )
        parts = pa.array(["_".join(names) or None for names in kept], pa.string())
        known = parts.null_count < len(parts)
        return {"part": _pick(parts.take(code), self.folder)} if known else {}

    def example(self, rows: Mask) -> str:
        """The first of some paths."""
        return str(self.path[int(rows.argmax())])


def _decide(paths: _Paths, where: str) -> str:
    """Return FOLDER, NAME or UNKNOWN; TableError if some paths say one thing, others another."""
    if _named_after_folder(paths).mean() >= 1 - _STRAY:
        return FOLDER
    numbered, clip_folder = _numbered(paths), _is_clip_folder(paths)[paths.folder]
    by_folder = numbered & clip_folder
    if not _plausible(paths, by_folder):
        by_folder[:] = False
    elif by_folder.mean() >= 1 - _STRAY and clip_folder.all():
        return FOLDER
    # front.png in the folder of each clip: a name, and yet no clip.
    recurring = ~numbered & clip_folder & (len(paths.stems) < len(paths.folders))
    if by_folder.any() or (recurring.any() and _plausible(paths, recurring)):
        other = ~by_folder if by_folder.any() else ~recurring
        why = "the names of the images are no numbers"
        if other.any():
            why = f"{paths.example(other)} does not"
        raise TableError(
            f"expected one way to read the clips of {where}, found two, by folder and by name: "
            f"{paths.example(by_folder | recurring)} looks like an image in the folder of its "
            f"clip, {why}; {_GIVE}"
        )
    return UNKNOWN if numbered.mean() > _STRAY else NAME


def _named_after_folder(paths: _Paths) -> Mask:
    """Whether each image begins with the name of its folder: abc/abc_12.png, bool [rows]."""
    clip_folder, last = _is_clip_folder(paths)[paths.folder], paths.last_folders
    if not clip_folder.any():
        return clip_folder
    fake, real, folder = (
        pc.index_in(names, last).fill_null(-1).to_numpy() for names in (*paths.names[:2], last)
    )
    name = np.where(paths.fake, fake[paths.stem], real[paths.stem])
    equal: Mask = name == folder[paths.folder]
    return equal & clip_folder


def _numbered(paths: _Paths) -> Mask:
    """Whether the name of each image is only a number, or one of its label, bool [rows]."""
    numbered = _mask(_matches(paths.stems, path_names.NUMBERED))[paths.stem]
    clip_folder = _is_clip_folder(paths)[paths.folder]
    if paths.is_faceforensics:
        fake, real = (_mask(_matches(paths.stems, name)) for name in path_names.FACEFORENSICS)
        numbered &= clip_folder | ~np.where(paths.fake, fake[paths.stem], real[paths.stem])
    # 12_0, 12_1 ... in a folder that is no clip: two numbers, the first that of the clip.
    double = _mask(_matches(paths.stems, path_names.TWO_NUMBERS))[paths.stem]
    double &= numbered & ~clip_folder
    if double.any():
        (base,), _ = factorize(paths.names[1])
        if double.sum() >= 2 * len(np.unique(base[paths.stem[double]])):
            numbered &= ~double
    return numbered


def _is_clip_folder(paths: _Paths) -> Mask:
    """Whether each folder can be that of a clip, by its name, bool [folders]."""
    last = paths.last_folders
    no_clip = pc.or_(_matches(last, path_names.CATEGORY), pc.equal(last, ""))
    named_split = pc.is_in(pc.utf8_lower(last), pa.array(sorted(paths.splits), pa.string()))
    return ~_mask(pc.or_(no_clip, named_split))


def _plausible(paths: _Paths, rows: Mask) -> bool:
    """Whether the folders of some rows are clips: many, with images of the same names."""
    folder, stem = paths.folder[rows], paths.stem[rows]
    if not len(folder):
        return False
    label_counts = [len(np.unique(folder[paths.fake[rows] == fake])) for fake in (False, True)]
    images = np.bincount(folder)
    if len(images := images[images > 0]) < _FEW_FOLDERS and np.median(images) > _MANY_IMAGES:
        return False
    # Within a label: two sets of images may be numbered alike.
    name = 2 * stem + paths.fake[rows]
    one_folder = np.empty(2 * len(paths.stems), np.int64)
    one_folder[name] = folder
    recurring = np.zeros(len(one_folder), bool)
    recurring[name[one_folder[name] != folder]] = True
    return max(label_counts) > 1 and bool(recurring[name].mean() >= _RECURRING)


def _paths(table: pa.Table, where: str) -> pa.ChunkedArray:
    """The paths with slashes, string [rows]."""
    if "path" not in table.column_names:
        raise TableError(
            f"expected the column path in {where} to read the clips from, found "
            f"{columns_found(table.column_names, 'path')}; {_GIVE}"
        )
    paths = table["path"]
    if paths.null_count:
        raise TableError(
            f"expected a clip name in every row of {where}, found "
            f"{counted(paths.null_count, 'row')} without; fill them in or drop them"
        )
    return path_names.with_slashes(paths)


def _pick(names: pa.Array, codes: Codes) -> pa.Array:
    return names.take(pa.array(codes))


def _mask(values: pa.Array) -> Mask:
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask


def _matches(names: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(names, pattern)
