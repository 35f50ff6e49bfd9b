"""Connects to a Ray cluster that exists; this project starts none.

Ray runs what anybody sends who reaches its ports, unless the cluster asks for a token. So a
cluster is tried without one first, and refused if it answers.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from dfdc_prep.errors import WorkersError
from dfdc_prep.parallel import ray_probe
from dfdc_prep.parallel.engine import Engine

#: Address of this machine's node, where the machine has several.
NODE_IP_VARIABLE = "DFDC_PREP_RAY_NODE_IP"
#: Seconds until a cluster that does not answer counts as none.
_PATIENCE = 60.0
#: Seconds that the head may take to accept a connection.
_HEAD_SECONDS = 5.0
#: How long a worker keeps its lease while calls wait for one. Ray's half a second is shorter than a
#: clip, so that a worker on another node would be leased anew for each: 50 ms without work.
_LEASE_MILLISECONDS = 5000
_AUTO = "auto"


@dataclass(frozen=True)
class Node:
    """A node of the cluster that is alive.

    Attributes:
        id: hexadecimal.
        address: its IP address.
        cores: number of CPUs that it offers.
    """

    id: str
    address: str
    cores: int


def connect(engine: Engine) -> Any:
    """Connect to the cluster and return the module `ray`.

    Raises:
        WorkersError: Ray is not installed, there is no such cluster, its versions differ, or it
            asks for no token.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_lease_timeout_milliseconds", str(_LEASE_MILLISECONDS))
    # Ray prints what happens on the nodes to stdout; the run reports it itself.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    if find_spec("ray") is None:
        raise WorkersError(
            "expected the package ray for --engine ray, found it not installed; run "
            "pip install 'dfdc-prep[ray]'"
        )
    # It runs while this process imports Ray and joins the cluster.
    probe = None if engine.insecure else _start_probe(engine)
    import ray

    try:
        _join(ray, engine)
        if probe and not _asks_for_token(probe):
            raise WorkersError(
                "expected a Ray cluster that asks for a token, found one that everybody can use "
                "who reaches it; start its nodes with RAY_AUTH_MODE=token (see docs/scale.md), "
                "or pass --insecure-cluster"
            )
    except BaseException:
        ray.shutdown()
        raise
    finally:
        if probe:
            probe.kill()
            probe.wait()
    return ray


def nodes(ray: Any) -> list[Node]:
    """The nodes that are alive and offer CPUs."""
    return [
        Node(each["NodeID"], each["NodeManagerAddress"], int(each["Resources"]["CPU"]))
        for each in ray.nodes()
        if each["Alive"] and each["Resources"].get("CPU", 0) >= 1
    ]


def head_answers(ray: Any) -> bool:
    """Whether the head accepts connections; Ray ends this process when it has not for a minute."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _HEAD_SECONDS):
            return True
    except OSError:
        return False


def _join(ray: Any, engine: Engine) -> None:
    before = signal.getsignal(signal.SIGTERM)
    address = engine.address or _AUTO
    try:
        ray.init(
            address=address,
            _node_ip_address=os.environ.get(NODE_IP_VARIABLE),
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        found = " ".join(str(error).split())[:400]
        raise WorkersError(
            f"expected a Ray cluster at {address}, with this machine as one of its nodes, found: "
            f"{found}; see docs/scale.md"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own in its place


def _start_probe(engine: Engine) -> "subprocess.Popen[bytes]":
    """Ask the cluster for its health, in a process that has no token."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    environment |= {"RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(
        [sys.executable, "-m", ray_probe.__name__, engine.address or _AUTO],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _asks_for_token(probe: "subprocess.Popen[bytes]") -> bool:
    try:
        return probe.wait(_PATIENCE) == ray_probe.ASKS_FOR_TOKEN
    except subprocess.TimeoutExpired:
        return False
