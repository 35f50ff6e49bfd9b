"""Runs an extraction: processes all families of a catalog and writes the tables."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dfdc_prep.catalog.clips import Catalog, Clip, Family, SourceOptions, count_families
from dfdc_prep.catalog.reader import read_bucket_catalog, read_catalog
from dfdc_prep.crops import placement
from dfdc_prep.detectors.registry import (
    AUTO,
    LANDMARK_DETECTORS,
    DetectorChoice,
    choose_detector,
    make_detector,
)
from dfdc_prep.errors import ModelError, OutputError
from dfdc_prep.extraction.clip import ClipResult, CropOptions, Given
from dfdc_prep.extraction.crops_out import CROPS, crop_files
from dfdc_prep.extraction.journal import (
    JournalEntry,
    family_key,
    finished_families,
    write_tables,
)
from dfdc_prep.extraction.output import (
    JOURNAL,
    Output,
    open_output,
    read_earlier_run,
    scratch_folder,
)
from dfdc_prep.extraction.plan import (
    Plan,
    Row,
    Work,
    about_disk,
    about_source,
    about_work,
    extrapolate,
    sample,
)
from dfdc_prep.extraction.schedule import Scheduler
from dfdc_prep.extraction.slices import Slice, describe_missing
from dfdc_prep.extraction.summary import RunSummary
from dfdc_prep.extraction.worker import (
    Transfer,
    package_versions,
    worker_setup,
)
from dfdc_prep.parallel.confinement import why_unconfined
from dfdc_prep.parallel.engine import LOCAL, Engine, connected, running_workers
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.progress import Progress, aligned, tell
from dfdc_prep.storage.urls import Location, Url, as_location
from manifests.folders import FacesFolder
from manifests.labels import FAILURES, TIMEOUT
from manifests.schemas import ClipRow, make_row
from manifests.wording import counted

#: The command of run.json where the faces were given.
REBUILD = "rebuild"
#: The tables, in the order in which they appear.
_TABLES = (FacesFolder.CLIPS, FacesFolder.KAGGLE_CSV, FacesFolder.MANIFEST)


@dataclass(frozen=True)
class RunOptions:
    """Options beside those that determine the bytes of a crop."""

    workers: int | None = None  # number of processes; None for one per core
    timeout: float = 120.0  # CPU time of a clip, seconds; a worker that hangs for as long ends too
    limit: int | None = None  # stop after about this many clips; families are never divided
    overwrite: bool = False  # remove the files of an earlier run first
    retry_failed: bool = False  # process families with a failed clip again
    preset: str = "paper"  # the one that the options come from; recorded only
    reading: SourceOptions = field(default_factory=SourceOptions)  # how the source is read
    own_slice: Slice | None = None  # process only its families, and write no tables
    engine: Engine = field(default_factory=Engine)  # where the worker processes run


@dataclass(frozen=True)
class Prepared:
    """A run before its output folder is opened."""

    source: Location
    out: Location
    catalog: Catalog
    options: CropOptions
    run: RunOptions
    metadata: dict[str, Any]  # run.json
    choice: DetectorChoice | None = None  # None if the faces are given
    kept: bool = False  # the detector is that of an earlier run
    given: Callable[[Clip], Given] | None = None  # what is known of a clip when its turn comes
    began: float = field(default_factory=time.monotonic)

    @property
    def is_local(self) -> bool:
        """Whether the workers run on this machine."""
        return self.run.engine.name == LOCAL

    @property
    def is_confined(self) -> bool:
        """Whether the workers are; see `dfdc_prep.parallel.confinement`."""
        return bool(self.metadata["confinement"] == ["on"])

    @property
    def finishing(self) -> str:
        """The command that writes the tables when all slices are done."""
        if self.given:
            return "run the same command without --slice"
        return f"run: dfdc-prep gather {self.out}"


def prepare(
    source: Location,
    out: Location,
    options: CropOptions,
    run: RunOptions,
    detector: str = AUTO,
    detector_model: Path | None = None,
) -> Prepared:
    """Read the source and choose the detector; write nothing.

    For the arguments and errors, see `dfdc_prep.commands.extract.extract`.

    Raises:
        StorageError: a bucket cannot be reached.
    """
    began = time.monotonic()
    source, out = checked_places(source, out, run)
    catalog = _read_source(source, run.limit, run.reading)
    earlier = None if run.overwrite else read_earlier_run(out)
    begun = earlier["options"].get("detector") if earlier and detector == AUTO else None
    try:
        choice = choose_detector(str(begun or detector), detector_model)
        if advice := choice.advice():
            tell(aligned(advice))
        if options.align != placement.NONE and choice.name not in LANDMARK_DETECTORS:
            raise ModelError(
                f"expected a detector that finds landmarks for --align {options.align}, found "
                f"{choice.name}; use --detector yunet, or --align none"
            )
        make_detector(choice)  # report a detector error once, not in every worker
    except ModelError as error:
        if begun is None:
            raise
        raise ModelError(
            f"expected the detector {begun}, with which {out} was begun, found that it cannot be "
            f"used; begin again with another by --overwrite, or: {error}"
        ) from error
    metadata = _run_metadata(source, catalog, options, run, choice)
    metadata["confinement"] = confinement(source, out, run.engine)
    kept = begun is not None
    return Prepared(source, out, catalog, options, run, metadata, choice, kept, began=began)


def checked_places(source: Location, out: Location, run: RunOptions) -> tuple[Location, Location]:
    """The source and the output folder, as the workers reach them.

    Raises:
        OutputError: a slice would remove the work of the others.
    """
    if run.overwrite and run.own_slice:
        raise OutputError(
            "expected --slice without --overwrite, which would remove the work of other "
            f"slices; remove {out} first, or choose another folder"
        )
    if run.engine.name != LOCAL:  # a relative path is another folder on another machine
        return _absolute(source), _absolute(out)
    return source, out


def confinement(source: Location, out: Location, engine: Engine) -> list[str]:
    """Whether the workers are confined, or why not, as run.json has it."""
    why_not = why_unconfined()
    if isinstance(source, Url) or isinstance(out, Url):
        why_not = "the workers reach a bucket"
    elif engine.name != LOCAL:
        why_not = "the workers belong to a Ray cluster"
    return [f"off: {why_not}" if why_not else "on"]


def extract(ready: Prepared) -> RunSummary:
    """Extract the face crops of every clip below a source; continue an earlier run.

    Writes crops/, manifest.parquet, metadata.csv, clips.parquet and run.json below the output
    folder. For the errors, see `dfdc_prep.commands.extract.extract`.

    Raises:
        StorageError: a bucket cannot be reached or written.
    """
    out, run = ready.out, ready.run
    # Before anything is written: there may be no such cluster.
    with connected(run.engine), open_output(out, ready.source, run.own_slice) as output:
        output.start(ready.metadata, run.overwrite)
        work = _find_work(output, ready.catalog, run)
        notes = [*output.notes]
        if run.own_slice:
            notes.append(f"slice {run.own_slice}; when all are done, {ready.finishing}")
        elif work.todo and (journals := output.slice_journals):
            missing = describe_missing(journals, work.todo.values())
            notes.append(f"missing in the slices, done here: {missing}")
        tell(aligned([*_plan(ready, work), *about_disk(out, work, ready.options)]))
        detector = ready.choice.name if ready.choice else None
        summary = RunSummary(out, notes, ready.catalog.refused, detector)
        summary.add_earlier(work.finished.values())
        if run.own_slice is None:
            output.merge_slices()
        _process(ready, output, work.todo, summary)
        if run.own_slice is None:
            _write_tables(output, work.families)
    summary.seconds = time.monotonic() - ready.began
    return summary


def dry_run(ready: Prepared) -> Plan:
    """Say what `extract` would do; do a few of the clips in a temporary folder for the time.

    Nothing is written to the output folder. Raises what `extract` would before its first clip, but
    for errors of writing.
    """
    out, run = ready.out, ready.run
    with open_output(out, ready.source, run.own_slice, dry=True) as output:
        output.check(ready.metadata, run.overwrite)
        work = _find_work(output, ready.catalog, run)
    rows = list(_plan(ready, work, every_note=True))
    some = sample(work)
    if not some:
        return Plan(rows)
    if not ready.is_local:
        disk = about_disk(out, work, ready.options)
        return Plan([*rows, *disk, ("time", "not estimated for a Ray cluster")])
    tell(f"timing {counted(sum(len(family.clips) for family in some), 'clip')}")
    with scratch_folder() as scratch:
        (scratch / CROPS).mkdir()
        timed = []
        with _scheduler(ready, Transfer(scratch, scratch), some) as scheduler:
            for queue in scheduler.run(some):
                results = (queue.results[clip] for clip in queue.family.clips)
                timed.append([(result, _bytes_of(result, scratch)) for result in results])
    found = extrapolate(timed, work, run.workers or available_cores())
    return Plan([*rows, *about_disk(out, work, ready.options, found.size), *found.rows()])


def _find_work(output: Output, catalog: Catalog, run: RunOptions) -> Work:
    families = _families(catalog, run.own_slice)
    again = FAILURES if run.retry_failed else (TIMEOUT,)
    if run.overwrite:
        return Work(families, {})
    found = finished_families(families, output.entries(), output.has_content, again)
    return Work(families, found)


def _plan(ready: Prepared, work: Work, every_note: bool = False) -> Iterator[Row]:
    """What is told before the first clip."""
    yield from about_source(ready.source, ready.catalog, work, every_note)
    yield from about_work(ready.out, work, ready.run.retry_failed)
    kept = f", with which {ready.out} was begun" if ready.kept else ""
    yield "detector", f"{ready.choice or 'none: the recipe says where the faces are'}{kept}"
    cores = available_cores() if ready.is_local else "one a core of the Ray cluster"
    yield "workers", f"{ready.run.workers or cores}, each decodes in 1 thread"


@contextmanager
def _scheduler(
    ready: Prepared, transfer: Transfer, todo: Collection[Family]
) -> Iterator[Scheduler]:
    """Start workers, as many as there is work for at most, and yield what gives them clips."""
    run, clips = ready.run, [clip for family in todo for clip in family.clips]
    prepared = (transfer, ready.options, ready.choice)
    with (
        worker_setup(prepared, clips, ready.is_local, ready.is_confined) as setup,
        running_workers(run.engine, run.workers, len(clips), run.timeout, setup) as workers,
    ):
        yield Scheduler(workers, transfer, ready.options, run.timeout, ready.given)


def _bytes_of(result: ClipResult, folder: Path) -> int:
    return sum((folder / path).stat().st_size for path in crop_files(result.rows))


def gather(out: Location, source: Location | None = None) -> RunSummary:
    """Write the tables of a run that was divided into slices.

    Args:
        out: the output folder of the slices.
        source: the source of the clips, None for the one recorded in run.json.

    Raises:
        OutputError: `out` holds no run, a slice is still running, or families are missing; the
            message names them and their slices.
        SourceError: the source is not a DFDC tree.
    """
    earlier = read_earlier_run(out)
    if earlier is None or "source" not in earlier:
        raise OutputError(
            f"expected the run.json of dfdc-prep extract in {out}, found none; run the slices first"
        )
    if earlier.get("command") == REBUILD:
        raise OutputError(
            f"expected slices of dfdc-prep extract in {out}, found those of rebuild; run rebuild "
            "without --slice"
        )
    source = source or as_location(str(earlier["source"]))
    options, table = earlier["options"], earlier.get("table")
    reading = SourceOptions(
        options["layout"],
        options["dataset"],
        options["compression"],
        None if table is None else Path(table),
        earlier.get("real_is"),
        options["masks"],
    )
    catalog = _read_source(source, earlier.get("limit"), reading)
    with open_output(out, source) as output:
        output.start(earlier, overwrite=False)
        families = _families(catalog, None)
        finished = finished_families(families, output.entries(), output.has_content)
        if missing := [family for key, family in families.items() if key not in finished]:
            raise OutputError(
                f"expected {counted(len(families), 'family')} in {out}, found {len(missing):,} "
                f"missing: {describe_missing(output.slice_journals, missing)}; run "
                f"{'these slices, or ' if output.slice_journals else ''}extract without --slice"
            )
        clips = (clip for family in families.values() for clip in family.clips)
        families_known = count_families(clips).lines()
        about = (*output.notes, *families_known, *catalog.originals.lines(), *catalog.notes)
        summary = RunSummary(out, about, catalog.refused, options.get("detector"))
        summary.add_earlier(finished.values())
        output.merge_slices()
        _write_tables(output, families)
    return summary


def _process(
    ready: Prepared, output: Output, todo: Mapping[str, Family], summary: RunSummary
) -> None:
    """Process families and append each to the journal when it is finished."""
    keys = {family.name: key for key, family in todo.items()}
    clips, done = sum(len(family.clips) for family in todo.values()), summary.clips.total()
    with (
        output.journal() as append,
        Progress(clips + done, "clips", ready.metadata["command"], done) as bar,
        _scheduler(ready, output.transfer, todo.values()) as scheduler,
    ):
        for finished in scheduler.run(todo.values()):
            results = finished.results
            entry = JournalEntry(
                key=keys[finished.family.name],
                versions=[result.version for result in results.values()],
                clips=[
                    make_row(
                        ClipRow,
                        {"faces": len(result.rows), **(result.stream or {})},
                        *(clip, clip.provenance, result),
                    )
                    for clip, result in results.items()
                ],
                crops=[row for result in results.values() for row in result.rows],
            )
            append(entry)
            summary.add(entry["clips"])
            bar.set_postfix(faces=summary.faces, failed=summary.failed, refresh=False)
            bar.update(len(entry["clips"]))


def _write_tables(output: Output, families: Mapping[str, Family]) -> None:
    write_tables(output.folder, output.folder / JOURNAL, families)
    output.publish(_TABLES)


def _families(catalog: Catalog, own_slice: Slice | None) -> dict[str, Family]:
    """The families of a slice, or all, by key."""
    return {
        family_key(family): family
        for family in catalog.families()
        if own_slice is None or own_slice.contains(family)
    }


def _absolute(location: Location) -> Location:
    return location.absolute() if isinstance(location, Path) else location


def _read_source(source: Location, limit: int | None, reading: SourceOptions) -> Catalog:
    """Read the catalog of a source on a disk or in a bucket; see `read_catalog`."""
    if isinstance(source, Url):
        return read_bucket_catalog(source, lambda folder: read_catalog(folder, limit, reading))
    return read_catalog(source, limit, reading)


def _run_metadata(
    source: Location,
    catalog: Catalog,
    options: CropOptions,
    run: RunOptions,
    choice: DetectorChoice,
) -> dict[str, Any]:
    """The content of run.json."""
    needed_by_gather: dict[str, Any] = {}
    if run.own_slice:  # to read the catalog wherever `gather` runs
        source, table = _absolute(source), run.reading.table
        needed_by_gather = {
            "limit": run.limit,
            "table": None if table is None else str(table.absolute()),
            "real_is": run.reading.real_is,
        }
    detector = {"detector": choice.name, "model_sha256": choice.model_sha256}
    return {
        "command": "extract",
        "source": str(source),
        **needed_by_gather,
        "preset": run.preset,
        "options": {**catalog.options, **asdict(options), **detector},
        "versions": package_versions(),
    }
