"""Which requests the app answers: its limits, the hosts it goes by, the upload form."""

import re
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request

from dfdc_prep.errors import DfdcPrepError

#: Bytes of a megabyte and pixels of a megapixel.
MEGA = 1_000_000
#: Longest file name shown, in characters.
MAX_NAME_CHARS = 120
#: A `Host` header: a name or an IPv4 address, or an IPv6 address in brackets; perhaps a port.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d+)?")


class Refused(DfdcPrepError):
    """An upload that the app does not accept, with the HTTP status of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """Limits of the app."""

    upload_bytes: int = 100 * MEGA
    clip_seconds: float = 60
    pixels: int = 17 * MEGA  # of an image or of a frame
    frames: int = 32  # sampled from a clip
    faces: int = 200  # scored in one file
    waiting: int = 8  # uploads that wait at the same time
    results: int = 16  # kept at the same time; the oldest is deleted first
    result_seconds: float = 15 * 60  # a result is kept
    work_seconds: float = 120  # to read one file, or to encode its annotated clip

    def check_bytes(self, size: int) -> None:
        """Raise `Refused` if an upload is too large."""
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


@dataclass(frozen=True)
class Upload:
    """An uploaded file, and what to do with it."""

    name: str  # for display only; it never reaches the file system
    content: BinaryIO  # in memory or in a temporary file that has no name
    frames: int  # to sample from a clip
    every_face: bool

    def read(self) -> bytes:
        """Return the bytes of the file."""
        self.content.seek(0)
        return self.content.read()


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
    faces, frames = request.form.get("faces", "all"), request.form.get("frames", "10")
    if faces not in ("largest", "all"):
        raise Refused("expected faces to be largest or all, found something else")
    if not (frames.isascii() and frames.isdigit() and 1 <= int(frames[:9]) <= limits.frames):
        raise Refused(f"expected 1 to {limits.frames} frames, found another number")
    return Upload(display_name(file.filename), file.stream, int(frames), faces == "all")  # type: ignore[arg-type]


def display_name(name: str) -> str:
    """The part of a name that is shown: no folders, no unprintable characters, not too long."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last).strip()
    if len(shown) > MAX_NAME_CHARS:
        half = MAX_NAME_CHARS // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    return shown or "unnamed file"
