"""The run folder: what lies in it, and how a file gets there whole or not at all."""

import csv
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.documents import parse_json
from manifests.lock import Held, lock
from training.errors import TrainingError

HISTORY = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate")

#: What a rerun must have in common with the run it goes on with, within config.json.
PINNED = ("recipe", "options", "data")

#: What a killed run can leave of a file it was writing.
_HALF_WRITTEN = re.compile(
    r"\.(config|history|model|metrics|report|predictions|curves|confusion|samples|README)[-.].+"
)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` when the block ends without error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all; keys stay in the order given."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


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
                rows = csv.DictReader(file)
                if tuple(rows.fieldnames or ()) != HISTORY:
                    raise ValueError(f"the columns {rows.fieldnames}")
                return [{name: float(row[name]) for name in HISTORY} for row in rows]
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
            whole(self.history_file) as beside,
            open(beside, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, HISTORY, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other training out of the folder, by a lock beside it.

        Raises:
            TrainingError: another one is in it.
        """
        target = Path(os.path.realpath(self.folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with lock(target.with_name(f".{target.name}.lock")):
                yield
        except Held as holder:
            raise TrainingError(
                f"expected {self.folder} to be free, found {holder} training in it; wait for it "
                "to end, or choose another --out"
            ) from None

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

    def _strangers(self) -> list[str]:
        """What is no half-written config.json of a run that was killed as it began."""
        beside = f".{self.config_file.stem}-"
        return [path.name for path in self.folder.iterdir() if not path.name.startswith(beside)]

    def _sweep(self) -> None:
        """Remove what a run that was killed had half written."""
        for path in self.folder.iterdir():
            if _HALF_WRITTEN.fullmatch(path.name):
                path.unlink()

    def clear(self) -> None:
        """Remove what a run of this project leaves in its folder, and nothing else.

        config.json stays until another takes its place: it says that the folder is a run's.
        """
        if self.folder.exists():
            self._sweep()
        for folder in (self.checkpoints, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for path in (self.model_file, self.metrics_file, self.history_file):
            path.unlink(missing_ok=True)


def _same(begun: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for group in PINNED:
        for name, value in now[group].items():
            before = begun.get(group, {}).get(name)
            if before != json.loads(json.dumps(value)):
                raise TrainingError(
                    f"expected the run in {folder} to go on with {name} {before}, found "
                    f"{value}; give the same, another --out, or --fresh to start over"
                )
