"""An S3 server on 127.0.0.1 that can answer badly: `python -m tests.storage.s3_server`.

It prints its port, and ends when its standard input closes. Faults are set by GET
/__faults?share=0.05&kinds=503,500,late,cut&seconds=3&seed=1; `readonly=5` refuses every write
after five, `keep=1` answers every deletion of several objects as S3 does if it refuses each, and
`only=PUT` limits the faults to a method. GET /__counts returns the requests
since the last such call, by method, and the bytes in and out.
"""

import json
import logging
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

#: Status lines and S3 error codes of the faults.
_ANSWERS = {
    "503": ("503 Slow Down", "SlowDown"),
    "500": ("500 Internal Server Error", "InternalError"),
    "403": ("403 Forbidden", "AccessDenied"),
}
#: Seconds by which a late answer is late, unless `seconds` says otherwise.
_LATE = 3.0
_WRITES = ("PUT", "POST", "DELETE")
_REFUSED = b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>"


class Faults:
    """Which requests are answered badly, and what was asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.set({})

    def set(self, asked: dict[str, str]) -> None:
        """Set the share, kinds, method and seed of the faults; {} for none."""
        self._random = random.Random(asked.get("seed", "1"))
        self._share = float(asked.get("share", 0))
        self._kinds = asked.get("kinds", "503,500,late,cut").split(",")
        self.late = float(asked.get("seconds", _LATE))
        self._only = asked.get("only", "")
        self.keeps = "keep" in asked
        self._writes_left = int(asked["readonly"]) if "readonly" in asked else None

    def next(self, method: str) -> str:
        """Return the kind of fault of a request, "" for none."""
        with self._lock:
            self.counts[method] += 1
            if self._writes_left is not None and method in _WRITES:
                self._writes_left -= 1
                if self._writes_left < 0:
                    return "403"
            if (self._only and method != self._only) or self._random.random() >= self._share:
                return ""
            kind = self._random.choice(self._kinds)
            self.counts[f"fault {kind}"] += 1
            return kind

    def take(self) -> bytes:
        """Return the counts as JSON, and forget them."""
        with self._lock:
            taken, self.counts = self.counts, Counter()
        return json.dumps(taken).encode()


class App:
    """The WSGI application: moto's S3 behind the faults."""

    def __init__(self) -> None:
        self._s3 = DomainDispatcherApplication(create_backend_app)
        self._faults = Faults()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/__counts":
            return _reply(start_response, "200 OK", self._faults.take())
        if path == "/__faults":
            query = parse_qs(environ["QUERY_STRING"])
            self._faults.set({name: values[0] for name, values in query.items()})
            return _reply(start_response, "200 OK", b"")
        if self._faults.keeps and method == "POST" and environ["QUERY_STRING"].startswith("delete"):
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            return _reply(start_response, "200 OK", _REFUSED)
        kind = self._faults.next(method)
        if kind in _ANSWERS:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length)
            status, code = _ANSWERS[kind]
            body = f"<Error><Code>{code}</Code><Message>asked for</Message></Error>"
            return _reply(start_response, status, body.encode())
        if kind == "late":
            time.sleep(self._faults.late)
        self._faults.counts["bytes in"] += int(environ.get("CONTENT_LENGTH") or 0)
        found = b"".join(self._s3(environ, start_response))
        self._faults.counts["bytes out"] += len(found)
        return _cut(found) if kind == "cut" and method == "GET" else [found]


def _reply(start_response: Any, status: str, body: bytes) -> list[bytes]:
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def _cut(body: bytes) -> Iterator[bytes]:
    """Yield the first half of a body, then break the connection."""
    yield body[: len(body) // 2]
    raise ConnectionResetError("cut")


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: object) -> None:  # type: ignore[override]
        pass


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server("127.0.0.1", 0, App(), threaded=True, request_handler=_Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
