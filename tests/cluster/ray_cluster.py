"""A Ray cluster of several nodes on this machine, started and ended by a test.

It runs in a network and PID namespace of its own, where nothing outside reaches its ports and
which takes every process with it when it ends. Where namespaces are not permitted it runs on
loopback addresses, and only its token protects it.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
#: Adds the addresses of the nodes to the loopback device, then waits to be killed.
_INIT = (
    "ip link set lo up; for n in 1 2 3; do ip addr add 10.9.0.$n/32 dev lo; done; exec sleep 9999"
)
#: Runs a command in a mount namespace where a folder is empty.
_HIDE = ("unshare", "-m", "bash", "-c", 'mount -t tmpfs none "$0"; exec "$@"')
_PORT = 6379
#: Seconds that a node may take to start, and a command to end.
_START, PATIENCE = 60.0, 240.0


@cache
def namespaces_permitted() -> bool:
    """Whether this process may make network and PID namespaces."""
    tools = all(shutil.which(name) for name in ("unshare", "nsenter", "ip"))
    words = ["unshare", "-n", "--mount-proc", "-p", "-f", "true"]
    return tools and subprocess.run(words, capture_output=True).returncode == 0


class RayCluster:
    """A cluster whose nodes have different working folders.

    Args:
        folder: an empty folder with a short path, since Ray makes sockets below it.
        secure: whether it asks for a token.
    """

    def __init__(self, folder: Path, secure: bool = True) -> None:
        self.folder = folder
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}
        self._enter: list[str] = []
        self._init: subprocess.Popen[bytes] | None = None
        self._ip = "127.0.0.{}"
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        self._environment |= {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token" if secure else "disabled",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }
        if secure:
            self._environment["RAY_AUTH_TOKEN"] = secrets.token_hex(16)
        if namespaces_permitted():
            self._isolate()

    @property
    def address(self) -> str:
        """Of the head, host:port."""
        return f"{self._ip.format(1)}:{_PORT}"

    def start_node(
        self, number: int, environment: Mapping[str, str] = {}, without: Path | None = None
    ) -> None:
        """Start node 1, the head, or another one, and wait until it is ready.

        Args:
            without: a folder that this node sees as empty; needs namespaces.
        """
        place = self.folder / f"node-{number}"
        place.mkdir(exist_ok=True)
        ip = self._ip.format(number)
        if number == 1:
            words = ["--head", "--port", str(_PORT), "--include-dashboard=false"]
            words += ["--temp-dir", str(self.folder / "ray")]
        else:
            words = ["--address", self.address]
        words += ["--node-ip-address", ip, "--num-cpus", "1", "--object-store-memory", "80000000"]
        start = ["-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        hide = [*_HIDE, str(without)] if without else []
        log = self.folder / f"node-{number}.log"
        log.unlink(missing_ok=True)
        until = time.monotonic() + _START
        while not log.is_file() or b"Ray runtime started" not in log.read_bytes():
            # Nodes that start at the same time may choose the same ports; one of them then ends.
            if not log.is_file() or self.nodes[number].poll() is not None:
                with log.open("wb") as output:
                    self.nodes[number] = subprocess.Popen(
                        [*self._enter, *hide, sys.executable, *start, *words],
                        cwd=place,
                        env=self._environment | environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)

    def processes(self, number: int, name: str) -> list[psutil.Process]:
        """The processes of a node whose command line begins with a name: raylet, gcs_server."""
        found = []
        with suppress(psutil.Error):
            for each in psutil.Process(self.nodes[number].pid).children(recursive=True):
                with suppress(psutil.Error, IndexError):
                    if Path(each.cmdline()[0]).name.startswith(name):
                        found.append(each)
        return found

    def end_node(self, number: int) -> None:
        """Kill a node with all its processes."""
        node = self.nodes.pop(number)
        with suppress(psutil.Error):
            for each in [*psutil.Process(node.pid).children(recursive=True)]:
                with suppress(psutil.Error):
                    each.kill()
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    @contextmanager
    def started(
        self, words: Sequence[str], environment: Mapping[str, str] = {}
    ) -> Iterator["subprocess.Popen[str]"]:
        """Start Python with these words on the machine of node 1, in a third folder."""
        place = self.folder / "driver"
        place.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [*self._enter, sys.executable, *words],
            cwd=place,
            env=self._environment | {"DFDC_PREP_RAY_NODE_IP": self._ip.format(1)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            self.kill(process)
            process.communicate()

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """Kill a command, as by SIGKILL on its own machine."""
        with suppress(psutil.Error):
            for each in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    each.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def run(
        self, *words: str, environment: Mapping[str, str] = {}, patience: float = PATIENCE
    ) -> "subprocess.CompletedProcess[str]":
        """Run Python with these words to its end."""
        with self.started(words, environment) as process:
            out, err = process.communicate(timeout=patience)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def extract(
        self, *words: str, environment: Mapping[str, str] = {}
    ) -> "subprocess.CompletedProcess[str]":
        """Run `dfdc-prep extract` with the cluster as its engine."""
        return self.run(*self.extract_words(*words), environment=environment)

    def extract_words(self, *words: str) -> tuple[str, ...]:
        """The words of `extract` with the cluster as its engine."""
        return ("-m", "cli", "extract", *words, "--engine", "ray", "--address", self.address)

    def close(self) -> None:
        """End every process of the cluster."""
        for number in sorted(self.nodes, reverse=True):
            self.end_node(number)
        if self._init:
            for child in psutil.Process(self._init.pid).children():
                child.kill()
            self._init.wait()

    def _isolate(self) -> None:
        words = ["unshare", "-n", "--mount-proc", "-p", "-f", "--kill-child", "bash", "-c", _INIT]
        self._init = subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL)
        until = time.monotonic() + _START
        inside: list[psutil.Process] = []
        while not inside or inside[0].name() != "sleep":
            assert time.monotonic() < until
            time.sleep(0.02)
            inside = psutil.Process(self._init.pid).children()
        target = ["--target", str(inside[0].pid)]
        self._enter = ["nsenter", *target, "--net", "--pid", "--mount", "--"]
        self._ip = "10.9.0.{}"


@contextmanager
def ray_cluster(folder: Path, nodes: int = 2, secure: bool = True) -> Iterator[RayCluster]:
    """Start a cluster; end it with everything it started."""
    cluster = RayCluster(folder, secure)
    try:
        for number in range(1, nodes + 1):
            cluster.start_node(number)
        yield cluster
    finally:
        cluster.close()
