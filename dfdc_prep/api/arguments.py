"""What the functions of the API take as paths."""

import os
from collections.abc import Iterable
from pathlib import Path

#: A path, or the URL of a bucket as text: "s3://bucket/faces".
StrPath = str | os.PathLike[str]
#: One folder, or several.
Folders = StrPath | Iterable[StrPath]


def as_paths(faces: Folders) -> tuple[Path, ...]:
    """The folders that `options.checked` made of one path or several."""
    given = [faces] if isinstance(faces, str | os.PathLike) else faces
    return tuple(Path(folder) for folder in given)
