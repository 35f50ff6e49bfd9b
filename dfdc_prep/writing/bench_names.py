"""Names in DeepfakeBench's layout: of the data set, of its clip folders, of its frames.

Its loader replaces the word `frames` everywhere in a path to find masks and landmarks, sorts the
frames of a clip by `int()` of their names, and groups the scores of a clip by its folder's name.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from manifests.errors import TableError

#: The word that the loader replaces.
FRAMES = "frames"
#: Names for which the loader expects a level of compression in the JSON file.
_WITH_COMPRESSION = {
    "FaceForensics++", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "DeepFakeDetection", "FaceShifter",
    "FaceForensics++_c40", "FF-DF_c40", "FF-F2F_c40", "FF-FS_c40", "FF-NT_c40",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]+")
_SUFFIX = re.compile(r"\.[^./]*$")
#: Longest part of a clip's name that is kept, characters.
_LONGEST = 80


class ClipKey(NamedTuple):
    """What makes a clip folder: a clip of one label in one split."""

    part: str
    video: str
    label: str
    split: str


def check_name(name: str) -> None:
    """Raise TableError if the loader could not read a data set of this name."""
    if not _NAME.fullmatch(name) or FRAMES in name or name in _WITH_COMPRESSION:
        raise TableError(
            "expected a name of letters, digits, - and _ that does not contain 'frames' and is "
            f"none of DeepfakeBench's FaceForensics++ names, found {name!r}; give another --name"
        )


def clip_folders(keys: Iterable[ClipKey]) -> dict[ClipKey, str]:
    """Name the folder of every clip: by its video, and a hash where that is not unique.

    The names contain only letters, digits, `-` and `_`, and differ in more than case. They do not
    depend on the order of the clips.
    """
    names = {key: _plain(key.video) for key in keys}
    length = 8
    while shared := _shared(names):
        names |= {key: f"{_plain(key.video)}-{_digest(key)[:length]}" for key in shared}
        length *= 2
    return names


def _plain(video: str) -> str:
    name = _UNUSUAL.sub("_", _SUFFIX.sub("", video))[:_LONGEST].replace(FRAMES, FRAMES.capitalize())
    return name.strip("_") or "clip"


def _shared(names: dict[ClipKey, str]) -> list[ClipKey]:
    counts = Counter(name.casefold() for name in names.values())
    return [key for key, name in names.items() if counts[name.casefold()] > 1]


def _digest(key: ClipKey) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()


def frame_names(frames: Sequence[int | None]) -> list[str]:
    """Name the crops of a clip, in the order in which they are to be sorted.

    By the frame's number, 012.png, if each crop has its own; otherwise by position.
    """
    known = [frame for frame in frames if frame is not None and frame >= 0]
    numbers = known if len(set(known)) == len(frames) else range(len(frames))
    return [f"{number:03d}.png" for number in numbers]
