"""An S3 server inside a cluster's network, whose bucket holds a source.

    python -m tests.cluster.bucket_server SOURCE FOLDER

Prints the server's endpoint when the source is at s3://data/dfdc. A line on stdin makes it copy the
objects below s3://data/faces into FOLDER and end.
"""

import sys
from pathlib import Path

from tests.storage.server import running_server

BUCKET = "data"


def main() -> None:
    """Serve until told to end."""
    source, folder = map(Path, sys.argv[1:])
    with running_server() as server:
        server.upload(source, BUCKET, "dfdc")
        sys.stdout.write(f"{server.endpoint}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        for name, data in server.files(BUCKET, "faces").items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


if __name__ == "__main__":
    main()
