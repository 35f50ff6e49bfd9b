"""Finds the layout of a source, on a disk or in a bucket, and reads its clips into a `Catalog`."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from dfdc_prep.catalog.clips import Catalog, Layout, SourceOptions, build_catalog
from dfdc_prep.catalog.files import check_text, subfolders
from dfdc_prep.catalog.layouts.celeb_df import CELEB_DF
from dfdc_prep.catalog.layouts.dfdc import DFDC
from dfdc_prep.catalog.layouts.dfdc_flat import DFDC_FLAT, has_flags
from dfdc_prep.catalog.layouts.dfdc_preview import DFDC_PREVIEW
from dfdc_prep.catalog.layouts.faceforensics import FACEFORENSICS
from dfdc_prep.catalog.layouts.table import TABLE
from dfdc_prep.errors import SourceError
from dfdc_prep.storage.urls import Url

AUTO = "auto"
DEFAULT = SourceOptions()
#: The layouts by their name; importing this module is cheap.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (DFDC, DFDC_FLAT, DFDC_PREVIEW, FACEFORENSICS, CELEB_DF, TABLE)
}
#: Levels of folders that are searched for a layout: unpacking often adds one.
_MAX_DEPTH = 1
#: Extensions of the files that a reader may read, and the largest of them, bytes.
_TEXT, _MAX_TEXT = (".json", ".csv", ".txt"), 1_000_000_000


def read_catalog(
    source: Path, limit: int | None = None, options: SourceOptions = DEFAULT
) -> Catalog:
    """Read the clips of a data set on disk; no video is opened.

    Args:
        source: the folder of the data set; a folder around it will do.
        limit: keep only the first families that together have at least this many clips.
        options: how to read it.

    Raises:
        SourceError: the folder does not exist or has no known layout, or a file of the data
            set is invalid.
        SourceUnreachable: the size of a clip cannot be read.
    """
    _check_options(options)
    # The layout that was asked for, DFDC's for `auto`.
    named = LAYOUTS[DFDC.name if options.layout == AUTO else options.layout]
    named = TABLE if options.table is not None else named
    if not source.is_dir():
        raise SourceError(f"expected {named.shape}, found no folder {source}; give its path")
    layout, folder, notes = _find_layout(source, named, options.layout == AUTO)
    if options.compression and layout != FACEFORENSICS:
        raise SourceError(
            f"expected --compression only with the layout {FACEFORENSICS.name}, found the layout "
            f"{layout.name} in {folder}; leave it out"
        )
    listing = layout.read(folder, options)
    listing = listing._replace(notes=(*notes, *listing.notes))
    return build_catalog(listing, layout.name).limited(limit)


def _check_options(options: SourceOptions) -> None:
    if options.table is not None and options.layout not in (AUTO, TABLE.name):
        raise SourceError(
            f"expected --table only with --layout {TABLE.name}, found --layout {options.layout}; "
            "leave one of them out"
        )
    if options.real_is is not None and options.table is None:
        raise SourceError(
            "expected --real-is only with --table, found it without; leave it out: the data set "
            "names its labels"
        )
    if options.dataset is not None:
        check_text(Path("--dataset"), "name", options.dataset)


def _find_layout(source: Path, named: Layout, auto: bool) -> tuple[Layout, Path, list[str]]:
    """Return the layout of a source, the folder that has it, and notes on what is left out.

    Raises:
        SourceError: no layout is recognized, or more than one is.
    """
    if named == TABLE:
        return named, source, []
    found = list(_recognized(source, [*LAYOUTS.values()] if auto else [named], _MAX_DEPTH))
    others = [(layout, folder) for layout, folder in found if layout != DFDC]
    if len(others) < len(found) or not found:
        # The parts of DFDC are many folders; its reader finds them, also further down.
        left_out = (f"left out, give its own folder: {other.name} in {at}" for other, at in others)
        return named, source, list(left_out)
    if len(found) > 1:
        places = ", ".join(f"{layout.name} in {folder}" for layout, folder in found[:3])
        raise SourceError(
            f"expected one data set below {source}, found {places}; pass the folder of one"
        )
    return (*found[0], [])


def _recognized(folder: Path, wanted: list[Layout], depth: int) -> Iterator[tuple[Layout, Path]]:
    """Yield the layouts of a folder, or else of the folders in it."""
    for layout in wanted:
        if any(os.path.exists(f"{folder}{os.sep}{mark}") for mark in layout.marks):
            flat = layout == DFDC and DFDC_FLAT in wanted and has_flags(folder)
            yield DFDC_FLAT if flat else layout, folder
            return
    for name in subfolders(folder) if depth else ():
        yield from _recognized(folder / name, wanted, depth - 1)


def read_bucket_catalog(source: Url, read: Callable[[Path], Catalog]) -> Catalog:
    """Read the catalog of a source in a bucket; its clips have URLs as paths.

    Readers look at the names and sizes of files and read small text files. So the source is listed
    once and laid out as a folder on this machine, with the text files and, in the place of each
    other object, an empty file of its size that takes no space.

    Args:
        read: the reader of a folder.

    Raises:
        SourceError: as the reader does.
        StorageError: the bucket cannot be reached, or its names cannot be those of files.
    """
    from dfdc_prep.storage.workspace import Mirror, workspace

    versions: dict[str, str] = {}

    def lay_out(mirror: Mirror) -> None:
        mirror.lay_out(lambda name, size: name.lower().endswith(_TEXT) and size <= _MAX_TEXT)
        versions.update(mirror.versions)

    with workspace(source, lay_out) as copy:
        catalog = read(copy.folder)
        names = [
            clip.path.removeprefix(str(copy.folder)).removeprefix("/") for clip in catalog.clips
        ]
        clips = tuple(
            replace(clip, path=f"{source}/{name}", version=versions.get(name, ""))
            for clip, name in zip(catalog.clips, names, strict=True)
        )
        return replace(catalog, clips=clips)
