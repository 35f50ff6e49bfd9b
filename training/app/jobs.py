"""Uploads: the form, its limits, and the queue; one is analyzed at a time, results are kept."""

import io
import secrets
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Condition
from typing import TYPE_CHECKING, BinaryIO, cast

import click
from werkzeug.wrappers import Request

from dfdc_prep.errors import DfdcPrepError
from manifests.wording import counted
from training.app.result import Result
from training.app.samples import Sample

if TYPE_CHECKING:  # it imports TensorFlow
    from training.app.analysis import Analyzer

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_UNKNOWN = "the app failed at this file; its console says where. Other files are not affected"


#: Bytes of a megabyte and pixels of a megapixel.
MEGA = 1_000_000
#: Longest file name shown, in characters.
MAX_NAME_CHARS = 120


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
        if size > self.upload_bytes:
            raise Refused(
                f"expected a file of at most {self.upload_bytes / MEGA:g} MB, found "
                f"{size / MEGA:,.1f} MB; cut or compress it",
                413,
            )


@dataclass(frozen=True)
class Upload:
    """An uploaded file, and what to do with it."""

    name: str  # for display only; it never reaches the file system
    content: BinaryIO  # in memory or in a temporary file that has no name
    frames: int  # to sample from a clip
    every_face: bool
    whole_name: bool = True  # whether `name` is the file's own, unchanged
    sample: Sample | None = None  # the crop of the set that it is

    def read(self) -> bytes:
        """Return the bytes of the file."""
        self.content.seek(0)
        return self.content.read()


def read_upload(request: Request, limits: Limits, samples: Sequence[Sample] = ()) -> Upload:
    """Read the form: a file, or the number of a sample.

    Refused if there is no file, it is empty or too large, or a field invalid.
    """
    limits.check_bytes(request.content_length or 0)
    if (number := request.form.get("sample")) is not None:
        chosen = [sample for at, sample in enumerate(samples) if number == str(at)]
        if not chosen:
            raise Refused("expected one of the faces of the set, found another; choose again")
        image = io.BytesIO(chosen[0].image)
        return Upload(display_name(chosen[0].name), image, 1, True, sample=chosen[0])
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
        raise Refused(f"expected 1 to {counted(limits.frames, 'frame')}, found another number")
    name, content = display_name(file.filename), cast(BinaryIO, file.stream)
    return Upload(name, content, int(frames), faces == "all", name == file.filename)


def display_name(name: str) -> str:
    """A name as it is shown: no folders, no unprintable characters, not too long."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last).strip()
    if len(shown) > MAX_NAME_CHARS:
        half = MAX_NAME_CHARS // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    return shown or "unnamed file"


@dataclass
class Job:
    """An upload on its way to a result; who knows its key, which nobody can guess, sees that."""

    upload: Upload
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = WAITING
    result: Result | None = None
    message: str | None = None  # why the job failed
    finished: float | None = None  # seconds of `time.monotonic`


class Jobs:
    """All jobs. Any thread may call the methods; `run` belongs to one thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._changed = limits, Condition()
        self._jobs: dict[str, Job] = {}  # in the order of submission
        self.ready = False  # until the model is loaded

    def submit(self, upload: Upload) -> Job:
        """Queue an upload; Refused if too many are waiting."""
        job = Job(upload)
        with self._changed:
            waiting = sum(other.state == WAITING for other in self._jobs.values())
            if waiting >= self._limits.waiting:
                raise Refused(
                    f"expected fewer than {self._limits.waiting} waiting uploads, found "
                    f"{waiting}; try again in a minute",
                    503,
                )
            self._jobs[job.key] = job
            self._changed.notify_all()
        return job

    def get(self, key: str) -> Job | None:
        """Return a job; None if it was deleted or never existed."""
        with self._changed:
            return self._jobs.get(key)

    def uploads_before(self, job: Job) -> int:
        """Number of uploads that are analyzed before a waiting job."""
        with self._changed:
            earlier = takewhile(lambda other: other is not job, self._jobs.values())
            return sum(other.state in (WAITING, RUNNING) for other in earlier)

    def delete(self, key: str) -> None:
        """Delete an upload and its result; one that is being analyzed has no result then."""
        with self._changed:
            job = self._jobs.pop(key, None)
            if job is not None and job.state == WAITING:
                job.upload.content.close()

    def run(self, analyzer: "Analyzer") -> None:
        """Analyze uploads one after another, until interrupted."""
        self.ready = True
        while True:
            self.run_one(analyzer, self.take())

    def run_one(self, analyzer: "Analyzer", job: Job) -> None:
        """Analyze one upload and delete it; every exception becomes a message."""
        try:
            result = analyzer.analyze(job.upload)
            self._finish(job, DONE, result)
            analyzer.annotate(job.upload, result)
        except Exception as error:
            if not (known := isinstance(error, DfdcPrepError)):
                click.echo(traceback.format_exc(), err=True)
            if job.state == RUNNING:
                self._finish(job, FAILED, message=str(error) if known else _UNKNOWN)
        finally:
            job.upload.content.close()

    def take(self) -> Job:
        """Wait for the next upload, now running; delete results that are too old or too many."""
        while True:
            with self._changed:
                finished = [job for job in self._jobs.values() if job.finished is not None]
                oldest = time.monotonic() - self._limits.result_seconds
                surplus = len(finished) - self._limits.results
                for position, job in enumerate(finished):
                    if position < surplus or (job.finished or 0) < oldest:
                        del self._jobs[job.key]
                for job in self._jobs.values():
                    if job.state == WAITING:
                        job.state = RUNNING
                        return job
                self._changed.wait(timeout=1)

    def _finish(
        self, job: Job, state: str, result: Result | None = None, message: str | None = None
    ) -> None:
        with self._changed:
            job.result, job.message, job.finished = result, message, time.monotonic()
            job.state = state
