"""Finds the layout of a source, on a disk or in a bucket, and reads its clips into a `Catalog`."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from dfdc_prep.catalog.clips import Catalog, Clip, Layout, SourceOptions, build_catalog
from dfdc_prep.catalog.files import (
    check_text,
    is_video,
    listed_names,
    searched_folders,
    subfolders,
    unread_folders,
)
from dfdc_prep.catalog.layouts.celeb_df import CELEB_DF
from dfdc_prep.catalog.layouts.dfdc import DFDC, find_parts
from dfdc_prep.catalog.layouts.dfdc_flat import DFDC_FLAT, has_flags
from dfdc_prep.catalog.layouts.dfdc_preview import DFDC_PREVIEW
from dfdc_prep.catalog.layouts.faceforensics import FACEFORENSICS
from dfdc_prep.catalog.layouts.fakeavceleb import FAKEAVCELEB
from dfdc_prep.catalog.layouts.folders import ARCHIVES, FOLDERS
from dfdc_prep.catalog.layouts.table import TABLE
from dfdc_prep.errors import SourceError
from dfdc_prep.storage.urls import Url
from manifests.folders import path_meant
from manifests.wording import listed

AUTO = "auto"
DEFAULT = SourceOptions()
#: The layouts by their name; importing this module is cheap.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        *(DFDC, DFDC_FLAT, DFDC_PREVIEW, FACEFORENSICS, CELEB_DF, FAKEAVCELEB, FOLDERS, TABLE),
    )
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
    # The layout that was asked for, DFDC's for `auto`.
    named = LAYOUTS[DFDC.name if options.layout == AUTO else options.layout]
    named = TABLE if options.table is not None else named
    if not source.is_dir():
        raise SourceError(
            f"expected {named.shape}, found no folder {source}; "
            f"{path_meant(source) or 'give its path'}"
        )
    layout, folder, notes = _find_layout(source, named, options.layout == AUTO)
    if options.compression and layout != FACEFORENSICS:
        raise SourceError(
            f"expected --compression only with the layout {FACEFORENSICS.name}, found the layout "
            f"{layout.name} in {folder}; leave it out"
        )
    listing = layout.read(folder, options)
    notes += _left_out_beside(folder, source)
    listing = listing._replace(notes=(*notes, *listing.notes, *_zipped(folder)))
    return build_catalog(listing, layout.name).limited(limit)


def _left_out_beside(folder: Path, source: Path) -> list[str]:
    """A note on clips beside the folder of a data set that was found below the source."""
    if folder == source:
        return []
    others = [name for name in searched_folders(source) if source / name != folder]
    names = [name for name in others if any(unread_folders(source / name, ()))]
    names += ["the folder around it"] if any(map(is_video, listed_names(source))) else []
    return [f"left out beside {folder.name}: the clips in {listed(names)}"] if names else []


def _zipped(folder: Path) -> list[str]:
    """A note on the archives in a data set's folder and the folders in it."""
    folders = {name: listed_names(folder / name) for name in ("", *subfolders(folder))}
    zips = sorted(
        str(Path(place, name))
        for place, names in folders.items()
        for name in names
        if name.lower().endswith(ARCHIVES)
    )
    return [f"not read, still zipped: {listed(zips)}; unzip first"] if zips else []


def _find_layout(source: Path, named: Layout, auto: bool) -> tuple[Layout, Path, list[str]]:
    """Return the layout of a source, the folder that has it, and notes on what is left out."""
    if named in (TABLE, FOLDERS):
        return named, source, []
    found = list(_recognized(source, [*LAYOUTS.values()] if auto else [named], _MAX_DEPTH))
    others = [(layout, folder) for layout, folder in found if layout != DFDC]
    if len(others) < len(found):
        # The parts of DFDC are many folders; its reader finds them, also further down.
        left_out = (f"left out, give its own folder: {other.name} in {at}" for other, at in others)
        return named, source, list(left_out)
    if not found:
        return FOLDERS if auto and not any(find_parts(source)) else named, source, []
    if len(found) > 1:
        places = ", ".join(f"{layout.name} in {folder}" for layout, folder in found[:3])
        raise SourceError(
            f"expected one data set below {source}, found {places}; give the folder of one"
        )
    return (*found[0], [])


def _recognized(folder: Path, wanted: list[Layout], depth: int) -> Iterator[tuple[Layout, Path]]:
    """Yield the layouts of a folder, or else of the folders in it."""
    names = {name.lower() for name in listed_names(folder)}
    for layout in wanted:
        if any(names.issuperset(map(str.lower, marks)) for marks in layout.marks):
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
        if any(os.path.isdir(clip.path) for clip in catalog.clips):
            raise SourceError(
                f"expected clips that are files in the bucket {source}, found folders of frames; "
                "copy them to a disk"
            )

        def in_bucket(clip: Clip) -> Clip:
            name = clip.path.removeprefix(str(copy.folder)).removeprefix("/")
            mask = clip.mask_video and in_bucket(clip.mask_video)
            path, version = f"{source}/{name}", versions.get(name, "")
            return replace(clip, path=path, version=version, mask_video=mask)

        return replace(catalog, clips=tuple(map(in_bucket, catalog.clips)))
