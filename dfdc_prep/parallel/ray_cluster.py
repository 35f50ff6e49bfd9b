"""Connects to a Ray cluster that exists; this project starts none.

Ray runs what anybody sends who reaches its ports, unless the cluster asks for a token. So a
cluster is tried without one first, and refused if it answers: by this module as a program, in a
process of its own because Ray reads the token once per process.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, NamedTuple

from dfdc_prep.errors import WorkersError

#: Address of this machine's node, where the machine has several.
NODE_IP_VARIABLE = "DFDC_PREP_RAY_NODE_IP"
#: Seconds that the process without a token may wait for an answer.
_PROBE_SECONDS = 60.0
#: Its exit code if the cluster asks for a token; it is 0 if the cluster answers.
_ASKS_FOR_TOKEN = 3
#: Seconds that the head may take to accept a connection.
_HEAD_SECONDS = 5.0
#: How long a worker keeps its lease while calls are waiting. Ray's default of 500 ms is less than a
#: clip takes, so workers on other nodes would need a new lease for each clip and idle for 50 ms.
_LEASE_MILLISECONDS = 5000
_AUTO = "auto"


class Node(NamedTuple):
    """A node of the cluster that is alive."""

    id: str  # hexadecimal
    address: str  # IP
    cores: int  # CPUs that it offers


def connect(address: str | None, insecure: bool) -> Any:
    """Connect to the cluster of an `engine.Engine` and return the module `ray`.

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
    if address is None:
        address = _AUTO
    elif address != _AUTO and (problem := _refusal(address)):  # Ray would try for minutes
        raise WorkersError(
            f"expected the head of a Ray cluster at {address}, found that nothing answers there "
            f"({problem}); give its --address as host:port, or start it (see docs/scale.md)"
        )
    # It runs while this process imports Ray and joins the cluster.
    probe = None
    if not insecure:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
        probe = subprocess.Popen(
            [sys.executable, "-m", __name__, address],
            env={**environment, "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        import ray

        if ray.is_initialized():
            raise WorkersError(
                "expected a process that is not connected to Ray, found one that is; call "
                "ray.shutdown() first, or run dfdc-prep extract as a command"
            )
        try:
            _join(ray, address)
            if probe:
                _check_token(probe)
        except BaseException:
            ray.shutdown()
            raise
    finally:
        if probe:
            probe.kill()
            probe.communicate()
    return ray


def nodes(ray: Any) -> list[Node]:
    """The nodes that are alive and offer CPUs."""
    return [
        Node(node["NodeID"], node["NodeManagerAddress"], int(node["Resources"]["CPU"]))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]


def head_is_reachable(ray: Any) -> bool:
    """Whether the head accepts connections; Ray ends this process when it has not for a minute."""
    return _refusal(ray.get_runtime_context().gcs_address) is None


def _refusal(address: str) -> Exception | None:
    """Why nothing answers at host:port, None if something does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _HEAD_SECONDS).close()
    except (OSError, ValueError) as error:
        return error
    return None


def _join(ray: Any, address: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            _node_ip_address=os.environ.get(NODE_IP_VARIABLE),
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        found = " ".join(str(error).split())[:400].rstrip(".")
        raise WorkersError(
            f"expected a Ray cluster that this machine is a node of, found none ({found}); start "
            "its nodes with ray start, or give the --address of its head (see docs/scale.md)"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own in its place


def _check_token(probe: "subprocess.Popen[str]") -> None:
    """Raise WorkersError unless the cluster refused the process without a token."""
    found = "no answer"
    with suppress(subprocess.TimeoutExpired):
        _, said = probe.communicate(timeout=_PROBE_SECONDS)
        if probe.returncode == _ASKS_FOR_TOKEN:
            return
        if probe.returncode == 0:
            raise WorkersError(
                "expected a Ray cluster that asks for a token, found one that anyone who can "
                "reach it can use; start its nodes with RAY_AUTH_MODE=token (see docs/scale.md), "
                "or give --insecure-cluster"
            )
        found = (said.strip().splitlines() or [f"exit code {probe.returncode}"])[-1][:400]
    raise WorkersError(
        f"expected to find out whether the Ray cluster asks for a token, found: {found}; run the "
        "same command again, or give --insecure-cluster if you know that nobody else can reach it"
    )


def _probe(address: str) -> None:
    """Read something from the cluster at an address; exit with a code if it asks for a token."""
    import ray
    from ray._private import services

    found = services.canonicalize_bootstrap_address_or_die(address)
    try:
        client = ray._raylet.GcsClient(address=found)  # type: ignore[attr-defined]
        client.internal_kv_get(b"cluster_metadata", b"cluster")
    except ray.exceptions.AuthenticationError:
        sys.exit(_ASKS_FOR_TOKEN)


if __name__ == "__main__":
    _probe(sys.argv[1])
