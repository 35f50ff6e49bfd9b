"""The queue of uploads: one is analyzed at a time, and results are kept for a while."""

import secrets
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Condition
from typing import TYPE_CHECKING

import click

from dfdc_prep.errors import DfdcPrepError
from training.app.requests import Limits, Refused, Upload
from training.app.result import Result

if TYPE_CHECKING:  # it imports TensorFlow
    from training.app.analysis import Analyzer

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_UNKNOWN = "the app failed at this file; its console says where. Other files are not affected"


@dataclass
class Job:
    """An upload on its way to a result."""

    upload: Upload
    #: Nobody can guess it; who knows it sees the result.
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = WAITING
    result: Result | None = None
    message: str | None = None  # why the job failed
    finished: float | None = None  # seconds of `time.monotonic`


class Jobs:
    """All jobs. Any thread may call the methods; `run` belongs to one thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = Condition()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        #: Set once the model is loaded.
        self.ready = False

    def submit(self, upload: Upload) -> Job:
        """Queue an upload.

        Raises:
            Refused: too many uploads are waiting.
        """
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
        """Wait for the next upload and mark it as running; delete old results meanwhile."""
        while True:
            with self._changed:
                self._expire()
                for job in self._jobs.values():
                    if job.state == WAITING:
                        job.state = RUNNING
                        return job
                self._changed.wait(timeout=1)

    def _finish(
        self, job: Job, state: str, result: Result | None = None, message: str | None = None
    ) -> None:
        with self._changed:
            job.result, job.message = result, message
            job.finished = time.monotonic()
            job.state = state

    def _expire(self) -> None:
        """Delete results that are too old or too many."""
        finished = [job for job in self._jobs.values() if job.finished is not None]
        oldest = time.monotonic() - self._limits.result_seconds
        surplus = len(finished) - self._limits.results
        for position, job in enumerate(finished):
            if position < surplus or (job.finished or 0) < oldest:
                del self._jobs[job.key]
