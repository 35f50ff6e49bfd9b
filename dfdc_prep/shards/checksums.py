"""SHA256SUMS: the hash of every file of a folder but itself, as `sha256sum -c` reads it.

The text follows from the folder alone, names sorted, so that it is checked by writing it
anew: one changed byte anywhere, in SHA256SUMS too, makes the two texts differ.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

SUMS = "SHA256SUMS"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_text(hashes: dict[str, str]) -> str:
    """What SHA256SUMS says of files with these hashes, by name."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def listed(path: Path) -> dict[str, str]:
    """The hashes a SHA256SUMS tells, by name; empty where there is none."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


class HashedFile:
    """A file that is hashed while it is read, so that it is read once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    def sha256(self) -> str:
        """The SHA-256 of the whole file, reading what was not read yet."""
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()


def write_sums(folder: Path, known: dict[str, str]) -> None:
    """Hash every file of the folder whose hash is not known yet, and write SHA256SUMS."""
    hashes = {
        file.name: known.get(file.name) or file_sha256(file)
        for file in folder.iterdir()
        if file.name != SUMS
    }
    (folder / SUMS).write_text(sums_text(hashes), encoding="ascii")
