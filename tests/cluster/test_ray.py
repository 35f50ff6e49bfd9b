"""Extraction on a Ray cluster of two nodes: the same bytes, and faults of nodes and clips."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dfdc_prep
from dfdc_prep.errors import WorkersError
from tests.cluster import calls
from tests.cluster.bucket_server import BUCKET
from tests.cluster.ray_cluster import PATIENCE, RayCluster, ray_cluster
from tests.extraction.test_run import digest
from tests.storage.server import S3Server

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

#: A `sitecustomize` module that hides this package on a node.
HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "dfdc_prep":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(short_folder: Path) -> Iterator[RayCluster]:
    with ray_cluster(short_folder) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch, yunet_model: Path) -> None:
    monkeypatch.setenv("DFDC_PREP_YUNET", str(yunet_model))


def test_a_cluster_leaves_the_bytes_of_this_machine(
    cluster: RayCluster, real_clips: Path, yunet_model: Path, tmp_path: Path
) -> None:
    words = (str(real_clips), str(tmp_path / "ray"), "--detector-model", str(yunet_model))
    done = cluster.extract(*words)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    dfdc_prep.extract(real_clips, tmp_path / "local", detector_model=yunet_model)
    assert digest(tmp_path / "ray") == digest(tmp_path / "local")
    assert sorted(os.listdir(tmp_path / "ray")) == sorted(os.listdir(tmp_path / "local"))


def test_buckets_and_a_cluster_leave_the_bytes_of_this_machine(
    real_clips: Path, yunet_model: Path, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    serve = ("-m", "tests.cluster.bucket_server", str(real_clips), str(found))
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        ray_cluster(Path(folder), nodes=0) as cluster,
        cluster.started(serve) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        environment = S3Server(server.stdout.readline().strip()).environment
        for number in (1, 2):
            cluster.start_node(number, environment)
        words = (f"s3://{BUCKET}/dfdc", f"s3://{BUCKET}/faces")
        done = cluster.extract(*words, environment=environment)
        assert done.returncode == 0, done.stderr
        server.communicate("done\n", timeout=PATIENCE)
    dfdc_prep.extract(real_clips, tmp_path / "local", detector_model=yunet_model)
    assert digest(found) == digest(tmp_path / "local")


def test_a_killed_driver_and_a_killed_worker_cost_nothing(
    cluster: RayCluster, real_clips: Path, yunet_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ray"
    words = (str(real_clips), str(out), "--detector-model", str(yunet_model), "--frames", "3")
    with cluster.started(cluster.extract_words(*words)) as driver:
        _wait_for(out / "journal.jsonl")
        workers = cluster.processes(2, "ray::perform")
        assert workers
        for worker in workers:
            worker.kill()
        time.sleep(0.5)
        cluster.kill(driver)
    assert not (out / "manifest.parquet").exists()
    done = cluster.extract(*words)
    assert done.returncode == 0, done.stderr
    dfdc_prep.extract(real_clips, tmp_path / "local", frames=3, detector_model=yunet_model)
    assert digest(out) == digest(tmp_path / "local")


def test_calls_that_die_hang_or_fail_are_their_own_fault_only(
    cluster: RayCluster, tmp_path: Path
) -> None:
    done = cluster.run(calls.__file__, cluster.address, str(tmp_path / "mark"))
    ends = json.loads(done.stdout or done.stderr)
    assert ends.pop("seconds") < 60
    assert ends == {
        "dies": "ProcessExpired",
        "hangs": "CancelledError",
        "too much memory": "MemoryError",
        "raises": "ClipError",
        "input/output error": "read",
        "works": 42,
    }


def test_a_node_without_the_package_is_named(
    cluster: RayCluster, short_folder: Path, real_clips: Path, yunet_model: Path, tmp_path: Path
) -> None:
    words = (str(real_clips), str(tmp_path / "ray"), "--detector-model", str(yunet_model))
    hidden = short_folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDE)
    cluster.start_node(3, {"PYTHONPATH": str(hidden)})
    try:
        done = cluster.extract(*words)
    finally:
        cluster.end_node(3)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: expected every node of the Ray cluster to be fit")
    assert "dfdc-prep cannot be imported there" in done.stderr
    assert not (tmp_path / "ray" / "manifest.parquet").exists()


def test_late_nodes_without_the_package_are_excluded(
    real_clips: Path, yunet_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(HIDE)
    hidden, out = {"PYTHONPATH": str(tmp_path / "hidden")}, tmp_path / "ray"
    words = (str(real_clips), str(out), "--detector-model", str(yunet_model), "--frames", "240")
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        ray_cluster(Path(folder), nodes=1) as cluster,
        cluster.started(cluster.extract_words(*words)) as driver,
    ):
        _wait_for(out / "journal.jsonl")
        # At the same time, so that both join before the run ends.
        with ThreadPoolExecutor() as starts:
            list(starts.map(lambda number: cluster.start_node(number, hidden), (2, 3)))
        _, said = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, said
    # A node is told when a call reaches it; the second may join when none is left for it.
    assert said.count("is excluded: dfdc-prep cannot be imported there") in (1, 2)
    assert (out / "manifest.parquet").exists()


def test_an_address_where_nothing_answers_is_refused_at_once(
    real_clips: Path, tmp_path: Path
) -> None:
    with pytest.raises(WorkersError, match=r"a Ray cluster at 127\.0\.0\.1:9, found that nothing"):
        dfdc_prep.extract(real_clips, tmp_path / "ray", engine="ray", address="127.0.0.1:9")
    assert not (tmp_path / "ray").exists()


def test_a_cluster_without_a_token_is_refused(
    real_clips: Path, yunet_model: Path, tmp_path: Path
) -> None:
    words = (str(real_clips), str(tmp_path / "ray"), "--detector-model", str(yunet_model))
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        ray_cluster(Path(folder), nodes=1, secure=False) as cluster,
    ):
        done = cluster.extract(*words, "--limit", "1")
        assert done.returncode == 1
        assert "expected a Ray cluster that asks for a token" in done.stderr
        assert cluster.extract(*words, "--limit", "1", "--insecure-cluster").returncode == 0


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists() or not path.stat().st_size:
        assert time.monotonic() < until
        time.sleep(0.02)
