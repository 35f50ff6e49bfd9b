"""SHA256SUMS: the SHA-256 of every other file in a folder, in the format of `sha256sum`.

The names are sorted, so the folder's content determines the text completely. Verification
generates the text again and compares: any changed byte, in SHA256SUMS too, makes them differ.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

from manifests.files import file_sha256
from manifests.folders import ShardsFolder

SUMS = ShardsFolder.SUMS


def format_sums(hashes: dict[str, str]) -> str:
    """The text of SHA256SUMS for {name: hash}."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def parse_sums(path: Path) -> dict[str, str]:
    """Parse SHA256SUMS into {name: hash}; empty if the file does not exist."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


class HashedFile:
    """A file that is hashed while it is read, so that it is read only once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    def sha256(self) -> str:
        """The SHA-256 of the whole file, hexadecimal; reads the rest of the file first."""
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()


def write_sums(folder: Path, known: dict[str, str]) -> None:
    """Write SHA256SUMS of a folder and its subfolders.

    Args:
        known: hashes by name, relative to the folder; files that are not in it are hashed.
    """
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    hashes = {name: known.get(name) or file_sha256(folder / name) for name in names if name != SUMS}
    (folder / SUMS).write_text(format_sums(hashes), encoding="ascii")
