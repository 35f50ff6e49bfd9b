"""A faces folder of known people, imported from photographs."""

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dfdc_prep.writing.importing import import_crops

PEOPLE = ("John_Salley", "John_Savage", "John_Shimkus")


@pytest.fixture(scope="session")
def imported(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs each of three people as REAL clips, and a fake of one of them."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "images").mkdir()
    rows = []
    for person in PEOPLE:
        for path in sorted((shared / "data" / "identities" / person).glob("*.jpg"))[:4]:
            name = f"{person}_{path.stem}.png"
            with Image.open(path) as photograph:
                photograph.resize((224, 224)).save(folder / "images" / name)
            rows.append([name, name.replace(".png", ".mp4"), "REAL", ""])
    shutil.copyfile(folder / "images" / rows[0][0], folder / "images" / "swapped.png")
    rows.append(["swapped.png", "swapped.mp4", "FAKE", rows[0][1]])
    with open(folder / "crops.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "video", "label", "original"], *rows])
    import_crops(folder / "images", folder / "crops.csv", folder / "faces")
    return folder / "faces"


@pytest.fixture
def faces(imported: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(imported, tmp_path / "faces"))
