"""Runs an extraction: processes all families of a catalog and writes the tables."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dfdc_prep import output_folder
from dfdc_prep.catalog.clips import Catalog, Clip, Family
from dfdc_prep.catalog.layouts.base import SourceOptions
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.crops import alignment
from dfdc_prep.detectors import DetectorChoice, choose_detector, make_detector
from dfdc_prep.detectors.registry import LANDMARK_DETECTORS
from dfdc_prep.errors import ModelError
from dfdc_prep.extraction.clip import ClipResult, CropOptions
from dfdc_prep.extraction.crop_writer import crop_files
from dfdc_prep.extraction.journal import JournalEntry, family_key, read_journal
from dfdc_prep.extraction.outputs import JOURNAL, Output, open_output, read_earlier_run
from dfdc_prep.extraction.run_summary import RunSummary
from dfdc_prep.extraction.scheduler import extract_families
from dfdc_prep.parallel.cpu_count import available_cores
from manifests.labels import FAILURES
from manifests.rows import ClipRow
from manifests.storage.urls import Location, Url

#: The tables, in the order in which they appear.
_TABLES = ("clips.parquet", "metadata.csv", "manifest.parquet")


@dataclass(frozen=True)
class RunOptions:
    """Options beside those that determine the bytes of a crop.

    Attributes:
        reading: how the source is read.
        workers: number of processes; None for one per core.
        timeout: maximum time per clip, seconds.
        limit: stop after about this many clips; families are never divided.
        overwrite: remove the files of an earlier run first.
        retry_failed: process families with a failed clip again.
        preset: name of the preset that the options come from; recorded only.
    """

    workers: int | None = None
    timeout: float = 120.0
    limit: int | None = None
    overwrite: bool = False
    retry_failed: bool = False
    preset: str = "paper"
    reading: SourceOptions = field(default_factory=SourceOptions)


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
    """
    catalog = _read_catalog(source, run)
    choice = _resolve_detector(out, detector, detector_model, run.overwrite)
    _check_landmarks(options, choice)
    make_detector(choice)  # report a detector error once, not in every worker
    with open_output(out, source) as output:
        output.start(_run_metadata(source, catalog, options, run, choice), run.overwrite)
        families = {family_key(family): family for family in catalog.families()}
        finished = _finished_families(output, families.keys(), run.retry_failed)
        summary = RunSummary(catalog.notes, choice.why, output.notes)
        for clips in finished.values():
            summary.add(clips)
        todo = {key: family for key, family in families.items() if key not in finished}
        extraction = _Extraction(output, options, run, choice, summary)
        extraction.process(todo, total=len(catalog.clips))
        # Imported here because pyarrow loads slowly: the workers must not wait for it.
        from dfdc_prep.extraction.tables import write_tables

        write_tables(output.folder, output.folder / JOURNAL, families)
        output.publish(_TABLES)
    return summary


def _read_catalog(source: Location, run: RunOptions) -> Catalog:
    if isinstance(source, Url):
        from dfdc_prep.catalog.bucket import read_bucket_catalog

        return read_bucket_catalog(
            source, lambda folder: read_catalog(folder, run.limit, run.reading)
        )
    return read_catalog(source, run.limit, run.reading)


def _resolve_detector(
    out: Location, asked: str, model: Path | None, overwrite: bool
) -> DetectorChoice:
    """Choose the detector; for `auto`, a continued run keeps the detector of the earlier run."""
    earlier = None if overwrite else read_earlier_run(out)
    if earlier and asked == "auto":
        asked = str(earlier["options"].get("detector", asked))
    return choose_detector(asked, model)


def _check_landmarks(options: CropOptions, choice: DetectorChoice) -> None:
    """Raise ModelError if crops are to be aligned and the detector finds no landmarks."""
    if options.align != alignment.NONE and choice.name not in LANDMARK_DETECTORS:
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
        "preset": run.preset,
        "options": named,
        "versions": output_folder.package_versions(),
    }


def _finished_families(
    output: Output, keys: Iterable[str], retry_failed: bool
) -> dict[str, list[ClipRow]]:
    """Clip log rows of the finished families, by key.

    A family with a missing or empty crop or mask file does not count as finished.
    """
    wanted = set(keys)
    finished: dict[str, list[ClipRow]] = {}
    for entry in read_journal(output.folder / JOURNAL):
        if entry["key"] not in wanted:
            continue
        finished.pop(entry["key"], None)
        failed = any(clip["status"] in FAILURES for clip in entry["clips"])
        complete = all(map(output.has_content, crop_files(entry["crops"])))
        if complete and not (failed and retry_failed):
            finished[entry["key"]] = entry["clips"]
    return finished


@dataclass(frozen=True)
class _Extraction:
    """The settings of an extraction, and the summary that it updates."""

    output: Output
    options: CropOptions
    run: RunOptions
    choice: DetectorChoice
    summary: RunSummary

    def process(self, todo: dict[str, Family], total: int) -> None:
        """Process families and append each to the journal when it is finished.

        Args:
            todo: the families by key.
            total: number of clips in the catalog, for the progress bar.
        """
        clips = sum(len(family.clips) for family in todo.values())
        workers = min(self.run.workers or available_cores(), max(1, clips))
        keys = {family.name: key for key, family in todo.items()}
        families = extract_families(
            todo.values(),
            self.output.transfer,
            self.options,
            self.choice,
            workers,
            self.run.timeout,
        )
        with (
            self.output.journal() as journal,
            tqdm(total=total, initial=total - clips, unit="clip", disable=None) as bar,
        ):
            for done in families:
                rows = [_clip_row(clip, result) for clip, result in done.results.items()]
                crops = [row for result in done.results.values() for row in result.rows]
                journal.append(JournalEntry(key=keys[done.family.name], clips=rows, crops=crops))
                self.summary.add(rows)
                bar.update(len(rows))
                bar.set_postfix(faces=self.summary.faces, failed=self.summary.failed, refresh=False)


def _clip_row(clip: Clip, result: ClipResult) -> ClipRow:
    return ClipRow(
        video=clip.video,
        part=clip.part,
        label=clip.label,
        original=clip.original,
        family=clip.family,
        status=result.status,
        error=result.error,
        frames_wanted=result.frames_wanted,
        frames_decoded=result.frames_decoded,
        faces=len(result.rows),
        seconds=result.seconds,
        dataset=clip.provenance.dataset,
        method=clip.provenance.method,
        identity=clip.provenance.identity,
        face_identity=clip.provenance.face_identity,
        official_split=clip.provenance.official_split,
    )
