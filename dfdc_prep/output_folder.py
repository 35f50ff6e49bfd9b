"""The output folder of a run: run.json, the locks, and removing an earlier run's files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dfdc_prep import __version__
from dfdc_prep.errors import OptionsDiffer, OutputError
from manifests.files import parse_json, write_json
from manifests.folders import FacesFolder, check_unused
from manifests.locks import clear_leftovers, folder_lock, lock

_RECORDED_PACKAGES = (
    "av",
    "dlib-bin",
    "dlib",
    "face_recognition",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
)


def package_versions() -> dict[str, str]:
    """Return the versions, by name, of this project and of the packages that affect the output."""
    found = {"dfdc-prep": __version__}
    for name in _RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except ImportError:  # PackageNotFoundError: only one of dlib and dlib-bin is installed
            continue
    return found


@contextmanager
def locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """Create the folder if necessary and hold its locks, so that only one run writes it.

    There are two locks: one beside the folder, as for every output folder, and one inside it,
    for other machines or containers that mount the folder below another parent.

    Args:
        shared: slices hold the locks together, and exclude other runs.

    Raises:
        OutputError: the folder cannot be created or written, or another run holds a lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # If the parent is not writable, no other command can replace the folder, so the lock
        # beside it is not needed.
        replaceable = os.access(os.path.dirname(os.path.realpath(folder)), os.W_OK)
        beside = folder_lock(folder, shared) if replaceable else nullcontext()
        with beside, lock(folder / FacesFolder.LOCK, folder, shared):
            yield
    except OSError as error:
        place = error.filename or _unwritable_place(folder) or folder
        raise OutputError(
            f"expected to write {place}, found {error.strerror or error}; free disk space or "
            "change its permissions, or name another folder (TMPDIR for temporary files), and run "
            "the same command again"
        ) from error


def _unwritable_place(folder: Path) -> str | None:
    """The first of the places that a run writes where writing fails; None if it works in all.

    An error of a semaphore or of a full disk names no file.
    """
    shared_memory = Path("/dev/shm")
    places = [folder, Path(tempfile.gettempdir())]
    for place in [*places, shared_memory] if shared_memory.exists() else places:
        try:
            with tempfile.TemporaryFile(dir=place) as probe:
                probe.write(bytes(4096))
        except OSError:
            return str(place)
    return None


def start_run(folder: Path, run: dict[str, Any], overwrite: bool) -> None:
    """Write run.json, or check an existing one against the options of this run.

    Args:
        folder: the output folder; must exist.
        run: the content of run.json; its `options` must equal those of an existing run.json.
        overwrite: remove the files of an earlier run first.

    Raises:
        OptionsDiffer: the earlier run used another option.
        OutputError: there is no run.json and the folder is not empty, or run.json is invalid.
    """
    is_new = not (folder / FacesFolder.RUN).exists()
    if is_new:
        check_unused(
            folder, FacesFolder.owns if overwrite else FacesFolder.is_leftover, "an earlier run"
        )
    _remove_temporary(folder)
    if overwrite:
        clear(folder)
    earlier = read_run(folder)
    if earlier is None:
        write_json(folder / FacesFolder.RUN, run)
        return
    for name, value in run["options"].items():
        found = earlier["options"].get(name)
        if found != value:
            raise OptionsDiffer(
                f"expected {name} {value} in {folder}, found {name} {found} of an earlier run; "
                f"pass the same option, choose another folder, or use --overwrite"
            )
    _add_confinement(folder, earlier, run)


def join_run(folder: Path, run: dict[str, Any]) -> None:
    """Write run.json for the first slice of a run; check it against the options of the others.

    The slices must also agree in the limit, and in the versions of the packages, which may
    change the crops. The caller holds the lock for joining.

    Raises:
        OptionsDiffer: the other slices used another option or version.
        OutputError: as for `start_run`.
    """
    earlier = read_run(folder)
    if earlier is None:
        check_unused(folder, FacesFolder.is_leftover, "an earlier run")
        write_json(folder / FacesFolder.RUN, run)
        return
    ours, theirs = _compared(run), _compared(earlier)
    for name in sorted(ours.keys() | theirs):
        if ours.get(name) != theirs.get(name):
            raise OptionsDiffer(
                f"expected {_shown(name, theirs)} as in the other slices in {folder}, found "
                f"{_shown(name, ours)}; use the same in every slice, or choose another folder"
            )
    _add_confinement(folder, earlier, run)


def _add_confinement(folder: Path, earlier: dict[str, Any], run: dict[str, Any]) -> None:
    """Record how the workers of this part of a run are confined, if others were otherwise."""
    known = earlier.get("confinement")
    known = [each for each in known if isinstance(each, str)] if isinstance(known, list) else []
    if new := set(run.get("confinement", ())) - set(known):
        write_json(folder / FacesFolder.RUN, {**earlier, "confinement": sorted({*known, *new})})


def _shown(name: str, values: dict[str, Any]) -> str:
    return f"no {name}" if values.get(name) is None else f"{name} {values[name]}"


def _compared(run: dict[str, Any]) -> dict[str, Any]:
    """What all slices of a run have in common, by name."""
    return {**run["options"], **run.get("versions", {}), "limit": run.get("limit")}


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return the content of run.json, None if it does not exist.

    Raises:
        OutputError: run.json is not valid JSON or contains no options.
    """
    path = folder / FacesFolder.RUN
    if not path.exists():
        return None
    try:
        run = parse_json(path.read_bytes())
    except (ValueError, OSError) as error:
        raise OutputError(f"expected JSON in {path}, found {error}; use --overwrite") from error
    if not isinstance(run, dict) or not isinstance(run.get("options"), dict):
        raise OutputError(f"expected the options of a run in {path}, found none; use --overwrite")
    return run


def clear(folder: Path) -> None:
    """Remove the files of an earlier run and nothing else."""
    _remove_temporary(folder)
    journals = [path for path in folder.iterdir() if FacesFolder.is_slice_journal(path.name)]
    for path in [*journals, *(folder / name for name in FacesFolder.OUTPUTS)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _remove_temporary(folder: Path) -> None:
    """Remove what killed runs left in the folder, and nothing that merely looks like it."""
    clear_leftovers(folder)
    for path in folder.iterdir():
        if (
            FacesFolder.PREFLIGHT.fullmatch(path.name)
            and path.is_file()
            and not path.stat().st_size
        ):
            path.unlink()
