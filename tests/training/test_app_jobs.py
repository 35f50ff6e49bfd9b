"""The queue of the app, with analyzers that do nothing."""

import io
from dataclasses import replace

import pytest

from training.app.jobs import (
    DONE,
    FAILED,
    RUNNING,
    WAITING,
    Jobs,
    Limits,
    Refused,
    Upload,
    display_name,
)
from training.app.result import Result
from training.inference.scorer import NO_FACE, FilePrediction


class Nothing:
    """An analyzer that finds no face."""

    def analyze(self, upload):
        return Result(FilePrediction(upload.name, NO_FACE), False, [], [])

    def annotate(self, upload, result):
        pass


class Broken(Nothing):
    """An analyzer with a bug."""

    def analyze(self, upload):
        raise RuntimeError("a bug")


def upload(name="a.png"):
    return Upload(name, io.BytesIO(b"content"), 10, True)


def test_jobs_run_in_order_and_their_uploads_are_deleted():
    jobs = Jobs(Limits())
    first, second = jobs.submit(upload()), jobs.submit(upload())
    assert (jobs.uploads_before(first), jobs.uploads_before(second)) == (0, 1)
    assert jobs.take() is first
    assert (first.state, second.state) == (RUNNING, WAITING)
    jobs.run_one(Nothing(), first)
    assert (first.state, jobs.uploads_before(second)) == (DONE, 0)
    assert first.upload.content.closed
    assert not second.upload.content.closed


def test_a_bug_is_a_message_and_the_next_job_runs(capsys):
    jobs = Jobs(Limits())
    first, second = jobs.submit(upload()), jobs.submit(upload())
    jobs.run_one(Broken(), jobs.take())
    jobs.run_one(Nothing(), jobs.take())
    assert (first.state, second.state) == (FAILED, DONE)
    assert "its console says where" in first.message
    assert "RuntimeError: a bug" in capsys.readouterr().err
    assert first.upload.content.closed


def test_a_full_queue_refuses():
    jobs = Jobs(replace(Limits(), waiting=2))
    for _ in range(2):
        jobs.submit(upload())
    with pytest.raises(Refused, match="expected fewer than 2 waiting uploads"):
        jobs.submit(upload())


def test_a_deleted_job_is_not_analyzed():
    jobs = Jobs(Limits())
    first, second = jobs.submit(upload()), jobs.submit(upload())
    jobs.delete(first.key)
    assert first.upload.content.closed
    assert jobs.get(first.key) is None
    assert jobs.take() is second


@pytest.mark.parametrize("limits", [Limits(results=1), Limits(result_seconds=0)])
def test_old_results_are_deleted(limits):
    jobs = Jobs(limits)
    first, _ = jobs.submit(upload()), jobs.submit(upload())
    for _ in range(2):
        jobs.run_one(Nothing(), jobs.take())
    jobs.submit(upload())
    jobs.take()
    assert jobs.get(first.key) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a.mp4", "a.mp4"),
        ("\u202etfel\x1b[31m.mp4", "\ufffdtfel\ufffd[31m.mp4"),
        ("", "unnamed file"),
        ("x" * 300, "x" * 60 + "…" + "x" * 60),
    ],
)
def test_names_are_shown_without_folders_and_control_characters(name, shown):
    assert display_name(name) == shown
