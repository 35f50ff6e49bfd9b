"""The files of a folder, and their scores as a CSV that an interrupted run is continued from."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfdc_prep.catalog.files import clips_below, file_sizes
from dfdc_prep.catalog.layouts.folders import describe_unknown
from dfdc_prep.errors import OptionsDiffer, OutputError, SourceError
from dfdc_prep.storage.urls import Location
from dfdc_prep.video.source_file import PICTURES, clip_size
from manifests.files import Journal, atomic_file, lock, read_lines
from manifests.wording import counted, listed

if TYPE_CHECKING:
    from training.inference.scorer import FilePrediction

COLUMNS = ("file", "status", "p_fake", "faces", "missing", "error")
#: Kaggle's label of a clip without a score: it says nothing.
_NO_SCORE = 0.5


def files_of(location: Location) -> dict[Location, Path]:
    """The clips below a folder, or its pictures if it has no clip, sorted; a file alone.

    The values are the folders that they are in, from the folder's own name down; empty for a file.

    Raises:
        SourceError: the folder has neither.
    """
    if not isinstance(location, Path) or not location.is_dir():
        return {location: Path()}
    clips = [(names, clip) for names, clips in clips_below(location) for clip in clips]
    found = [location.joinpath(*names, clip) for names, clip in clips]
    if not found:
        pictures = (n for n in file_sizes(location, depth=8) if n.lower().endswith(PICTURES))
        found = [location / name for name in pictures]
    if not found:
        raise SourceError(describe_unknown(location))
    return {file: file.parent.relative_to(location.parent) for file in sorted(found)}


def left_out(location: Location, files: Iterable[Location]) -> list[str]:
    """A line on the pictures and animations of a folder that are none of its files."""
    if not isinstance(location, Path) or not location.is_dir():
        return []
    names = (n for n in file_sizes(location, depth=8) if n.lower().endswith((*PICTURES, ".gif")))
    read = set(files)
    others = [n for n in sorted(names) if not {location / n, (location / n).parent} & read]
    number = counted(len(others), "picture")
    return [f"{location}: {number} left out, give their names: {listed(others)}"] if others else []


class ScoreFile:
    """A CSV with one row for each file, in their order.

    Args:
        path: the CSV, written when all files are done. Until then, and while files failed, a
            journal lies beside it.
        files: all files that the CSV is to have.
        settings: what the scores depend on, as JSON.
        submission: where to write the CSV that Kaggle's challenge takes too, with the columns
            filename and label: P(FAKE), or 0.5 without a score.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Location],
        settings: Mapping[str, Any],
        submission: Path | None = None,
    ) -> None:
        self._path, self._settings, self._submission = path, dict(settings), submission
        self._files = list(dict.fromkeys(files))
        self._keys = {file: _key(file) for file in self._files}  # a clip may grow while it is read
        self._rows: dict[str, dict[str, Any]] = {}

    @contextmanager
    def continued(self) -> Iterator["ScoreFile"]:
        """Go on with an interrupted run; write the CSV if nothing interrupts this one.

        Raises:
            OptionsDiffer: the interrupted run had other settings.
            OutputError: another run is writing the CSV, a file of the user's is in the way, or
                files of one name are to be told apart by it.
        """
        self._check_outputs()
        path = self._path.with_name(f".{self._path.name}.journal")
        with lock(path.with_name(f"{path.name}.lock"), self._path):
            settings, *lines = [entry for _, entry in read_lines(path)] or [self._settings]
            if settings != self._settings:
                raise OptionsDiffer(
                    f"expected to continue {self._path} with the same model and options, found "
                    f"others in {path}; remove that file to begin again"
                )
            whole = [row for row in lines if isinstance(row, dict) and {*COLUMNS, "key"} <= {*row}]
            self._rows = {row["key"]: row for row in whole if row["error"] is None}
            with Journal(path) as journal:
                if not path.stat().st_size:
                    journal.append(self._settings)
                self._append = journal.append
                yield self
            self._write(self._path, COLUMNS, [[row[n] for n in COLUMNS] for row in self.rows])
            if self._submission:
                scores = [
                    [Path(row["file"]).name, _NO_SCORE if row["p_fake"] is None else row["p_fake"]]
                    for row in self.rows
                ]
                self._write(self._submission, ("filename", "label"), scores)
            if not any(row["error"] for row in self.rows):
                path.unlink()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows, in the order of the files."""
        return [self._rows[key] for key in self._keys.values() if key in self._rows]

    def has(self, file: Location) -> bool:
        """Whether an earlier run has scored a file, or found no face in it."""
        return self._keys[file] in self._rows

    def add(self, file: Location, prediction: "FilePrediction") -> None:
        """Add the row of a file."""
        row = {name: getattr(prediction, name) for name in COLUMNS}
        row |= {"faces": len(prediction.faces), "key": self._keys[file]}
        self._rows[row["key"]] = row
        self._append(row)

    @property
    def complete(self) -> bool:
        """Whether no file failed or lacks a part; files without a face count as scored."""
        return not any(row["error"] or row["missing"] for row in self.rows)

    def _check_outputs(self) -> None:
        ours = False
        if self._path.exists():
            with self._path.open(encoding="utf-8", errors="replace") as file:
                ours = file.readline().rstrip("\n") == ",".join(COLUMNS)
            if not ours:
                raise OutputError(
                    f"expected no file at {self._path} but scores of an earlier run, found "
                    "another; give another name"
                )
        if not self._submission:
            return
        # It looks like a table of labels, and is the earlier run's only if the CSV is there too.
        if self._submission.exists() and not ours:
            raise OutputError(
                f"expected no file at {self._submission}, found one that no earlier run with "
                f"{self._path} wrote; give another name"
            )
        names = Counter(Path(str(file)).name for file in self._files)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise OutputError(
                f"expected files of different names for {self._submission}, which has no folders, "
                f"found {listed(twice)} more than once; give one of their folders"
            )

    def text(self) -> str:
        """How many files have a score, and which failed."""
        statuses = Counter(row["status"] for row in self.rows)
        counts = ", ".join(f"{count:,} {status}" for status, count in statuses.items())
        failed = [row["file"] for row in self.rows if row["error"]]
        again = f"; the same command tries again: {listed(failed)}" if failed else ""
        unscored = sum(row["p_fake"] is None for row in self.rows) if self._submission else 0
        half = f"; {unscored:,} without a score: {_NO_SCORE} in {self._submission}"
        return (
            f"{counted(len(self.rows), 'file')} in {self._path}: {counts}{again}"
            f"{half if unscored else ''}"
        )

    @staticmethod
    def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        with (
            atomic_file(path) as partial,
            partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _key(file: Location) -> str:
    """What tells a file from others, and from one of another size that replaced it."""
    try:
        return f"{file} {clip_size(file) if isinstance(file, Path) else ''}"
    except SourceError:
        return str(file)
