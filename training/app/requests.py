"""What the app accepts, and the messages about what it does not."""

import re
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request

from dfdc_prep.errors import DfdcPrepError

#: Bytes of a megabyte and pixels of a megapixel.
MEGA = 1_000_000


class Refused(DfdcPrepError):
    """An upload that the app does not accept.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """Limits of the app.

    Attributes:
        upload_bytes: size of an upload.
        clip_seconds: duration of a clip.
        pixels: pixels of an image or of a frame.
        frames: frames sampled from a clip.
        faces: faces scored in one file.
        waiting: uploads that wait at the same time.
        results: results kept at the same time; the oldest is deleted first.
        result_seconds: time a result is kept.
        work_seconds: time to read one file, or to encode its annotated clip.
    """

    upload_bytes: int = 100 * MEGA
    clip_seconds: float = 60
    pixels: int = 17 * MEGA
    frames: int = 32
    faces: int = 200
    waiting: int = 8
    results: int = 16
    result_seconds: float = 15 * 60
    work_seconds: float = 120

    def check_bytes(self, size: int) -> None:
        """Raise `Refused` if an upload is empty or too large."""
        if size > self.upload_bytes:
            raise Refused(
                f"expected a file of at most {self.upload_bytes / MEGA:g} MB, found "
                f"{size / MEGA:,.1f} MB; cut or compress it",
                413,
            )

    def check_faces(self, count: int) -> None:
        """Raise `Refused` if a file shows too many faces."""
        if count > self.faces:
            raise Refused(
                f"expected at most {self.faces} faces, found {count}; choose the main face or "
                "fewer frames"
            )


#: A `Host` header: a name or an IPv4 address, or an IPv6 address in brackets; perhaps a port.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d+)?")


@dataclass(frozen=True)
class Access:
    """Who may use the app.

    Attributes:
        hosts: names that requests may address, without ports; `.example.org` stands for all
            names that end with it. Others are refused, so that no page elsewhere can reach the
            app under a name of its own (DNS rebinding).
        embedder: origin of the page that may show the app in a frame, if any.
    """

    hosts: tuple[str, ...]
    embedder: str | None = None

    def allows_host(self, header: str) -> bool:
        """Whether the `Host` header of a request names one of the hosts."""
        found = _HOST.fullmatch(header)
        if not found:
            return False
        name = (found["ipv6"] or found["name"]).lower()
        return any(
            name.endswith(host) if host.startswith(".") else name == host
            for host in (allowed.lower() for allowed in self.hosts)
        )

    def policy(self) -> str:
        """The content security policy: nothing that the pages do not need."""
        framed_by = self.embedder or "'none'"
        return (
            "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; "
            f"frame-ancestors {framed_by}"
        )


def is_cross_site(headers: Headers) -> bool:
    """Whether a form of another site sent the request, as far as its browser says."""
    if site := headers.get("Sec-Fetch-Site"):
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("Host")


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
