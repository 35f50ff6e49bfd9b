"""The run folder: its files, and the checks before a training writes to it."""

import csv
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from dfdc_prep.run_files import RunConfig, SplitMetrics, parse
from manifests.errors import TrainingError
from manifests.files import atomic_file, parse_json, write_json
from manifests.folders import REPORT, RunFolder, check_unused
from manifests.locks import clear_leftovers, is_temporary

T = TypeVar("T")

#: Columns of history.csv.
HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate")

#: Sections of config.json that must be unchanged for a run to resume.
RESUME_SECTIONS = ("recipe", "options", "data")


@dataclass(frozen=True)
class Run:
    """The folder of one training, for example `runs/v1.3`.

    Attributes:
        publish: called when a checkpoint has been written, for a run in a bucket.
    """

    folder: Path
    publish: Callable[[], None] = lambda: None

    @property
    def config_file(self) -> Path:
        return self.folder / RunFolder.CONFIG

    @property
    def history_file(self) -> Path:
        return self.folder / RunFolder.HISTORY

    @property
    def model_file(self) -> Path:
        return self.folder / RunFolder.MODEL

    @property
    def metrics_file(self) -> Path:
        return self.folder / RunFolder.METRICS

    @property
    def checkpoints(self) -> Path:
        return self.folder / RunFolder.CHECKPOINTS

    @property
    def logs(self) -> Path:
        return self.folder / RunFolder.LOGS

    @property
    def mistakes(self) -> Path:
        return self.folder / RunFolder.MISTAKES

    @property
    def report_file(self) -> Path:
        """The page of `dfdc-prep report`."""
        return self.folder / REPORT

    @property
    def cross_file(self) -> Path:
        """The table of an evaluation on several data sets."""
        return self.folder / RunFolder.CROSS

    def config(self) -> RunConfig:
        """Read config.json.

        Raises:
            TrainingError: config.json is missing or invalid.
        """
        return _read_json(self.config_file, RunConfig)

    def metrics(self) -> SplitMetrics:
        """Read metrics.json.

        Raises:
            TrainingError: metrics.json is missing (the run has not been evaluated) or invalid.
        """
        return _read_json(self.metrics_file, SplitMetrics)

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

    def prepare(self, config: RunConfig, *, fresh: bool) -> None:
        """Create the folder with config.json, or resume the same run in it.

        Args:
            fresh: delete an existing run instead of resuming it.

        Raises:
            TrainingError: the folder contains a run with other options.
            OutputError: the folder contains foreign files.
        """
        if self.config_file.is_file() and not fresh:
            _check_same_options(self.config(), config, self.folder)
            clear_leftovers(self.folder)
            return
        if not self.config_file.is_file():
            check_unused(self.folder, self._may_precede_run, "a run")
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.config_file, asdict(config))

    def check_finished(self) -> None:
        """Check that there is a trained model with its settings and metrics.

        Raises:
            TrainingError: a file of these is missing, or invalid.
        """
        self.config()
        self.metrics()
        if not self.model_file.is_file():
            raise self.no_model("none")

    def no_model(self, found: str) -> TrainingError:
        """The error that what is found is no model."""
        return TrainingError(
            f"expected a {self.model_file.name} in {self.folder}, found {found}; finish the run "
            "with dfdc-prep fit"
        )

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

    def _may_precede_run(self, name: str) -> bool:
        """Whether an interrupted run may leave this file in a folder without config.json.

        A run killed at its start leaves a partial config.json. If the folder of a running
        training is removed, its TensorBoard callback creates the logs again.
        """
        if name == self.logs.name:
            return _contains_only_tensorboard_logs(self.logs)
        return is_temporary(name, self.config_file.name)

    def _results(self) -> tuple[Path, ...]:
        """What a new training makes invalid."""
        tables = (self.metrics_file, self.history_file, self.cross_file)
        return (self.model_file, *tables, self.report_file)

    def clear(self) -> None:
        """Delete the files of the run and nothing else.

        config.json stays until it is replaced, because it marks the folder as a run folder.

        Raises:
            OSError: a file cannot be deleted.
        """
        if self.folder.exists():
            clear_leftovers(self.folder)
        for folder in (self.checkpoints, self.logs, self.mistakes):
            if folder.exists():
                shutil.rmtree(folder)
        for path in self._results():
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


def _read_json(path: Path, kind: type[T]) -> T:
    try:
        return parse(kind, parse_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        reason = "none" if isinstance(error, OSError) else f"an invalid one ({error})"
        raise TrainingError(
            f"expected a {path.name} of dfdc-prep fit in {path.parent}, found {reason}; "
            "give the folder of a finished run, or train again with --fresh"
        ) from error


def _check_same_options(recorded: RunConfig, given: RunConfig, folder: Path) -> None:
    """Raise a `TrainingError` if a value that matters for resuming differs."""
    earlier_values, values = asdict(recorded), asdict(given)
    for section in RESUME_SECTIONS:
        for name, value in values[section].items():
            earlier = earlier_values[section][name]
            if earlier != value:
                raise TrainingError(
                    f"expected the run in {folder} to resume with {name} {earlier}, found "
                    f"{value}; give the same value, another --out, or --fresh to start over"
                )
