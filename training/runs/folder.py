"""The run folder: its files, and the checks before a training writes to it."""

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

#: Columns of history.csv.
HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate")

#: Sections of config.json that must be unchanged for a run to resume.
RESUME_SECTIONS = ("recipe", "options", "data")

#: Temporary files of interrupted writes.
_PARTIAL_FILE = re.compile(
    r"\.(config|history|model|metrics|report|predictions|curves|confusion|samples|README)\..+"
)


@dataclass(frozen=True)
class Run:
    """The folder of one training, for example `runs/v1.3`."""

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

    @property
    def mistakes(self) -> Path:
        return self.folder / "mistakes"

    @property
    def report_file(self) -> Path:
        """The page of `dfdc-prep report`."""
        return self.folder / "report.html"

    def config(self) -> dict[str, Any]:
        """Read config.json.

        Raises:
            TrainingError: config.json is missing or invalid.
        """
        return self._read_json(self.config_file)

    def metrics(self) -> dict[str, Any]:
        """Read metrics.json.

        Raises:
            TrainingError: metrics.json is missing (the run has not been evaluated) or invalid.
        """
        return self._read_json(self.metrics_file)

    @contextmanager
    def report_invalid_files(self) -> Iterator[None]:
        """Turn errors of code that reads values from the run's files into a `TrainingError`.

        Raises:
            TrainingError: config.json, metrics.json or history.csv lacks a value or has one of
                another type than `training.fit` writes.
        """
        try:
            yield
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise TrainingError(
                f"expected config.json, metrics.json and history.csv of python -m training.fit in "
                f"{self.folder}, found other contents ({type(error).__name__}: {error}); train "
                "again with --fresh"
            ) from error

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            contents: dict[str, Any] = parse_json(path.read_bytes())
            if not isinstance(contents, dict):
                raise ValueError(f"a {type(contents).__name__} instead of an object")
        except (OSError, ValueError) as error:
            reason = "none" if isinstance(error, OSError) else f"an invalid one ({error})"
            raise TrainingError(
                f"expected a {path.name} in {self.folder}, found {reason}; give the folder of a "
                "finished run of python -m training.fit"
            ) from error
        return contents

    def history(self) -> list[dict[str, float]]:
        """Read history.csv: one row per epoch, empty if the file does not exist.

        Raises:
            TrainingError: history.csv is invalid.
        """
        try:
            with open(self.history_file, newline="", encoding="utf-8") as file:
                return _parse_history(csv.DictReader(file))
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            columns = ", ".join(HISTORY_COLUMNS)
            raise TrainingError(
                f"expected the columns {columns} and numbers in {self.history_file}, "
                f"found invalid contents ({error}); train again with --fresh"
            ) from error

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv atomically."""
        with (
            atomic_file(self.history_file) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, HISTORY_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)

    def prepare(self, config: Mapping[str, Any], *, fresh: bool) -> None:
        """Create the folder with config.json, or resume the same run in it.

        Args:
            config: the contents of config.json.
            fresh: delete an existing run instead of resuming it.

        Raises:
            TrainingError: the folder contains a run with other options, or other files.
        """
        if self.config_file.is_file() and not fresh:
            with self.report_invalid_files():
                _check_same_options(self.config(), config, self.folder)
            self._remove_partial_files()
            return
        if self.folder.exists() and not self.config_file.is_file() and self._foreign_files():
            raise TrainingError(
                f"expected {self.folder} to be empty or to contain a run, found other files; "
                "choose another --out"
            )
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.config_file, config)

    def check_exists(self) -> None:
        """Check that the run folder still exists.

        Raises:
            TrainingError: config.json was removed during training.
        """
        if not self.config_file.is_file():
            raise TrainingError(
                f"expected the run folder {self.folder} to exist, found it removed; run the same "
                "command again to start over"
            )

    def _foreign_files(self) -> list[Path]:
        """Files in a folder without config.json that no interrupted run leaves.

        A run killed at its start leaves a partial config.json. If the folder of a running
        training is removed, its TensorBoard callback creates the logs again.
        """
        partial_config = f".{self.config_file.name}."
        return [
            path
            for path in self.folder.iterdir()
            if not path.name.startswith(partial_config)
            and not (path == self.logs and _contains_only_tensorboard_logs(path))
        ]

    def _remove_partial_files(self) -> None:
        """Delete temporary files of interrupted writes."""
        for path in self.folder.iterdir():
            if _PARTIAL_FILE.fullmatch(path.name):
                path.unlink()

    def clear(self) -> None:
        """Delete the files of the run and nothing else.

        config.json stays until it is replaced, because it marks the folder as a run folder.

        Raises:
            OSError: a file cannot be deleted.
        """
        if self.folder.exists():
            self._remove_partial_files()
        for folder in (self.checkpoints, self.logs, self.mistakes):
            if folder.exists():
                shutil.rmtree(folder)
        for path in (self.model_file, self.metrics_file, self.history_file, self.report_file):
            path.unlink(missing_ok=True)


def _parse_history(reader: "csv.DictReader[str]") -> list[dict[str, float]]:
    if tuple(reader.fieldnames or ()) != HISTORY_COLUMNS:
        raise ValueError(f"columns {reader.fieldnames}")
    rows = [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in reader]
    if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("epochs not numbered 1, 2, 3 ...")
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        raise ValueError("a value that is not finite")
    return rows


def _contains_only_tensorboard_logs(folder: Path) -> bool:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return all(path.name.startswith("events.out.tfevents.") for path in files)


def _check_same_options(
    recorded: Mapping[str, Any], given: Mapping[str, Any], folder: Path
) -> None:
    """Raise a `TrainingError` if a value that matters for resuming differs."""
    for section in RESUME_SECTIONS:
        for name, value in given[section].items():
            earlier = recorded.get(section, {}).get(name)
            if earlier != json.loads(json.dumps(value)):
                raise TrainingError(
                    f"expected the run in {folder} to resume with {name} {earlier}, found "
                    f"{value}; give the same value, another --out, or --fresh to start over"
                )
