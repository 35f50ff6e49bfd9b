"""What the app accepts, and the messages about what it does not."""

from dataclasses import dataclass

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
