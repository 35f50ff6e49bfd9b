"""Compares a faces folder, and shards, with those that a recipe was made of."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dfdc_prep import __version__
from dfdc_prep.crops.encoding import MASK_SUFFIX, decode
from dfdc_prep.extraction.crops_out import CROPS
from dfdc_prep.extraction.summary import MISSING
from dfdc_prep.parallel.threads import ThreadPool
from dfdc_prep.progress import Progress
from dfdc_prep.recipe.file import FACES, Recipe
from dfdc_prep.recipe.fingerprints import COPIES, REMUXED, SAME, crop_print, squared_error
from dfdc_prep.storage.urls import Location
from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.files import file_sha256
from manifests.folders import FacesFolder, ShardsFolder
from manifests.labels import FAILURES
from manifests.result import Result, TextTable
from manifests.tables.parquet import read_table
from manifests.wording import counted, listed

#: What a crop is beside the author's, as numbers and in words.
_SAME, _PIXELS, _NEAR, _OTHER, _ABSENT, _UNKNOWN = range(6)
CROPS_ARE = (
    "same to the byte",
    "same to the pixel",
    "near",
    "another picture",
    "not there",
    "not compared",
)
#: What a clip is beside the author's, further to `COPIES`.
ALTERED, NOT_COMPARED = "altered", "not compared"
#: What a mask or a table is that differs from the author's.
ANOTHER = "another"
CLIPS_ARE = (*COPIES, ALTERED, MISSING, *(each for each in FAILURES if each != MISSING))
#: Crops of a clip that are nearer than this show the same picture, dB.
_NEAR_DB = 22.0
#: Packages that the bytes of crops, tables and shards depend on, where no detector runs.
_LIBRARIES = ("dfdc-prep", "av", "numpy", "opencv-python-headless", "pillow", "pyarrow")
#: Crops compared at a time, and clips that the text names.
_BLOCK, _MOST_NAMED = 8192, 5


@dataclass(frozen=True)
class ClipDifference:
    """A clip that is not the author's, or of which a crop is not."""

    clip: str  # part/video
    copy: str  # one of `CLIPS_ARE`, or `NOT_COMPARED`
    crops: dict[str, int]  # by `CROPS_ARE`
    psnr: float | None  # of the crops that are near, dB, estimated; None if none is

    def __str__(self) -> str:
        crops = listed([_with_psnr(name, n, self.psnr) for name, n in self.crops.items()])
        return f"{self.clip}: {self.copy}; crops: {crops or 'none'}"


