"""The run folder: what lies in it, and who may write there."""

import csv
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.io.atomic import atomic_file
from manifests.io.json_files import parse_json, write_json
from training.errors import TrainingError

HISTORY = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate")

#: What a rerun must have in common with the run it goes on with, within config.json.
PINNED = ("recipe", "options", "data")

#: What a killed run can leave of a file it was writing.
_HALF_WRITTEN = re.compile(
    r"\.(config|history|model|metrics|report|predictions|curves|confusion|samples|README)\..+"
)


@dataclass(frozen=True)
class Run:
    """One training's folder, `runs/v1.3`."""

    folder: Path

    @property
    def config_file(self) -> Path:
        return self.folder / "config.json"

    @property
    def history_file(self) -> Path:
        return self.folder / "history.csv"

    @property
    def model_file(self) -> Path:
        return self.folder / "model.keras"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def config(self) -> dict[str, Any]:
        """config.json.

        Raises:
            TrainingError: the folder is no run, or its config.json is broken.
        """
        return self._json(self.config_file)

    def metrics(self) -> dict[str, Any]:
        """metrics.json.

        Raises:
            TrainingError: the run has not been evaluated.
        """
        return self._json(self.metrics_file)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Where config.json, metrics.json and history.csv are taken apart.

        Raises:
            TrainingError: one of them lacks something, or says it otherwise than fit writes it.
        """
        try:
            yield
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise TrainingError(
                f"expected what python -m training.fit notes in {self.folder}, found something "
                f"else in config.json, metrics.json or history.csv ({type(error).__name__}: "
                f"{error}); train again with --fresh"
            ) from error

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            found: dict[str, Any] = parse_json(path.read_bytes())
            if not isinstance(found, dict):
                raise ValueError(f"no object but a {type(found).__name__}")
        except (OSError, ValueError) as error:
            reason = "none" if isinstance(error, OSError) else f"a broken one ({error})"
            raise TrainingError(
                f"expected a {path.name} in {self.folder}, found {reason}; give the folder of a "
                "run that python -m training.fit has finished"
            ) from error
        return found

    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv, one an epoch; none before the first.

        Raises:
            TrainingError: it is not as `write_history` writes it.
        """
        try:
            with open(self.history_file, newline="", encoding="utf-8") as file:
                return _rows(csv.DictReader(file))
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            raise TrainingError(
                f"expected the columns {', '.join(HISTORY)} and numbers in {self.history_file}, "
                f"found something else ({error}); train again with --fresh"
            ) from error

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv whole."""
        with (
            atomic_file(self.history_file) as half,
            open(half, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, HISTORY, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)

    def begin(self, config: Mapping[str, Any], *, fresh: bool) -> None:
        """Make the folder, or go on in it where it holds the same run.

        Raises:
            TrainingError: the folder holds a run of other options, or something else.
        """
        if self.config_file.is_file() and not fresh:
            with self.understood():
                _same(self.config(), config, self.folder)
            self._sweep()
            return
        if self.folder.exists() and not self.config_file.is_file() and self._strangers():
            raise TrainingError(
                f"expected {self.folder} to be free or to hold a run, found other files; "
                "choose another --out"
            )
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.config_file, config)

    def check_there(self) -> None:
        """Look whether the run folder is still the one that was begun.

        Raises:
            TrainingError: somebody removed it meanwhile.
        """
        if not self.config_file.is_file():
            raise TrainingError(
                f"expected the run in {self.folder} to stay there, found it removed; run the same "
                "command again to start over"
            )

    def _strangers(self) -> list[Path]:
        """What neither a run that was killed as it began left nor one whose folder was removed.

        The one leaves a half-written config.json. TensorBoard of the other makes its logs anew.
        """
        begun = f".{self.config_file.name}."
        return [
            path
            for path in self.folder.iterdir()
            if not path.name.startswith(begun) and not (path == self.logs and _only_logs(path))
        ]

    def _sweep(self) -> None:
        """Remove what a run that was killed had half written."""
        for path in self.folder.iterdir():
            if _HALF_WRITTEN.fullmatch(path.name):
                path.unlink()

    def clear(self) -> None:
        """Remove what a run of this project leaves in its folder, and nothing else.

        config.json stays until another takes its place: it says that the folder is a run's.

        Raises:
            OSError: something of it cannot be removed.
        """
        if self.folder.exists():
            self._sweep()
        for folder in (self.checkpoints, self.logs):
            if folder.exists():
                shutil.rmtree(folder)
        for path in (self.model_file, self.metrics_file, self.history_file):
            path.unlink(missing_ok=True)


def _rows(reader: "csv.DictReader[str]") -> list[dict[str, float]]:
    if tuple(reader.fieldnames or ()) != HISTORY:
        raise ValueError(f"the columns {reader.fieldnames}")
    rows = [{name: float(row[name]) for name in HISTORY} for row in reader]
    if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("epochs that do not count from 1")
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        raise ValueError("a figure that is no finite number")
    return rows


def _only_logs(folder: Path) -> bool:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return all(path.name.startswith("events.out.tfevents.") for path in files)


def _same(begun: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for group in PINNED:
        for name, value in now[group].items():
            before = begun.get(group, {}).get(name)
            if before != json.loads(json.dumps(value)):
                raise TrainingError(
                    f"expected the run in {folder} to go on with {name} {before}, found "
                    f"{value}; give the same, another --out, or --fresh to start over"
                )
