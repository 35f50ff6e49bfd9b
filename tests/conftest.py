"""What several tests share: the folder of real data beside the checkout, if it is there."""

import os
import signal
from pathlib import Path

import pytest

pytest_plugins = ["tests.storage.fixtures"]

SHARED = Path(__file__).resolve().parents[2] / "shared"

# A shell's background job ignores interrupts, and so would every command the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


#: Left out with --fast: what needs TensorFlow, a server, a browser, a cluster or a sample data set.
NOT_FAST = {
    Path(__file__).parent / name
    for name in (
        *("api", "browser", "cluster", "command_line", "sample", "storage", "training"),
        *("extraction/test_forgery.py", "extraction/test_layouts.py"),
        "extraction/test_given_masks.py",
    )
}

#: The files that take more than half a minute, the longest first.
LONGEST = (
    "test_torture",
    "test_devices",
    "test_fit",
    "test_run",
    "test_ray",
    "test_app",
    "test_external_models",
    "test_notebooks",
    "test_detectors",
    "test_extract",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --fast, for the inner loop."""
    parser.addoption("--fast", action="store_true", help="a minute's worth of tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --fast, do not even import the slow folders: some import TensorFlow."""
    return True if config.getoption("--fast") and collection_path in NOT_FAST else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process ends with one of them alone.

    With --fast, leave out single tests that are marked as slow.
    """
    if config.getoption("--fast"):
        items[:] = [item for item in items if item.get_closest_marker("slow") is None]
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else 99)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips, tables and models beside the checkout."""
    if SHARED.is_dir():
        return SHARED
    message = f"real data at {SHARED}"
    if os.environ.get("CI"):
        pytest.fail(f"CI never goes without the {message}")
    pytest.skip(f"needs the {message}")


@pytest.fixture(scope="session")
def real_clips(shared: Path) -> Path:
    """Two DFDC parts, 14 clips."""
    return shared / "data" / "dfdc"


@pytest.fixture(scope="session")
def yunet_model(shared: Path) -> Path:
    """YuNet's weights."""
    return shared / "models" / "face_detection_yunet_2026may.onnx"


@pytest.fixture(scope="session")
def real_csv(shared: Path) -> Path:
    """The table of the set the paper trained on, 95,634 rows."""
    return shared / "data" / "metadata" / "deepfake_faces_metadata.csv"
