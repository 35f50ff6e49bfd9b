"""The app under connections that send slowly, never end, or do not read."""

import http.client
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dfdc_prep.run_files import Undecided
from training.app.jobs import Jobs, Limits
from training.app.result import ModelFacts
from training.app.server import Access, App
from training.app.serving import ConnectionLimits, create_server

MANY = 200
POST = (
    b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
)
#: What a slow client has sent, and what it goes on sending.
SLOW = {
    "nothing": (b"", b""),
    "empty lines": (b"", b"\r\n\r\n"),
    "headers": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"a"),
    "a body": (POST + b"Content-Length: 1000000\r\n\r\n", b"a"),
    "chunks without end": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "nothing after an answer": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b""),
}


@contextmanager
def serving(app=None, **limits):
    """The port of the app, without a model."""
    jobs = Jobs(Limits())
    facts = ModelFacts(Path("run"), (), "", Undecided())
    app = app or App(jobs, facts, Limits(), Access(("127.0.0.1",)))
    server = create_server(app, ("127.0.0.1", 0), 10_000_000, ConnectionLimits(**limits))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield int(server.effective_port)
    server.task_dispatcher.shutdown()
    sockets = list(server._map.values())
    server._map.clear()  # ends the loop
    server.pull_trigger()
    thread.join(5)
    for each in sockets:
        each.close()
    for job in jobs._jobs.values():
        job.upload.content.close()


def connect(port, first=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(first)
    return connection


def health_s(port):
    """Seconds until /health has answered."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/health")
    assert connection.getresponse().read() == b'{"ready": false, "samples": 0}'
    connection.close()
    return time.monotonic() - started


def closed_after_s(connection, dripped=b""):
    """Seconds until the server closes a connection on which bytes go on dripping; at most 10."""
    started = time.monotonic()
    connection.settimeout(0.05)
    while time.monotonic() < started + 10:
        try:
            connection.sendall(dripped)
            if not connection.recv(1000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - started


@pytest.mark.parametrize("kind", SLOW)
def test_the_app_answers_under_200_slow_connections(kind):
    first, dripped = SLOW[kind]
    with serving() as port, ExitStack() as stack:
        slow = [stack.enter_context(connect(port, first)) for _ in range(MANY)]
        for _ in range(3):
            assert health_s(port) < 1
            for connection in slow:
                try:
                    connection.sendall(dripped)
                except OSError:  # closed to make room
                    stack.enter_context(connect(port, first))
        assert health_s(port) < 1


@pytest.mark.parametrize("kind", SLOW)
def test_a_connection_that_does_not_get_on_is_closed(kind):
    with serving(grace_s=0.5) as port, connect(port, SLOW[kind][0]) as connection:
        assert closed_after_s(connection, SLOW[kind][1]) < 4
        assert health_s(port) < 1


def test_a_body_of_unknown_length_is_refused():
    with serving() as port, connect(port, SLOW["chunks without end"][0]) as connection:
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 411 Length Required")
    assert b"send the body with a Content-Length" in answer


def test_an_answer_that_nobody_reads_is_closed():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "50000000")])
        return [bytes(50_000_000)]

    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(app, grace_s=0.5, bytes_per_s=1e9) as port, connect(port, get) as connection:
        time.sleep(3)
        received, part = 0, b"x"
        while part:
            try:
                part = connection.recv(1_000_000)
            except ConnectionError:
                break
            received += len(part)
    assert received < 50_000_000


def test_a_large_upload_over_a_slow_line_arrives():
    """At a little more than the least speed, it takes six times the grace."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    body = head + bytes(300_000) + b"\r\n--x--\r\n"
    begin = POST + f"Content-Length: {len(body)}\r\n\r\n".encode()
    with serving(grace_s=0.5, bytes_per_s=80_000) as port, connect(port, begin) as connection:
        for at in range(0, len(body), 10_000):
            connection.sendall(body[at : at + 10_000])
            time.sleep(0.1)
        assert connection.recv(1000).startswith(b"HTTP/1.1 303 SEE OTHER")


def test_the_slowest_connection_makes_room():
    with serving(of_one_address=2) as port, connect(port, SLOW["a body"][0]) as upload:
        with connect(port) as idle:
            upload.sendall(bytes(500_000))
            time.sleep(0.2)
            assert health_s(port) < 1
            assert closed_after_s(idle) < 1
        upload.settimeout(0.2)
        with pytest.raises(TimeoutError):  # still there
            upload.recv(1)


def test_the_documented_time_of_the_largest_upload():
    assert ConnectionLimits().seconds(Limits().upload_bytes) / 60 == pytest.approx(33.6, abs=0.1)
