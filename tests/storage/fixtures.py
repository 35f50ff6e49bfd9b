"""The S3 server of the tests of buckets."""

import uuid
from collections.abc import Iterator

import pytest

from dfdc_prep.storage import place as places
from dfdc_prep.storage.place import Place
from dfdc_prep.storage.urls import Url
from tests.storage.server import S3Server, running_server


@pytest.fixture(scope="session")
def _server() -> Iterator[S3Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def s3(_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, found by the libraries, without faults."""
    for name, value in _server.environment.items():
        monkeypatch.setenv(name, value)
    places._file_system.cache_clear()
    _server.faults()
    _server.counts()
    yield _server
    _server.faults()


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The name of a new bucket."""
    name = f"b{uuid.uuid4().hex}"
    s3.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def place(bucket: str) -> Place:
    """A folder in a new bucket."""
    return Place(Url(f"s3://{bucket}/folder"))
