"""Faces folders of real clips, cut once."""

import shutil
from pathlib import Path

import pytest

import dfdc_prep


@pytest.fixture(scope="session")
def clips(real_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three families of DFDC, copied so that their folder may be changed."""
    folder = tmp_path_factory.mktemp("clips") / "dfdc"
    shutil.copytree(real_clips / "dfdc_train_part_1", folder / "dfdc_train_part_1")
    for path in (folder, folder / "dfdc_train_part_1", *folder.glob("*/*")):
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def cut(clips: Path, yunet_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their crops, balanced and split, and the shards of them."""
    root = tmp_path_factory.mktemp("cut")
    dfdc_prep.extract(clips, root / "faces", frames=2, detector_model=yunet_model, workers=2)
    dfdc_prep.balance(root / "faces")
    dfdc_prep.split(root / "faces", split="34/33/33")
    dfdc_prep.shard(root / "faces", root / "shards", split="34/33/33")
    return root


@pytest.fixture
def faces(cut: Path, tmp_path: Path) -> Path:
    """A copy of the crops."""
    return Path(shutil.copytree(cut / "faces", tmp_path / "faces"))
