"""Reads the upload form."""

from dataclasses import dataclass
from typing import BinaryIO

from werkzeug.wrappers import Request

from training.app.limits import Limits, Refused

#: Longest file name shown, in characters.
MAX_NAME_CHARS = 120


@dataclass(frozen=True)
class Upload:
    """An uploaded file.

    Attributes:
        name: the file's name, for display only; it never reaches the file system.
        content: the bytes, in memory or in a temporary file that has no name.
        frames: frames to sample from a clip.
        every_face: score every face instead of the main one.
    """

    name: str
    content: BinaryIO
    frames: int
    every_face: bool

    def read(self) -> bytes:
        """Return the bytes of the file."""
        self.content.seek(0)
        return self.content.read()

    def close(self) -> None:
        """Delete the bytes."""
        self.content.close()


def read_upload(request: Request, limits: Limits) -> Upload:
    """Read the form.

    Raises:
        Refused: there is no file, it is empty or too large, or a field is invalid.
    """
    limits.check_bytes(request.content_length or 0)
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Refused("expected an image or a clip, found no file; choose one")
    size = file.stream.seek(0, 2)
    limits.check_bytes(size)
    if size == 0:
        raise Refused("expected an image or a clip, found an empty file; choose another")
    faces = request.form.get("faces", "all")
    if faces not in ("largest", "all"):
        raise Refused("expected faces to be largest or all, found something else")
    frames = _frames(request.form.get("frames", "10"), limits)
    return Upload(display_name(file.filename), file.stream, frames, faces == "all")  # type: ignore[arg-type]


def display_name(name: str) -> str:
    """The part of a name that is shown: no folders, no unprintable characters, not too long."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last).strip()
    if len(shown) > MAX_NAME_CHARS:
        half = MAX_NAME_CHARS // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    return shown or "unnamed file"


def _frames(text: str, limits: Limits) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= limits.frames):
        raise Refused(f"expected 1 to {limits.frames} frames, found another number")
    return int(text)