@dataclass(frozen=True)
class Comparison(Result):
    """What is the same as the author's, and what is not."""

    out: Location
    crops: dict[str, int]  # number of crops by `CROPS_ARE`
    psnr: float | None  # of those that are near, dB, estimated from sketches
    masks: dict[str, int]  # number of masks: same, another or not there
    clips: dict[str, int]  # number of clips by `CLIPS_ARE`
    files: dict[str, str]  # tables and files of shards: the same, another or not there
    libraries: dict[str, tuple[str, str]]  # versions that differ: the author's, and here
    differing: tuple[ClipDifference, ...]  # first those with crops that are not the author's
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool | None:
        """Whether every crop is the author's, to the byte or to the pixel, and every mask.

        None if nothing is known of what the crops should be, as of published boxes.
        """
        found, alike = set(self.crops), {CROPS_ARE[_SAME], CROPS_ARE[_PIXELS]}
        if found == {CROPS_ARE[_UNKNOWN]}:
            return None
        return found <= alike and set(self.masks) <= {SAME}

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as values for JSON, with every clip that differs."""
        return {"ok": self.ok, **asdict(self), "out": str(self.out)}

    def cells(self) -> TextTable:
        rows: list[tuple[str, str, object]] = [
            ("crops", _with_psnr(name, None, self.psnr), count)
            for name, count in self.crops.items()
        ]
        rows += [("masks", name, count) for name, count in self.masks.items()]
        rows += [("clips", name, count) for name, count in self.clips.items()]
        rows += [("files", name, count) for name, count in Counter(self.files.values()).items()]
        return TextTable(("", "beside the author's", "number"), rows)

    def text(self) -> str:
        table = self.cells()
        shown = [
            [str(name), str(what), f"{value:,}" if isinstance(value, int) else str(value)]
            for name, what, value in [table.header, *table.rows]
        ]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        lines = [
            f"{name:{widths[0]}}  {what:{widths[1]}}  {value:>{widths[2]}}".rstrip()
            for name, what, value in shown
        ]
        return "\n".join([*lines, *self._lines()])

    def parts(self) -> Sequence[TextTable | str]:
        return [self.cells(), *self._lines()]

    def _lines(self) -> Iterator[str]:
        yield from (str(each) for each in self.differing[:_MOST_NAMED])
        if (more := len(self.differing) - _MOST_NAMED) > 0:
            yield f"and {counted(more, 'clip')} more; --json names every one"
        for name, (author, here) in self.libraries.items():
            yield f"{name}: {author} of the author, {here} here"
        others = [f"{name} is {state}" for name, state in self.files.items() if state != SAME]
        if others:
            yield listed(others, _MOST_NAMED)
        yield from self.notes
        total = sum(self.crops.values())
        if self.ok is None:
            yield f"{counted(total, 'crop')} in {self.out}: not compared, the recipe has no hashes"
            return
        alike = self.crops.get(CROPS_ARE[_SAME], 0) + self.crops.get(CROPS_ARE[_PIXELS], 0)
        yield f"{alike:,} of {counted(total, 'crop')} in {self.out} are the author's"


def _with_psnr(name: str, count: int | None, psnr: float | None) -> str:
    text = name if count is None else f"{count:,} {name}"
    return f"{text}, about {psnr:.0f} dB" if name == CROPS_ARE[_NEAR] and psnr else text


def crop_paths(recipe: Recipe) -> pa.ChunkedArray:
    """The path of each row's crop below a faces folder, string [rows]; null without a crop."""
    table = recipe.table
    frame = pc.utf8_lpad(table["frame"].cast(pa.string()), 6, "0")
    face, suffix = table["face"].cast(pa.string()), f".{recipe.crop_options.format}"
    name = pc.binary_join_element_wise(frame, "_", face, suffix, "")
    return pc.binary_join_element_wise(CROPS, table["part"], table["folder"], name, "/")


