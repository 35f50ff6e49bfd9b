"""SHA256SUMS: the hash of every file of a folder but itself, as `sha256sum -c` reads it.

The text follows from the folder alone, names sorted, so that it is checked by writing it
anew: one changed byte anywhere, in SHA256SUMS too, makes the two texts differ.
"""

import hashlib
from pathlib import Path

SUMS = "SHA256SUMS"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_text(hashes: dict[str, str]) -> str:
    """What SHA256SUMS says of files with these hashes, by name."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def write_sums(folder: Path, known: dict[str, str]) -> None:
    """Hash every file of the folder whose hash is not known yet, and write SHA256SUMS."""
    hashes = {
        file.name: known.get(file.name) or file_sha256(file)
        for file in folder.iterdir()
        if file.name != SUMS
    }
    (folder / SUMS).write_text(sums_text(hashes), encoding="ascii")
