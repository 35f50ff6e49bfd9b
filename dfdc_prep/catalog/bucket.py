"""Reads the catalog of a source in a bucket.

The readers of catalogs look at the names and sizes of files and read small text files. So the
source is listed once and laid out as a folder on this machine, with the text files and, in the
place of each other object, an empty file of its size that takes no space.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dfdc_prep.catalog.clips import Catalog
from dfdc_prep.errors import SourceError
from dfdc_prep.storage.mirror import mirrored
from dfdc_prep.storage.urls import Url

#: Extensions of the files that a reader may read, and the largest of them, bytes.
_TEXT, _MAX_TEXT = (".json", ".csv", ".txt"), 1_000_000_000


def read_bucket_catalog(source: Url, read: Callable[[Path], Catalog]) -> Catalog:
    """Read a catalog whose clips have URLs as paths.

    Args:
        read: the reader of a folder.

    Raises:
        SourceError: as the reader does.
        StorageError: the bucket cannot be reached, or its names cannot be those of files.
    """
    with mirrored(source) as mirror:
        mirror.lay_out(lambda name, size: name.lower().endswith(_TEXT) and size <= _MAX_TEXT)
        folder = str(mirror.folder)
        try:
            catalog = read(mirror.folder)
        except SourceError as error:
            raise type(error)(str(error).replace(folder, str(source))) from error
        names = [clip.path.removeprefix(folder).removeprefix("/") for clip in catalog.clips]
        clips = tuple(
            replace(clip, path=f"{source}/{name}", version=mirror.versions.get(name, ""))
            for clip, name in zip(catalog.clips, names, strict=True)
        )
        return replace(catalog, clips=clips)
