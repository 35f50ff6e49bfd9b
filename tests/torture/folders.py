"""Compares folders: their files by content, and what changed beside them."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

#: Tables that note seconds, which differ from run to run.
TIMED = ("clips.parquet", "journal.jsonl", "run.json")


def digest(folder: Path, without: Sequence[str] = ()) -> dict[str, str]:
    """The hash of every file below a folder, except hidden ones."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in without and not path.name.startswith(".")
    }


def difference(found: dict[str, str], wanted: dict[str, str]) -> str:
    """Description of how two digests differ; "" if they are equal."""
    odd = sorted(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))
    return f"{len(odd)} files differ, such as {odd[0]}" if odd else ""


def litter(folder: Path) -> str:
    """Temporary files left by a finished run in its folder or beside it; "" if none."""
    hidden = [path.name for path in folder.parent.glob(".*")]
    hidden += [path.name for path in folder.rglob(".*")]
    return f"{hidden[0]} was left behind" if hidden else ""


def listing(folder: Path, but: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Every entry below a folder with its size and modification time, without some folders."""
    skipped = {os.fspath(path) for path in but}
    found: dict[str, tuple[int, int]] = {}
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(base, name) not in skipped]
        for name in files + folders:
            path = os.path.join(base, name)
            if path not in skipped:
                said = os.lstat(path)
                of_a_folder = os.path.isdir(path)
                found[path] = (0, 0) if of_a_folder else (said.st_size, said.st_mtime_ns)
    return found


def strayed(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> str:
    """What was written, changed or removed; "" if nothing was."""
    odd = sorted(name for name in before.keys() | after if before.get(name) != after.get(name))
    return f"{odd[0]!a} was touched" if odd else ""
