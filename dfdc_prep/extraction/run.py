"""Runs an extraction: processes all families of a catalog and writes the tables."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dfdc_prep import output_folder
from dfdc_prep.catalog.clips import Catalog, Clip, Family, SourceOptions, count_families
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.crops import placement
from dfdc_prep.detectors.registry import (
    LANDMARK_DETECTORS,
    DetectorChoice,
    choose_detector,
    make_detector,
)
from dfdc_prep.errors import ModelError, OutputError
from dfdc_prep.extraction.clip import ClipResult, CropOptions
from dfdc_prep.extraction.crops_out import crop_files
from dfdc_prep.extraction.journal import JournalEntry, family_key
from dfdc_prep.extraction.output.base import JOURNAL, Output
from dfdc_prep.extraction.output.places import open_output, read_earlier_run
from dfdc_prep.extraction.schedule import extract_families
from dfdc_prep.extraction.slices import Slice, describe_missing
from dfdc_prep.extraction.summary import RunSummary
from dfdc_prep.extraction.worker import init_worker
from dfdc_prep.parallel.confinement import why_unconfined
from dfdc_prep.parallel.engine import LOCAL, Engine, Setup, connected, start_workers
from dfdc_prep.storage.urls import Location, Url, as_location, is_url
from dfdc_prep.video.source_file import is_version
from manifests.columns import ClipRow, make_row
from manifests.folders import FacesFolder
from manifests.labels import FAILURES, TIMEOUT

#: The tables, in the order in which they appear.
_TABLES = (FacesFolder.CLIPS, FacesFolder.KAGGLE_CSV, FacesFolder.MANIFEST)


@dataclass(frozen=True)
class RunOptions:
    """Options beside those that determine the bytes of a crop.

    Attributes:
        reading: how the source is read.
        workers: number of processes; None for one per core.
        timeout: CPU time that a clip may use, seconds; a worker that hangs for as long ends too.
        limit: stop after about this many clips; families are never divided.
        overwrite: remove the files of an earlier run first.
        retry_failed: process families with a failed clip again.
        preset: name of the preset that the options come from; recorded only.
        part: process only this slice of the families, and write no tables.
        engine: where the worker processes run.
    """

    workers: int | None = None
    timeout: float = 120.0
    limit: int | None = None
    overwrite: bool = False
    retry_failed: bool = False
    preset: str = "paper"
    reading: SourceOptions = field(default_factory=SourceOptions)
    part: Slice | None = None
    engine: Engine = field(default_factory=Engine)


def extract(
    source: Location,
    out: Location,
    options: CropOptions,
    run: RunOptions,
    detector: str = "auto",
    detector_model: Path | None = None,
) -> RunSummary:
    """Extract the face crops of every clip below a source; continue an earlier run.

    Writes crops/, manifest.parquet, metadata.csv, clips.parquet and run.json below `out`.

    Args:
        source: a folder with one of the layouts of `catalog.reader`.
        out: the output folder; if it holds an unfinished run, that run is continued.
        detector: name of the detector, or `auto`.
        detector_model: weights file of the detector; None for the default weights.

    Raises:
        SourceError: the source has no known layout, or another than asked for.
        ModelError: the detector cannot be loaded, or finds no landmarks to align by.
        OutputError: `out` cannot be written, or another run is writing it.
        OptionsDiffer: `out` holds a run with other options.
        StorageError: a bucket cannot be reached or written.
        WorkersError: the workers cannot be started.
    """
    if run.engine.name != LOCAL:  # a relative path is another folder on another machine
        source, out = _absolute(source), _absolute(out)
    catalog = read_source(source, run.limit, run.reading)
    choice = _resolve_detector(out, detector, detector_model, run.overwrite)
    _check_landmarks(options, choice)
    make_detector(choice)  # report a detector error once, not in every worker
    # Before anything is written: there may be no such cluster.
    with connected(run.engine), open_output(out, source, run.part) as output:
        unconfined = _why_unconfined(source, out, run.engine)
        metadata = _run_metadata(source, catalog, options, run, choice)
        metadata["confinement"] = [f"off: {unconfined}" if unconfined else "on"]
        output.start(metadata, run.overwrite)
        families = _families(catalog, run.part)
        again = FAILURES if run.retry_failed else (TIMEOUT,)
        finished = _finished_families(output, families, again)
        todo = {key: family for key, family in families.items() if key not in finished}
        notes = [*output.notes, *_slice_notes(out, output, run, todo)]
        about = (*_family_lines(catalog, families.values()), *catalog.notes)
        summary = RunSummary(out, about, choice.why, notes, catalog.refused)
        for clips in finished.values():
            summary.add(clips)
        if run.part is None:
            output.merge_slices()
        confined = unconfined is None
        extraction = _Extraction(output, options, run, choice, confined, summary)
        extraction.process(todo, total=sum(len(family.clips) for family in families.values()))
        if run.part is None:
            _write_tables(output, families)
    return summary


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
    source = source or as_location(str(earlier["source"]))
    catalog = read_source(source, earlier.get("limit"), _recorded_reading(earlier))
    with open_output(out, source) as output:
        output.start(earlier, overwrite=False)
        families = _families(catalog, None)
        finished = _finished_families(output, families)
        if missing := [family for key, family in families.items() if key not in finished]:
            raise OutputError(
                f"expected all {len(families):,} families in {out}, found {len(missing):,} "
                f"missing: {describe_missing(output.slice_journals, missing)}; run "
                f"{'these slices, or ' if output.slice_journals else ''}extract without --slice"
            )
        about = (*_family_lines(catalog, families.values()), *catalog.notes)
        summary = RunSummary(out, about, None, output.notes, catalog.refused)
        for clips in finished.values():
            summary.add(clips)
        output.merge_slices()
        _write_tables(output, families)
    return summary


def _write_tables(output: Output, families: Mapping[str, Family]) -> None:
    # Imported here because pyarrow loads slowly: the workers must not wait for it.
    from dfdc_prep.extraction.tables import write_tables

    write_tables(output.folder, output.folder / JOURNAL, families)
    output.publish(_TABLES)


def _families(catalog: Catalog, part: Slice | None) -> dict[str, Family]:
    """The families of a slice, or all, by key."""
    families = catalog.families()
    if part is not None:
        families = [family for family in families if part.contains(family)]
    return {family_key(family): family for family in families}


def _family_lines(catalog: Catalog, families: Iterable[Family]) -> list[str]:
    """How the families of the fakes are known, for the report."""
    clips = (clip for family in families for clip in family.clips)
    return [*count_families(clips).lines(), *catalog.originals.lines()]


def _slice_notes(
    out: Location, output: Output, run: RunOptions, todo: Mapping[str, Family]
) -> list[str]:
    """Lines for the report about the slices of this run."""
    if run.part is not None:
        return [f"slice {run.part}; when all are done, run: dfdc-prep gather {out}"]
    if todo and (journals := output.slice_journals):
        return [f"missing in the slices, done here: {describe_missing(journals, todo.values())}"]
    return []


def _absolute(location: Location) -> Location:
    return location.absolute() if isinstance(location, Path) else location


def read_source(source: Location, limit: int | None, reading: SourceOptions) -> Catalog:
    """Read the catalog of a source on a disk or in a bucket; see `read_catalog`."""
    if isinstance(source, Url):
        from dfdc_prep.catalog.reader import read_bucket_catalog

        return read_bucket_catalog(source, lambda folder: read_catalog(folder, limit, reading))
    return read_catalog(source, limit, reading)


def _resolve_detector(
    out: Location, asked: str, model: Path | None, overwrite: bool
) -> DetectorChoice:
    """Choose the detector; for `auto`, a continued run keeps the detector of the earlier run."""
    earlier = None if overwrite else read_earlier_run(out)
    if earlier and asked == "auto":
        asked = str(earlier["options"].get("detector", asked))
    return choose_detector(asked, model)


def _why_unconfined(source: Location, out: Location, engine: Engine) -> str | None:
    """Why the workers are not confined, None if they are; see `dfdc_prep.parallel.confinement`."""
    if isinstance(source, Url) or isinstance(out, Url):
        return "the workers reach a bucket"
    if engine.name != LOCAL:
        return "the workers belong to a Ray cluster"
    return why_unconfined()


def _check_landmarks(options: CropOptions, choice: DetectorChoice) -> None:
    """Raise ModelError if crops are to be aligned and the detector finds no landmarks."""
    if options.align != placement.NONE and choice.name not in LANDMARK_DETECTORS:
        raise ModelError(
            f"expected a detector that finds landmarks for --align {options.align}, found "
            f"{choice.name}; use --detector yunet, or --align none"
        )


def _run_metadata(
    source: Location,
    catalog: Catalog,
    options: CropOptions,
    run: RunOptions,
    choice: DetectorChoice,
) -> dict[str, Any]:
    """The content of run.json."""
    detector = {"detector": choice.name, "model_sha256": choice.model_sha256}
    named = {**catalog.options, **asdict(options), **detector}
    return {
        "command": "extract",
        "source": str(source),
        **(_needed_by_gather(source, run) if run.part else {}),
        "preset": run.preset,
        "options": named,
        "versions": output_folder.package_versions(),
    }


def _needed_by_gather(source: Location, run: RunOptions) -> dict[str, Any]:
    """What a slice also records, for `gather` to read the catalog wherever it runs."""
    table = run.reading.table
    return {
        "source": str(_absolute(source)),
        "limit": run.limit,
        "table": None if table is None else str(_absolute(table)),
        "real_is": run.reading.real_is,
    }


def _recorded_reading(run: Mapping[str, Any]) -> SourceOptions:
    """How the source of a run was read, from its run.json."""
    options, table = run["options"], run.get("table")
    return SourceOptions(
        options["layout"],
        options["dataset"],
        options["compression"],
        None if table is None else Path(table),
        run.get("real_is"),
    )


def _finished_families(
    output: Output, families: Mapping[str, Family], again: Collection[str] = ()
) -> dict[str, list[ClipRow]]:
    """Clip log rows of the finished families, by key.

    A family with a missing or empty crop or mask file does not count as finished, nor one with a
    clip that was replaced since.

    Args:
        again: statuses of clips that are to be processed again.
    """
    finished: dict[str, list[ClipRow]] = {}
    for entry in output.entries():
        family = families.get(entry["key"])
        if family is None:
            continue
        finished.pop(entry["key"], None)
        if (
            not any(clip["status"] in again for clip in entry["clips"])
            and all(map(output.has_content, crop_files(entry["crops"])))
            and _has_same_clips(family, entry)
        ):
            finished[entry["key"]] = entry["clips"]
    return finished


def _has_same_clips(family: Family, entry: JournalEntry) -> bool:
    """Whether the files of a family's clips are those that were processed."""
    clips = {(clip.part, clip.video): clip for clip in family.clips}
    for row, version in zip(entry["clips"], entry["versions"], strict=True):
        clip = clips.get((row["part"], row["video"]))
        if clip is None or (clip.size is None) != (version is None):
            return False
        if version is None:
            continue
        if is_url(clip.path):
            if clip.version != version:
                return False
        elif not is_version(Path(clip.path), version):
            return False
    return True


