"""What several tests share: the folder of real data beside the checkout, if it is there."""

import os
import signal
from pathlib import Path

import pytest

pytest_plugins = ["tests.storage.fixtures"]

SHARED = Path(__file__).resolve().parents[2] / "shared"

# A shell's background job ignores interrupts, and so would every command the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