def clip_starts(table: pa.Table) -> NDArray[np.int64]:
    """The first row of each clip of a recipe or a sorted manifest, int64 [clips]."""
    changes = np.ones(table.num_rows, bool)
    changes[1:] = False
    for name in ("part", "video"):
        column = table[name]
        changes[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy()
    return np.flatnonzero(changes)


#: Makes files of these paths available, where the folder is a copy of one in a bucket.
Fetch = Callable[[list[str]], object]


def compare(
    recipe: Recipe,
    folder: Path,
    manifest: pa.Table | None,
    fetch: Fetch = list,
) -> Comparison:
    """Compare the crops and tables of a faces folder with the author's.

    Args:
        manifest: of crops just written, whose hashes count as those of the files; None to read each
            file.
    """
    table, starts = recipe.table, clip_starts(recipe.table)
    clip = np.repeat(np.arange(len(starts)), np.diff(starts, append=table.num_rows))
    has_crop = pc.is_valid(table["frame"]).to_numpy()
    state, error = _compare_crops(recipe, folder, manifest, fetch)
    psnr = _tell_near(state, error, clip)
    crops = np.zeros((len(starts), len(CROPS_ARE)), np.int64)
    np.add.at(crops, (clip[has_crop], state[has_crop]), 1)
    names = table.select(["part", "video", "clip_sha256"]).take(pa.array(starts)).to_pylist()
    copies = _copies(folder)
    clips, differing = Counter[str](), []
    for number, row in enumerate(names):
        copy, status = copies.get((row["part"], row["video"]), (None, None))
        counts = {name: int(n) for name, n in zip(CROPS_ARE, crops[number], strict=True) if n}
        changed = any(crops[number, _NEAR : _ABSENT + 1])
        if copy is None:
            copy = status if status in FAILURES else NOT_COMPARED
        elif copy == REMUXED and changed:
            copy = ALTERED
        if row["clip_sha256"] is None and copy == MISSING and not counts:
            continue  # the author had none either
        clips[copy] += 1
        if copy not in (SAME, NOT_COMPARED) or changed or crops[number, _PIXELS]:
            name = f"{row['part']}/{row['video']}"
            differing.append(ClipDifference(name, copy, counts, psnr.get(number)))
    near, alike = has_crop & (state == _NEAR), set(CROPS_ARE[: _PIXELS + 1])
    author, here = recipe.header["versions"], {name: _version(name) for name in _LIBRARIES}
    libraries = {
        name: (author[name], here[name])
        for name in _LIBRARIES
        if author.get(name, here[name]) != here[name]
    }
    return Comparison(
        folder,
        {name: int(n) for name, n in zip(CROPS_ARE, crops.sum(axis=0), strict=True) if n},
        _decibels(float(error[near].mean())) if near.any() else None,
        _compare_masks(recipe, folder, manifest, fetch),
        {name: clips[name] for name in (*CLIPS_ARE, NOT_COMPARED) if clips[name]},
        _faces_files(recipe, folder),
        libraries,
        tuple(sorted(differing, key=lambda each: (set(each.crops) <= alike, each.clip))),
        tuple(
            f"not compared, left out of the recipe: {each}" for each in recipe.header["left_out"]
        ),
    )


def _version(package: str) -> str:
    try:
        return __version__ if package == "dfdc-prep" else version(package)
    except PackageNotFoundError:
        return "none"


def shards_files(recipe: Recipe, shards: Path) -> dict[str, str]:
    """What each file of a shards folder is beside the author's: the same, another or not there."""
    lines = recipe.header["files"].get(ShardsFolder.SUMS, "").splitlines()
    sums = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    return {name: _file_is(shards / name, sums[name]) for name in sums if ShardsFolder.owns(name)}


def _faces_files(recipe: Recipe, folder: Path) -> dict[str, str]:
    if recipe.header["kind"] != FACES:
        return {}
    known = (FacesFolder.MANIFEST, FacesFolder.BALANCED, FacesFolder.SPLIT)
    tables = recipe.header["tables"]
    return {name: _file_is(folder / name, tables[name]) for name in known if name in tables}


def _file_is(path: Path, sha256: str) -> str:
    if not path.is_file():
        return CROPS_ARE[_ABSENT]
    return SAME if file_sha256(path) == sha256 else ANOTHER


def _copies(folder: Path) -> dict[tuple[str, str], tuple[str | None, str]]:
    """What the clip log says of each clip: the column `copy`, and its status."""
    path = folder / FacesFolder.CLIPS
    if not path.is_file():
        return {}
    log = read_table(path, CLIP_LOG_SCHEMA, "dfdc-prep rebuild")
    columns = (log[name].to_pylist() for name in ("part", "video", "copy", "status"))
    return {
        (part, video): (copy, status) for part, video, copy, status in zip(*columns, strict=True)
    }


def _compare_crops(
    recipe: Recipe, folder: Path, manifest: pa.Table | None, fetch: Fetch
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """The state of each row's crop, and the squared error of those that differ; both [rows].

    Crops that differ are `_NEAR` here, or `_OTHER` if they cannot be compared.
    """
    table, side = recipe.table, recipe.crop_options.size
    state = np.full(table.num_rows, _UNKNOWN, np.int8)
    error = np.zeros(table.num_rows)
    paths = crop_paths(recipe)
    at = None if manifest is None else pc.index_in(paths, manifest["path"])

    def check(_: ThreadPool, crop: tuple[str, Mapping[str, Any]]) -> tuple[int, float]:
        path, row = crop
        if not (folder / path).is_file():
            return _ABSENT, 0.0
        data = (folder / path).read_bytes()
        if row["sha256"] is None:
            return _UNKNOWN, 0.0
        if hashlib.sha256(data).digest() == row["sha256"]:
            return _SAME, 0.0
        try:
            image = decode(data)
        except ValueError:
            return _OTHER, 0.0
        pixels, sketch = crop_print(image)
        if pixels == row["pixels"]:
            return _PIXELS, 0.0
        if image.shape != (side, side, 3) or row["sketch"] is None:
            return _OTHER, 0.0
        return _NEAR, squared_error(sketch, row["sketch"], image.size)

    with ThreadPool() as pool, Progress(table.num_rows, "crops", "compare") as bar:
        for start in range(0, table.num_rows, _BLOCK):
            rows = table.slice(start, _BLOCK).select(["sha256", "pixels", "sketch"]).to_pylist()
            names = paths.slice(start, _BLOCK).to_pylist()
            todo = [number for number, name in enumerate(names) if name is not None]
            if manifest is not None and at is not None:
                hashes = manifest["sha256"].take(at.slice(start, _BLOCK)).to_pylist()
                for number in todo:
                    sha256, found = rows[number]["sha256"], hashes[number]
                    if found is None:
                        state[start + number] = _ABSENT
                    elif sha256 is not None and found == sha256.hex():
                        state[start + number] = _SAME
                todo = [n for n in todo if state[start + n] == _UNKNOWN and rows[n]["sha256"]]
            fetch([names[number] for number in todo])
            wanted = [(names[number], rows[number]) for number in todo]
            checked = pool.map(check, wanted)
            for number, (is_, differs) in zip(todo, checked, strict=True):
                state[start + number], error[start + number] = is_, differs
            bar.update(len(rows))
    return state, error


def _compare_masks(
    recipe: Recipe, folder: Path, manifest: pa.Table | None, fetch: Fetch
) -> dict[str, int]:
    """The number of masks that are the same as the author's, others or not there."""
    wanted = recipe.table["mask_sha256"]
    has_mask = pc.is_valid(wanted)
    hashes = [each.hex() for each in wanted.filter(has_mask).to_pylist()]
    paths = crop_paths(recipe).filter(has_mask)
    if manifest is not None:
        found = manifest["mask_sha256"].take(pc.index_in(paths, manifest["path"])).to_pylist()
        states = Counter(
            CROPS_ARE[_ABSENT] if here is None else SAME if here == sha256 else ANOTHER
            for here, sha256 in zip(found, hashes, strict=True)
        )
    else:
        masks = [str(Path(path).with_suffix(MASK_SUFFIX)) for path in paths.to_pylist()]
        fetch(masks)
        states = Counter(map(_file_is, map(folder.joinpath, masks), hashes))
    return dict(states)


def _tell_near(
    state: NDArray[np.int8], error: NDArray[np.float64], clip: NDArray[np.int64]
) -> dict[int, float]:
    """Set the crops of a clip that are far from the author's to `_OTHER`.

    Returns the PSNR in dB of those of each other clip that are near. It is that of the mean squared
    error of all of them, since the sketch of one crop says little.
    """
    near = np.flatnonzero(state == _NEAR)
    sums = np.bincount(clip[near], error[near])
    counts = np.bincount(clip[near])
    found = {}
    for number in np.flatnonzero(counts).tolist():
        decibels = _decibels(sums[number] / counts[number])
        if decibels >= _NEAR_DB:
            found[number] = decibels
    far = ~np.isin(clip[near], list(found))
    state[near[far]] = _OTHER
    return found


def _decibels(error: float) -> float:
    """The PSNR of a mean squared error; at most 99, which is more than sketches tell."""
    return min(99.0, 10 * math.log10(255**2 / error)) if error else 99.0
