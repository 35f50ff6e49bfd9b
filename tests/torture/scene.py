"""The data that trials damage: real clips, a crop set, faces, shards and a small run."""

import csv
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.conftest import SHARED
from tests.crop_sets import make_faces
from tests.torture.command import run

MODEL = SHARED / "models" / "face_detection_yunet_2026may.onnx"
DETECTOR = ("--detector", "yunet", "--detector-model", str(MODEL))
CLIPS = SHARED / "data" / "dfdc" / "dfdc_train_part_1"
EDGE = SHARED / "data" / "edge"

#: `dfdc-prep fit` on a backbone that trains in seconds; Keras is imported, as it is
#: there, once interrupts are heard and limits looked at.
FIT = """
from dfdc_prep.commands.terminal import reporting_errors
from training.fit import main
with reporting_errors():
    import keras
    from tests.training.conftest import smallest
    keras.applications.EfficientNetB7 = smallest
    main()
"""
#: Options of a fit of three epochs, for that backbone.
SMALL = (
    "--weights",
    "none",
    "--backbone",
    "EfficientNetB7",
    "--epochs",
    "3",
    "--batch-size",
    "8",
    "--steps-per-epoch",
    "2",
)


@dataclass(frozen=True)
class Scene:
    """A folder of intact data; a trial copies what it damages into its own folder."""

    root: Path

    def place(self, name: str) -> Path:
        """An empty folder for one trial, with a file in it that must not be touched."""
        folder = self.root / "trials" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "dear.txt").write_text("not to be touched")
        return folder

    @cached_property
    def source(self) -> Path:
        """A DFDC part of two families, four clips."""
        names = ("004.mp4", "004_982.mp4", "519.mp4", "519_515.mp4")
        return part_of(self.root / "source" / "dfdc_train_part_1", names)

    @cached_property
    def crops(self) -> Path:
        """A crop set: images/ and crops.csv beside them."""
        folder = self.root / "set"
        faces = make_faces(folder, families=40)
        (faces / "crops").rename(folder / "images")
        (folder / "balanced.parquet").unlink()
        names = sorted(str(p.relative_to(folder / "images")) for p in folder.rglob("*.png"))
        with open(folder / "crops.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "video", "label", "original"])
            for name in names:
                video = name.split("/")[1]
                original = f"clip{video[4:7]}.mp4" if video.startswith("fake") else ""
                label = "FAKE" if original else "REAL"
                writer.writerow([name, f"{video}.mp4", label, original])
        return folder

    @cached_property
    def imported(self) -> Path:
        """The balanced faces folder of that crop set."""
        out = self.root / "imported"
        words = ["import", str(self.crops / "images"), str(self.crops / "crops.csv"), str(out)]
        for call in (words, ["balance", str(out)], ["split", str(out)]):
            done = run(["-m", "cli", *call], self.root)
            assert done.code == 0, done.err
        return out

    @cached_property
    def shards(self) -> Path:
        """The shards of that faces folder."""
        out = self.root / "shards"
        done = run(["-m", "cli", "shard", str(self.imported), str(out), "--shards", "2"], self.root)
        assert done.code == 0, done.err
        return out

    @cached_property
    def noted(self) -> Path:
        """The run.json and journal of extracting a part that consists of its metadata.json."""
        part = self.root / "noted_from" / CLIPS.name
        part.mkdir(parents=True)
        shutil.copyfile(CLIPS / "metadata.json", part / "metadata.json")
        out = self.root / "noted"
        done = run(["-m", "cli", "extract", str(part.parent), str(out), *DETECTOR], self.root)
        assert done.code in (0, 3), done.err
        return out

    @cached_property
    def trained(self) -> Path:
        """A small run on those shards."""
        out = self.root / "run"
        done = run(["-c", FIT, str(self.shards), *SMALL, "--out", str(out)], self.root)
        assert done.code == 0, done.err
        return out


def part_of(folder: Path, names: tuple[str, ...]) -> Path:
    """Make a part of some clips of a real part; return the folder above it."""
    folder.mkdir(parents=True)
    entries = json.loads((CLIPS / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps({name: entries[name] for name in names}))
    for name in names:
        shutil.copyfile(CLIPS / name, folder / name)
    return folder.parent
