"""Files of a bucket, with faults and without."""

import threading
from pathlib import Path

import pytest

from dfdc_prep.storage.place import Place, redacted
from dfdc_prep.storage.urls import Url
from manifests.errors import StorageError
from tests.storage.server import S3Server


def test_files_are_written_and_read_whole(place: Place, tmp_path: Path) -> None:
    place.put({"a/b.txt": b"one", "c.txt": b""})
    assert place.read("a/b.txt") == b"one"
    assert place.list() == {"a/b.txt": 3, "c.txt": 0}
    assert place.list("a") == {"a/b.txt": 3}
    assert place.read_many(["c.txt", "none"]) == {"c.txt": b""}
    place.fetch("a/b.txt", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"one"


def test_a_missing_file_is_not_found(place: Place, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place.read("none")
    with pytest.raises(FileNotFoundError):
        place.fetch("none", tmp_path / "copy")
    place.remove(["none"])
    assert place.list("nowhere") == {}


def test_a_file_is_created_once(place: Place) -> None:
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda n=n: won.append(place.put_if_absent("x", b"%d" % n)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, False, True]
    place.remove(["x"])
    assert place.put_if_absent("x", b"")


def test_a_bucket_that_does_not_exist_is_no_missing_file(s3: S3Server) -> None:
    with pytest.raises(StorageError, match=r"expected the bucket s3://nobucket, found none"):
        Place(Url("s3://nobucket/folder")).read("x")


@pytest.mark.parametrize("kind", ["503", "500", "cut"])
def test_bad_answers_are_retried(s3: S3Server, place: Place, kind: str, tmp_path: Path) -> None:
    files = {f"{n}.txt": b"%d" % n * 1000 for n in range(40)}
    s3.faults(f"share=0.2&kinds={kind}&seed=3")
    place.put(files)
    assert place.read_many(files) == files
    place.fetch("7.txt", tmp_path / "7")
    assert (tmp_path / "7").read_bytes() == files["7.txt"]
    assert s3.counts()[f"fault {kind}"]


def test_a_refused_deletion_is_an_error(s3: S3Server, place: Place) -> None:
    place.put({"a": b"1", "b": b"2"})
    s3.faults("keep=1")
    with pytest.raises(StorageError, match=r"expected to remove s3://.*still there"):
        place.remove(["a", "b"])
    s3.faults()
    place.remove(["a", "b"])
    assert place.list() == {}


def test_a_library_s_message_shows_no_credential() -> None:
    text = (
        'Could not connect to "http://user:hidden@host/b?X-Amz-Signature=hidden" '
        "aws_secret_access_key=hidden, token: hidden\nhidden"
    )
    found = redacted(OSError(text))
    assert "hidden" not in found
    assert found.startswith("OSError (Could not connect to")
