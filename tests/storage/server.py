"""Starts the S3 server of the tests and talks to it."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parents[2]
#: Credentials that no message, log or file may contain.
ACCESS_KEY, SECRET_KEY = "AKIATESTACCESSKEY000", "test-secret-never-to-be-seen"


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the libraries find the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """A client that is not the one under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        )

    def upload(self, folder: Path, bucket: str, below: str = "") -> None:
        """Copy a folder into a bucket, which is created if needed."""
        client = self.client()
        client.create_bucket(Bucket=bucket)
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{below}/{path.relative_to(folder).as_posix()}".lstrip("/")
                client.put_object(Bucket=bucket, Key=name, Body=path.read_bytes())

    def files(self, bucket: str, below: str = "") -> dict[str, bytes]:
        """All objects below a prefix, by name relative to it."""
        client, prefix = self.client(), f"{below}/" if below else ""
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return {
            key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in keys
        }

    def faults(self, query: str = "") -> None:
        """Answer requests badly, as `s3_server` says; "" for none."""
        self._get(f"/__faults?{query}")

    def counts(self) -> dict[str, int]:
        """The requests since the last call."""
        return dict(json.loads(self._get("/__counts")))

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.endpoint + path) as reply:
            return bytes(reply.read())


@contextmanager
def running_server() -> Iterator[S3Server]:
    """Start a server, and end it."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.storage.s3_server"]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
    )
    assert process.stdin
    assert process.stdout
    with process:
        try:
            yield S3Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.stdin.close()
