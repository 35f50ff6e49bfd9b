"""Makes a recipe of face boxes that somebody published: a table, or a folder of JSON files.

Nothing says what the crops were, so that such a recipe has no hashes, and a rebuild compares
nothing. The crops are this project's: a square around each box, with a margin.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dfdc_prep import __version__
from dfdc_prep.catalog import files
from dfdc_prep.catalog.clips import Clip, Entry, Listing, Provenance, build_catalog
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.errors import RecipeError
from dfdc_prep.extraction.clip import ALL, LARGEST, ORIGINAL, OWN
from dfdc_prep.recipe.file import BOXES, FORMAT, read_recipe, sort_rows, write_recipe
from dfdc_prep.recipe.page import RecipeReport
from dfdc_prep.writing.card import Card, licence
from manifests.arrow import RECIPE_SCHEMA
from manifests.files import atomic_file
from manifests.folders import OTHER_KINDS, FacesFolder
from manifests.labels import NO_LABEL, parse_label
from manifests.schemas import PROVENANCE_COLUMNS, with_path
from manifests.tables.parquet import first_line
from manifests.wording import abbreviated, counted

_SIDES = (("x", "y", "w", "h"), ("x1", "y1", "x2", "y2"))
_COLUMNS = ("path", "video", "part", "label", "original", "face", *_SIDES[0], *_SIDES[1])
_FOLDER = "clips"  # part of clips that are in none
#: The pipeline of selimsef crops every tenth frame at boxes found in frames of half the size.
_EVERY, _SCALE = 10, 2


class Box(NamedTuple):
    """A box in source pixels; boxes of a frame sort as their faces are numbered."""

    face: int  # its number where the table has one, else 0
    x: int
    y: int
    w: int
    h: int


#: The boxes of a clip by frame.
Frames = dict[int, list[Box]]


class _Listed(NamedTuple):
    """A clip as a table names it."""

    path: str  # or part/video, or video
    label: str
    original: str


class Cut(NamedTuple):
    """How the crops are to be cut."""

    margin: float
    size: int


def is_boxes(folder: Path) -> bool:
    """Whether a folder is one of JSON files of boxes."""
    kinds = (FacesFolder.MANIFEST, FacesFolder.RUN, *OTHER_KINDS)
    others = any((folder / name).exists() for name in kinds)
    return not others and any(path.suffix == ".json" for path in folder.iterdir())


def make_of_boxes(path: Path, out: Path, source: Path | None, cut: Cut, card: Card) -> RecipeReport:
    """Write the recipe of the boxes in a table or in a folder of JSON files.

    Args:
        source: the clips, whose names and labels are those of the recipe; None to take them from
            the table.

    Raises:
        RecipeError: there are no boxes, or a value cannot be part of one.
        SourceError: the table or `source` cannot be read.
    """
    if path.is_dir():
        clips, missing = _read_json(path, source)
    else:
        listed = _read_boxes(path)
        clips, missing = _of_source(path, source, listed) if source else (_by_names(listed), 0)
    if not clips:
        raise RecipeError(
            f"expected boxes of the clips in {source or path}, found none; give the boxes of these"
        )
    rows, most = [], Counter[str]()
    for clip, (file, frames) in clips.items():
        is_own = clip.original is None or not path.is_dir()
        given = {"file": file, "status": "ok", "box_source": OWN if is_own else ORIGINAL}
        for frame, boxes in frames.items():
            most["faces"] = max(most["faces"], len(boxes))
            for number, box in enumerate(sorted(boxes)):
                at = {**box._asdict(), "frame": frame, "face": number}
                provenance = {n: getattr(clip.provenance, n) for n in PROVENANCE_COLUMNS}
                rows.append({**_clip(clip), **provenance, **given, **at})
        most["frames"] = max(most["frames"], len(frames))
    table = sort_rows(pa.Table.from_pylist(rows, RECIPE_SCHEMA))
    datasets = {clip.provenance.dataset for clip in clips} - {None}
    left_out = ["hashes, which nobody published: a rebuild compares nothing"]
    if missing:
        left_out.append(f"boxes of {counted(missing, 'clip')} that are not in the source")
    header = {
        "format": FORMAT,
        "kind": BOXES,
        "source": {
            **{"layout": None, "compression": None},
            "dataset": ", ".join(sorted(map(str, datasets))) or None,
        },
        "crops": {
            **{"frames": max(1, most["frames"]), "sampling": "exact", **cut._asdict()},
            **{"faces": ALL if most["faces"] > 1 else LARGEST, "format": "png", "align": "none"},
            **dict.fromkeys(("share_boxes", "compare", "masks"), False),
        },
        "detector": {"name": "published", "sha256": None},
        "versions": {"dfdc-prep": __version__},
        "counts": {"clips": len(clips), "crops": len(rows), "bytes": 0},
        **{"tables": {}, "columns": {}, "left_out": left_out, "manifest": None, "files": {}},
        "card": {**card, "license": licence(map(str, datasets), card)},
    }
    with atomic_file(out) as half:
        write_recipe(half, header, table)
        try:
            recipe = read_recipe(half)
        except RecipeError as error:
            found = str(error).partition(";")[0].replace(str(half), str(path))
            raise RecipeError(f"{found}; correct the table") from error
        size = half.stat().st_size
    return RecipeReport(out, size, recipe)


def _clip(clip: Clip) -> dict[str, Any]:
    names = ("part", "video", "folder", "label", "original", "family", "family_source")
    return {name: getattr(clip, name) for name in names}


def _read_json(
    folder: Path, source: Path | None
) -> tuple[dict[Clip, tuple[str | None, Frames]], int]:
    """The boxes of each original in a file {frame: [[x1, y1, x2, y2], ...]}, for its fakes too."""
    if source is None:
        raise RecipeError(
            f"expected the clips of the boxes in {folder}, found none given; name their folder "
            "with --source"
        )
    found: dict[Clip, tuple[str | None, Frames]] = {}
    read: dict[str, Frames] = {}
    for clip in read_catalog(source).clips:
        stem = os.path.splitext(clip.original or clip.video)[0]
        path = folder / f"{stem}.json"
        if stem not in read and path.is_file():
            read[stem] = dict(_frames_of(path))
        if read.get(stem) and clip.size is not None:
            found[clip] = _below(source, clip), read[stem]
    named = {path.stem for path in folder.glob("*.json")}
    return found, len(named - read.keys())


def _frames_of(path: Path) -> Iterator[tuple[int, list[Box]]]:
    content = files.load_json(path, "make the file again")
    for frame, boxes in content.items() if isinstance(content, dict) else [("", content)]:
        where = f"frame {abbreviated(frame)} of {path}"
        number = int(_number(frame, where))
        if not isinstance(boxes, list | None) or not all(isinstance(b, list) for b in boxes or ()):
            raise RecipeError(f"expected a list of boxes as {where}, found none; make it again")
        if number % _EVERY == 0 and boxes:
            yield number, [_corners([_number(v, where) * _SCALE for v in b], where) for b in boxes]


def _read_boxes(path: Path) -> dict[_Listed, Frames]:
    """The boxes in a table, by the clip as it is named there."""
    found: dict[_Listed, Frames] = defaultdict(dict)
    for number, row in enumerate(_rows(path), 1):
        where = f"row {number:,} of {path}"
        name = row["path"] or "/".join(filter(None, (row["part"], row["video"])))
        if not name:
            raise RecipeError(f"expected a video or a path in {where}, found none; add it")
        sides = next((names for names in _SIDES if all(row[each] for each in names)), None)
        if sides is None:
            raise RecipeError(
                f"expected x, y, w and h, or x1, y1, x2 and y2, in {where}, found other columns; "
                "name the columns so"
            )
        a, b, c, d = (_number(row[each], where) for each in sides)
        box = _corners((a, b, c, d) if sides[2] == "x2" else (a, b, a + c, b + d), where)
        face = int(_number(row["face"] or "0", where))
        listed = _Listed(name.replace("\\", "/"), row["label"], row["original"])
        frame = int(_number(row["frame"], where))
        found[listed].setdefault(frame, []).append(box._replace(face=face))
    return found


def _rows(path: Path) -> Iterable[Mapping[str, str]]:
    if path.suffix != ".parquet":
        return files.read_csv(path, ("frame",), _COLUMNS)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise RecipeError(
            f"expected a table of boxes in {path}, found {first_line(error)}; give another"
        ) from error
    table = table.rename_columns(with_path([name.lower() for name in table.column_names]))
    known = ("frame", *_COLUMNS)
    rows = table.select([name for name in dict.fromkeys(known) if name in table.column_names])
    empty = dict.fromkeys(known, "")
    return (
        empty | {name: str(value) for name, value in row.items() if value is not None}
        for batch in rows.to_batches()
        for row in batch.to_pylist()
    )


def _number(value: Any, where: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) < 1e7:
        raise RecipeError(f"expected a number in {where}, found {abbreviated(value)}; correct it")
    return number


def _corners(corners: Iterable[float], where: str) -> Box:
    whole = [int(value) for value in corners]
    if len(whole) != 4 or whole[2] <= whole[0] or whole[3] <= whole[1]:
        raise RecipeError(f"expected a box in {where}, found {abbreviated(whole)}; correct it")
    x1, y1, x2, y2 = whole
    return Box(0, x1, y1, x2 - x1, y2 - y1)


def _below(source: Path, clip: Clip) -> str | None:
    """The path of a clip below the source, where it is not part/video."""
    path = os.path.relpath(clip.path, source)
    return path if files.is_path(path) and path != f"{clip.part}/{clip.video}" else None


def _of_source(
    path: Path, source: Path, listed: Mapping[_Listed, Frames]
) -> tuple[dict[Clip, tuple[str | None, Frames]], int]:
    """The clips of a source that a table names; and how many more it names."""
    known: dict[str, list[Clip]] = defaultdict(list)
    for clip in read_catalog(source).clips:
        names = {os.path.relpath(clip.path, source), f"{clip.part}/{clip.video}", clip.video}
        for name in names | {os.path.splitext(name)[0] for name in names}:
            known[name].append(clip)
    found: dict[Clip, tuple[str | None, Frames]] = {}
    missing = 0
    for each, frames in listed.items():
        clips = known.get(each.path) or known.get(os.path.basename(each.path)) or []
        if len(clips) > 1:
            raise RecipeError(
                f"expected one clip {abbreviated(each.path)} in {source}, found {len(clips):,}; "
                f"add a column path or part to {path}"
            )
        for clip in clips:
            kept = found.setdefault(clip, (_below(source, clip), {}))[1]
            for frame, boxes in frames.items():
                kept.setdefault(frame, []).extend(boxes)
        missing += not clips
    return found, missing


def _by_names(listed: Mapping[_Listed, Frames]) -> dict[Clip, tuple[str | None, Frames]]:
    """The clips as a table names them."""
    entries, paths = [], {}
    for each, frames in listed.items():
        above, video = os.path.split(each.path)
        part = os.path.basename(above) or _FOLDER
        original = os.path.basename(each.original) or None
        label = parse_label(each.label) or NO_LABEL
        if (part, video) in paths:
            raise RecipeError(
                f"expected one label and original of {abbreviated(each.path)}, found two; correct "
                "the table"
            )
        paths[part, video] = each.path, frames
        entries.append(Entry(part, video, label, original, each.path, None, Provenance()))
    found = {}
    for clip in build_catalog(Listing(None, entries), BOXES).clips:
        path, frames = paths[clip.part, clip.video]
        is_other = files.is_path(path) and path != f"{clip.part}/{clip.video}"
        found[clip] = path if is_other else None, frames
    return found
