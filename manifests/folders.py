"""The folders that the commands write: the names of their files, and when one may be replaced.

A folder is replaced or emptied only if every file in it has a name that a command of this project
writes into such a folder. Any other file is foreign.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from manifests.errors import OutputError
from manifests.files import clear_leftovers, folder_lock, is_temporary, lock, parse_json
from manifests.wording import nearest

#: Whether a command writes a file or folder of this name.
IsOwn = Callable[[str], bool]
#: The page of `dfdc-prep report`, in a folder of any kind, and those of the tables in it.
REPORT = "report.html"
REPORTS = (REPORT, *(f"{name}.{REPORT}" for name in ("manifest", "balanced", "split", "metadata")))
#: What `dfdc-prep probe` found, in a shards folder.
PROBE = "probe.json"


class FacesFolder:
    """Crops and the tables about them: extract, import, gather, identify, balance, split."""

    CROPS = "crops"
    MANIFEST = "manifest.parquet"
    CLIPS = "clips.parquet"
    KAGGLE_CSV = "metadata.csv"
    BALANCED = "balanced.parquet"
    SPLIT = "split.parquet"
    JOURNAL = "journal.jsonl"
    RUN = "run.json"
    LOCK = ".lock"
    IDENTITIES = "identities.parquet"
    #: Pairs that a person decided.
    SETTLED = "identity_settled.csv"
    IDENTITIES_PAGE = "identities.html"
    ENCODINGS = "identity_encodings.parquet"
    ENCODINGS_JOURNAL = "identity_journal.jsonl"
    PAIRS = "identity_pairs.csv"
    #: What shows or encodes a face beside the crops.
    BIOMETRIC = (IDENTITIES_PAGE, ENCODINGS, ENCODINGS_JOURNAL, PAIRS)
    #: What is derived from the manifest.
    DERIVED = (BALANCED, SPLIT, IDENTITIES, SETTLED, *BIOMETRIC)
    #: What the commands write; only these are removed.
    OUTPUTS = (CROPS, JOURNAL, MANIFEST, KAGGLE_CSV, CLIPS, *DERIVED, *REPORTS, RUN)

    _SLICE_JOURNAL = re.compile(r"journal-\d+-of-\d+\.jsonl")
    _SLICE_LOCK = re.compile(r"\.lock-(join|\d+-of-\d+)")
    PREFLIGHT = re.compile(r"\.preflight-[0-9a-f]{32}")

    @classmethod
    def owns(cls, name: str) -> bool:
        """Whether a command writes a file or folder of this name."""
        return name in cls.OUTPUTS or cls.is_slice_journal(name) or cls.is_leftover(name)

    @classmethod
    def is_slice_journal(cls, name: str) -> bool:
        """Whether a file of this name is the journal of a slice."""
        return cls._SLICE_JOURNAL.fullmatch(name) is not None

    @classmethod
    def is_leftover(cls, name: str) -> bool:
        """Whether this is the name of a lock file, or of what a killed run may leave."""
        if name == cls.LOCK or cls._SLICE_LOCK.fullmatch(name) or cls.PREFLIGHT.fullmatch(name):
            return True
        return any(is_temporary(name, output) for output in cls.OUTPUTS)

    @classmethod
    def check_replaceable(cls, folder: Path) -> None:
        """Raise OutputError if replacing the folder would delete a foreign file."""
        check_replaceable(folder, cls.owns, "a faces folder's files")

    @staticmethod
    def crops_in(table: Path) -> list[str]:
        """Return the names of the crops and masks in a table; none if it is no table of crops."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(table.absolute()) as file:
                names = {"path", "mask"}.intersection(file.schema_arrow.names)
                columns = file.read(columns=sorted(names)).columns
        except (pa.ArrowException, OSError, ValueError):
            return []  # whoever reads the table says what is wrong with it
        return sorted({name for column in columns for name in column.to_pylist() if name})

    @classmethod
    @contextmanager
    def locked(cls, folder: Path, shared: bool = False) -> Iterator[None]:
        """Create the folder if necessary and hold its locks, so that only one run writes it.

        There are two locks: one beside the folder, as for every output folder, and one inside it,
        for other machines or containers that mount the folder below another parent. Slices share
        them, and exclude other runs.

        Raises:
            OutputError: the folder cannot be created or written, or another run holds a lock.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # If the parent is not writable, no other command can replace the folder, so the lock
            # beside it is not needed.
            replaceable = os.access(os.path.dirname(os.path.realpath(folder)), os.W_OK)
            beside = folder_lock(folder, shared) if replaceable else nullcontext()
            with beside, lock(folder / cls.LOCK, folder, shared):
                yield
        except OSError as error:
            place = error.filename or _unwritable_place(folder) or folder
            raise OutputError(
                f"expected to write {place}, found {error.strerror or error}; free disk space "
                "or change its permissions, or name another folder (TMPDIR for temporary files), "
                "and run the same command again"
            ) from error

    @classmethod
    def read_run(cls, folder: Path) -> dict[str, Any] | None:
        """Return the content of run.json, None if it does not exist.

        Raises:
            OutputError: run.json is not valid JSON or contains no options.
        """
        path = folder / cls.RUN
        if not path.exists():
            return None
        try:
            run = parse_json(path.read_bytes())
        except (ValueError, OSError) as error:
            raise OutputError(f"expected JSON in {path}, found {error}; use --overwrite") from error
        if not isinstance(run, dict) or not isinstance(run.get("options"), dict):
            raise OutputError(
                f"expected the options of a run in {path}, found none; use --overwrite"
            )
        return run

    @classmethod
    def clear(cls, folder: Path) -> None:
        """Remove the files of an earlier run and nothing else."""
        cls.remove_leftovers(folder)
        journals = [path for path in folder.iterdir() if cls.is_slice_journal(path.name)]
        for path in [*journals, *(folder / name for name in cls.OUTPUTS)]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @classmethod
    def remove_leftovers(cls, folder: Path) -> None:
        """Remove what killed runs left in the folder, and nothing that merely looks like it."""
        clear_leftovers(folder)
        for path in folder.iterdir():
            is_preflight = cls.PREFLIGHT.fullmatch(path.name) and path.is_file()
            if is_preflight and not path.stat().st_size:
                path.unlink()

    @staticmethod
    def check_is_one(folder: Path) -> None:
        """Raise OutputError if a table would be written into a folder of another kind."""
        for name, kind in OTHER_KINDS.items():
            if (folder / name).is_file():
                raise OutputError(
                    f"expected a faces folder at {folder}, found {kind}; give the folder that "
                    "dfdc-prep extract or import wrote"
                )


class ShardsFolder:
    """TFRecord shards in the layout of TensorFlow Datasets, with their manifest."""

    MANIFEST = FacesFolder.MANIFEST
    METADATA = "metadata.json"
    SUMS = "SHA256SUMS"
    INFO = "dataset_info.json"
    FEATURES = "features.json"
    LABEL_NAMES = "label.labels.txt"
    CROISSANT = "croissant.json"
    INDEX = (MANIFEST, METADATA, INFO, FEATURES, LABEL_NAMES, CROISSANT, SUMS)
    #: Name of the data set in file names; without hyphens, because TFDS splits at hyphens.
    DATASET = "dfdc_faces"

    _SHARD = re.compile(r".+-.+\.tfrecord-\d{5}-of-\d{5}")

    @classmethod
    def shard(cls, split: str, index: int, count: int, dataset: str = DATASET) -> str:
        """File name of one shard; `index` counts from 0."""
        return f"{dataset}-{split}.tfrecord-{index:05d}-of-{count:05d}"

    @classmethod
    def is_shard(cls, name: str) -> bool:
        """Whether a file name is that of a shard of any data set."""
        return cls._SHARD.fullmatch(name) is not None

    @classmethod
    def owns(cls, name: str) -> bool:
        """Whether `shard`, `report` or `probe` writes a file of this name."""
        return name in cls.INDEX or cls.is_shard(name) or is_report(name)

    @classmethod
    def check_replaceable(cls, folder: Path) -> None:
        """Raise OutputError if replacing the folder would delete a foreign file."""
        check_replaceable(folder, cls.owns, "shards")


class ExportFolder:
    """The crops in the format of another tool; SHA256SUMS lists all of its files."""

    MANIFEST = FacesFolder.MANIFEST
    METADATA = ShardsFolder.METADATA
    SUMS = ShardsFolder.SUMS

    @classmethod
    def check_replaceable(cls, folder: Path, listed: Collection[str]) -> None:
        """Raise OutputError if replacing the folder would delete a file that is not listed."""
        paths = (path for path in folder.rglob("*") if not path.is_dir())
        names = {path.relative_to(folder).as_posix() for path in paths}
        _refuse(folder, sorted(names.difference(listed, [cls.SUMS])), "an export's files")


class RunFolder:
    """The folder of a training, and of its evaluations."""

    CONFIG = "config.json"
    HISTORY = "history.csv"
    MODEL = "model.keras"
    METRICS = "metrics.json"
    EVALUATIONS = "evaluations"
    BESIDE = "beside"
    CROSS = "cross.csv"
    PREDICTIONS = "predictions.parquet"
    CHECKPOINTS = "checkpoints"
    LOGS = "logs"
    MISTAKES = "mistakes"
    #: What scoring needs.
    MODEL_FILES = (CONFIG, METRICS, HISTORY, MODEL)


#: Files that tell a folder of another kind than a faces folder; it may have a manifest.parquet too.
OTHER_KINDS = {
    ShardsFolder.INFO: "a shards folder",
    ExportFolder.SUMS: "an export",
    RunFolder.CONFIG: "a run folder",
}


def _unwritable_place(folder: Path) -> str | None:
    """The first of the places that a run writes where writing fails; None if it works in all.

    An error of a semaphore or of a full disk names no file.
    """
    import tempfile  # imported late: workers import this module, and no one needs it there

    shared_memory = Path("/dev/shm")
    places = [folder, Path(tempfile.gettempdir())]
    for place in [*places, shared_memory] if shared_memory.exists() else places:
        try:
            with tempfile.TemporaryFile(dir=place) as probe:
                probe.write(bytes(4096))
        except OSError:
            return str(place)
    return None


def path_meant(path: Path) -> str:
    """The end of a message about a missing path: "did you mean faces?"; empty if none is like it.

    Compared are the names beside the first part of the path that is missing, unless it is the name
    of a file that a command writes: that command was not run.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    folder = missing[-1].parent if missing else path
    if not missing or missing[-1].name in FacesFolder.OUTPUTS:
        return ""
    if not os.access(folder, os.R_OK | os.X_OK):
        return ""
    found = nearest(missing[-1].name, sorted(os.listdir(folder)))
    return f"did you mean {' or '.join(str(missing[-1].with_name(n)) for n in found)}?" * bool(
        found
    )


