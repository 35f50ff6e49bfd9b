"""The rule for output folders: a folder is replaced or emptied only if no foreign file is in it.

A file is foreign if no command of this project writes a file of that name into such a folder.
"""

from collections.abc import Callable
from pathlib import Path

from manifests.errors import OutputError

#: Whether a command writes a file or folder of this name.
IsOwn = Callable[[str], bool]


#: Files that tell a folder of another kind than a faces folder; it may have a manifest.parquet too.
OTHER_KINDS = {
    "dataset_info.json": "a shards folder",
    "SHA256SUMS": "an export",
    "config.json": "a run folder",
}


def check_faces_folder(folder: Path) -> None:
    """Raise OutputError if a table would be written into a folder of another kind."""
    for name, kind in OTHER_KINDS.items():
        if (folder / name).is_file():
            raise OutputError(
                f"expected a faces folder at {folder}, found {kind}; give the folder that "
                "dfdc-prep extract or import wrote"
            )


def foreign_files(folder: Path, is_own: IsOwn) -> list[str]:
    """The sorted names of the foreign files in a folder; empty if the folder does not exist.

    Raises:
        OutputError: there is a file in place of the folder.
    """
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise OutputError(f"expected a folder at {folder}, found a file; choose another folder")
    return sorted(path.name for path in folder.iterdir() if not is_own(path.name))


def check_unused(folder: Path, is_own: IsOwn, content: str = "") -> None:
    """Raise OutputError if a folder that should be new contains foreign files.

    Args:
        is_own: names that may exist nevertheless, such as lock files.
        content: what the folder may contain instead, for the message: "an earlier run".
    """
    if foreign := foreign_files(folder, is_own):
        allowed = f" or to contain {content}" if content else ""
        raise OutputError(
            f"expected {folder} to be empty{allowed}, found {foreign[0]}; choose another folder"
        )


def check_replaceable(folder: Path, is_own: IsOwn, content: str) -> None:
    """Raise OutputError if replacing a folder would delete a foreign file.

    Args:
        content: what the folder should contain, for the message: "shards".
    """
    if foreign := foreign_files(folder, is_own):
        raise OutputError(
            f"expected only {content} in {folder}, which is replaced as a whole, found "
            f"{foreign[0]}; move it or choose another folder"
        )