@dataclass(frozen=True)
class _Extraction:
    """The settings of an extraction, and the summary that it updates."""

    output: Output
    options: CropOptions
    run: RunOptions
    choice: DetectorChoice
    confined: bool
    summary: RunSummary

    def process(self, todo: dict[str, Family], total: int) -> None:
        """Process families and append each to the journal when it is finished.

        Args:
            todo: the families by key.
            total: number of clips in the catalog, for the progress bar.
        """
        clips = sum(len(family.clips) for family in todo.values())
        keys = {family.name: key for key, family in todo.items()}
        with (
            self._setup(todo) as setup,
            self.output.journal() as journal,
            tqdm(total=total, initial=total - clips, unit="clip", disable=None) as bar,
        ):
            start = partial(
                start_workers, self.run.engine, self.run.workers, clips, self.run.timeout, setup
            )
            for done in extract_families(
                todo.values(), start, self.output.transfer, self.options, self.run.timeout
            ):
                rows = [_clip_row(clip, result) for clip, result in done.results.items()]
                crops = [row for result in done.results.values() for row in result.rows]
                versions = [result.version for result in done.results.values()]
                journal.append(
                    JournalEntry(
                        key=keys[done.family.name], versions=versions, clips=rows, crops=crops
                    )
                )
                self.summary.add(rows)
                bar.update(len(rows))
                bar.set_postfix(faces=self.summary.faces, failed=self.summary.failed, refresh=False)

    @contextmanager
    def _setup(self, todo: Mapping[str, Family]) -> Iterator[Setup]:
        """Yield the function that prepares a worker, and its arguments."""
        args = (self.output.transfer, self.options, self.choice)
        if self.run.engine.name == LOCAL:
            yield init_worker, (*args, self.confined)
            return
        from dfdc_prep.extraction.preflight import expectation, init_remote_worker

        clips = (clip for family in todo.values() for clip in family.clips)
        with expectation(self.output.transfer, clips) as expected:
            yield init_remote_worker, (expected, *args)


def _clip_row(clip: Clip, result: ClipResult) -> ClipRow:
    return make_row(ClipRow, {"faces": len(result.rows)}, clip, clip.provenance, result)