def is_report(name: str) -> bool:
    """Whether a file is a page of `report`, or of `probe`, or what a killed run left of it."""
    return any(name == page or is_temporary(name, page) for page in (*REPORTS, PROBE))


def check_unused(folder: Path, is_own: IsOwn, content: str = "") -> None:
    """Raise OutputError if a folder that should be new, or contain `content`, has foreign files."""
    if foreign := _foreign_files(folder, is_own):
        allowed = f" or to contain {content}" if content else ""
        raise OutputError(
            f"expected {folder} to be empty{allowed}, found {foreign[0]}; choose another folder"
        )


def check_replaceable(folder: Path, is_own: IsOwn, content: str) -> None:
    """Raise OutputError if replacing a folder of some content would delete a foreign file."""
    _refuse(folder, _foreign_files(folder, is_own), content)


def _foreign_files(folder: Path, is_own: IsOwn) -> list[str]:
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise OutputError(f"expected a folder at {folder}, found a file; choose another folder")
    return sorted(path.name for path in folder.iterdir() if not is_own(path.name))


def _refuse(folder: Path, foreign: list[str], content: str) -> None:
    if foreign:
        raise OutputError(
            f"expected only {content} in {folder}, which is replaced as a whole, found "
            f"{foreign[0]}; move it or choose another folder"
        )
