"""The folder of a run that is trained or evaluated, on a disk or fetched from a bucket."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from dfdc_prep.run_files import HISTORY_COLUMNS, RunConfig, RunFiles, write_rows
from dfdc_prep.storage.urls import Location
from dfdc_prep.storage.workspace import Mirror, Push, Workspace, workspace
from manifests.errors import TrainingError
from manifests.files import clear_leftovers, is_temporary, write_json
from manifests.folders import check_unused

#: Sections of config.json that must be unchanged for a run to resume.
RESUME_SECTIONS = ("recipe", "options", "data")


class Run(RunFiles):
    """A run folder on this machine; its space pushes it where it lies after each checkpoint."""

    def __init__(self, folder: Path, space: Workspace | None = None) -> None:
        super().__init__(folder)
        self.space = space or Workspace(folder, folder)

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv atomically."""
        numbered = [{**row, "epoch": int(row["epoch"])} for row in rows]
        write_rows(self.history_file, HISTORY_COLUMNS, numbered)

    def prepare(self, config: RunConfig, *, fresh: bool) -> None:
        """Create the folder with config.json, or resume the same run in it unless it is `fresh`.

        Raises:
            TrainingError: the folder contains a run with other options.
            OutputError: the folder contains foreign files.
        """
        if not self.config_file.is_file():
            check_unused(self.folder, self._may_precede_run, "a run")
        elif not fresh:
            earlier_values, values = asdict(self.config()), asdict(config)
            for section in RESUME_SECTIONS:
                for name, value in values[section].items():
                    earlier = earlier_values[section][name]
                    if earlier != value:
                        raise TrainingError(
                            f"expected the run in {self.folder} to resume with {name} {earlier}, "
                            f"found {value}; give the same value, another --out, or --fresh to "
                            "start over"
                        )
            clear_leftovers(self.folder)
            return
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.config_file, asdict(config))

    def check_finished(self) -> None:
        """Raise TrainingError if the model, its settings or its metrics are missing or invalid."""
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
        """Raise TrainingError if config.json was removed during training."""
        if not self.config_file.is_file():
            raise TrainingError(
                f"expected the run folder {self.folder} to exist, found it removed; run the same "
                "command again to start over"
            )

    def clear(self) -> None:
        """Delete what a new training makes invalid, and nothing else.

        config.json stays until it is replaced, because it marks the folder as a run folder.
        """
        if self.folder.exists():
            clear_leftovers(self.folder)
        for folder in (self.checkpoints, self.logs, self.mistakes):
            if folder.exists():
                shutil.rmtree(folder)
        tables = (self.metrics_file, self.history_file, self.cross_file)
        for path in (self.model_file, *tables, self.report_file):
            path.unlink(missing_ok=True)

    def _may_precede_run(self, name: str) -> bool:
        """Whether an interrupted run may leave this file in a folder without config.json."""
        if name == self.logs.name:  # which TensorBoard's callback creates again if it is removed
            files = (path for path in self.logs.rglob("*") if not path.is_dir())
            return all(path.name.startswith("events.out.tfevents.") for path in files)
        return is_temporary(name, self.config_file.name)


@contextmanager
def open_run(
    location: Location, *, names: tuple[str, ...] | None = None, writes: bool = False
) -> Iterator[Run]:
    """Yield a run on this machine.

    Args:
        names: the files to fetch of a run in a bucket; None for all.
        writes: be the only one to write there, and publish at the end, also after an error.

    Raises:
        OutputError: another training writes there.
        StorageError: the bucket cannot be reached or written.
    """
    pull = Mirror.pull_all if names is None else names
    push = Push(alone=True, after_errors=True) if writes else None
    with workspace(location, pull, push) as space:
        yield Run(space.folder, space)
