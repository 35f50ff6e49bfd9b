"""Starts the app and its server: Waitress, with limits on slow connections that Waitress lacks.

The server answers from threads at once while the main thread loads TensorFlow and the model, which
then analyzes the uploads one after another.

Waitress closes a connection only when nothing at all comes for `channel_timeout` seconds, so a byte
now and then keeps it open without end, and so does a peer that reads no answer. At
`connection_limit` it accepts nobody else. Here every connection has to get on, and where there are
too many, those that get on least make room.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import click
import waitress
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer
from waitress.utilities import Error

from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.parallel.engine import forkserver_context
from training.app.jobs import Jobs, Limits
from training.app.result import read_facts
from training.app.samples import Sample, find_samples
from training.app.server import FORM_BYTES, Access, App


@dataclass(frozen=True)
class ConnectionLimits:
    """What a connection may cost."""

    grace_s: float = 15  # for a request beside the time for its bytes, and for an idle connection
    bytes_per_s: float = 50_000  # least speed of sending a request and reading its answer
    total: int = 100  # connections at the same time
    of_one_address: int = 50  # the same, of one address; a proxy has one

    def seconds(self, size: int) -> float:
        """The longest time that a request of a size may take."""
        return self.grace_s + size / self.bytes_per_s


class _LengthRequired(Error):  # type: ignore[misc]
    code = 411
    reason = "Length Required"


class _Request(HTTPRequestParser):  # type: ignore[misc]
    """A request of known length: a body in chunks need never end, and no browser sends one."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.chunked:
            self.body_rcv = None
            self.error = _LengthRequired("send the body with a Content-Length")


class _Connection(HTTPChannel):  # type: ignore[misc]
    """A connection that is closed where it gets on too slowly, or makes room for another."""

    parser_class = _Request

    def __init__(self, *waitress_arguments: Any, limits: ConnectionLimits, map: Any) -> None:
        self._limits = limits
        self._restart()
        super().__init__(*waitress_arguments, map=map)
        self._make_room([each for each in map.values() if isinstance(each, _Connection)])

    @property
    def reserve_s(self) -> float:
        """Seconds until the connection is too slow if no more bytes pass."""
        return self._limits.seconds(self._passed) - (time.monotonic() - self._began)

    @property
    def _waits_for_peer(self) -> bool:
        """Whether the peer has to send or to read; not while a thread works on the answer."""
        return bool(self.total_outbufs_len) or not self.requests

    def readable(self) -> bool:
        # The server's loop asks at least once a second, before it waits for the sockets.
        if self.connected and self._waits_for_peer and self.reserve_s < 0:
            self.handle_close()
        return bool(self.connected and super().readable())

    def writable(self) -> bool:
        return bool(self.connected and super().writable())

    def received(self, data: bytes) -> bool:
        self._passed += len(data)
        return bool(super().received(data))

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent: int = super().send(data, do_close=do_close)
        self._passed += sent
        return sent

    def service(self) -> None:
        """Answer a request; its answer, and the next request, have a time of their own."""
        self._restart()
        super().service()
        self._restart()

    def _restart(self) -> None:
        self._began, self._passed = time.monotonic(), 0

    def _make_room(self, everyone: list["_Connection"]) -> None:
        """Close the connections that get on least until the numbers are within the limits."""
        own = [each for each in everyone if each.addr[0] == self.addr[0]]
        for group, most in ((own, self._limits.of_one_address), (everyone, self._limits.total)):
            others = (each for each in group if each.connected and each is not self)
            waiting = [each for each in others if each._waits_for_peer]
            surplus = sum(each.connected for each in group) - most
            for each in sorted(waiting, key=lambda other: other.reserve_s)[: max(0, surplus)]:
                each.handle_close()


def create_server(
    app: Callable[..., Any], address: tuple[str, int], max_body: int, limits: ConnectionLimits
) -> Any:
    """Listen on an address, OSError if it is in use; `run` of the server answers until closed."""
    server = waitress.create_server(
        app,
        host=address[0],
        port=address[1],
        threads=8,  # none of them runs the model
        connection_limit=10 * limits.total,  # never reached: `_make_room`
        max_request_body_size=max_body,
        max_request_header_size=32_000,
        asyncore_use_poll=True,  # select() knows no file numbers above 1,023
        ident=None,
    )
    sockets = server.map if hasattr(server, "effective_listen") else server._map
    for each in sockets.values():
        if isinstance(each, BaseWSGIServer):
            each.channel_class = partial(_Connection, limits=limits)
    return server


def _samples(run: Path, shards: Path | None) -> list[Sample]:
    """Faces of the set; where no shards were named, what is wrong with those found is only said."""
    try:
        return find_samples(run, shards)
    except DfdcPrepError as error:
        if shards:
            raise
        click.echo(f"no faces of the set to try: {error}", err=True)
        return []


def serve(
    run: Path,
    address: tuple[str, int],
    limits: Limits,
    access: Access,
    detector_model: Path | None = None,
    shards: Path | None = None,
) -> None:
    """Serve the app for a run at a host and port until interrupted.

    Args:
        detector_model: path of YuNet's weights.
        shards: those of the run, whose faces may be tried; None for those that are found.

    Raises:
        TrainingError: the folder does not contain a finished run, or `shards` are others.
        TableError, ShardError: `shards` are damaged.
        ModelError: the detector's weights are not available.
        OSError: the address is in use or not this machine's.
    """
    started, jobs = time.monotonic(), Jobs(limits)
    run, detector_model = run.absolute(), detector_model and detector_model.absolute()
    facts = read_facts(run, detector_model)
    app = App(jobs, facts if access.is_local else facts.without_folders(), limits, access)
    max_body = limits.upload_bytes + FORM_BYTES
    server = create_server(app, address, max_body, ConnectionLimits())
    Thread(target=server.run, daemon=True).start()
    # A name may stand for several addresses.
    listens = getattr(server, "effective_listen", None) or [(None, server.effective_port)]
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    click.echo(f"http://{host}:{listens[0][1]} answers; the model is loading")
    forkserver_context("training.inference.face_crops")
    try:
        if shards or access.is_local:
            app.samples = _samples(run, shards)
        from training.app.analysis import Analyzer
        from training.inference.face_crops import DecodingWorker
        from training.inference.scorer import Scorer

        scorer = Scorer(run)
        with DecodingWorker(scorer.detector(detector_model), limits.work_seconds) as worker:
            if worker.confinement != "on":
                click.echo(f"confinement of the decoder: {worker.confinement}")
            analyzer = Analyzer(scorer, worker, limits)
            analyzer.warm_up()
            click.echo(f"ready after {time.monotonic() - started:.1f} s; stop with Ctrl-C")
            jobs.run(analyzer)
    finally:
        server.close()
