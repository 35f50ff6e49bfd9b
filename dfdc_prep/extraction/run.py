"""Clips to crops: a catalog's families through the workers, their results into the tables."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dfdc_prep import output_folder
from dfdc_prep.catalog.clips import Catalog, Clip, Family
from dfdc_prep.catalog.dfdc import read_catalog
from dfdc_prep.detectors import DetectorChoice, choose_detector, make_detector
from dfdc_prep.extraction.clip import CROPS, ClipResult, CropOptions
from dfdc_prep.extraction.journal import Journal, family_key, read_journal
from dfdc_prep.extraction.run_summary import Tally
from dfdc_prep.extraction.scheduler import conduct
from dfdc_prep.parallel.cpu_count import available_cores
from manifests.labels import FAILURES

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about its work; none of this changes a byte of what it leaves.

    Attributes:
        workers: processes, None for one a core.
        timeout: seconds a clip may take.
        limit: stop after about this many clips, whole families.
        overwrite: remove an earlier run's files first.
        retry_failed: do the families again in which a clip failed.
    """

    workers: int | None = None
    timeout: float = 120.0
    limit: int | None = None
    overwrite: bool = False
    retry_failed: bool = False


def extract(
    source: Path,
    out: Path,
    options: CropOptions,
    run: RunOptions,
    detector: str = "auto",
    detector_model: Path | None = None,
) -> Tally:
    """Cut the faces out of every clip below a source, going on where an earlier run ended.

    Writes crops/, manifest.parquet, metadata.csv, clips.parquet and run.json below `out`.

    Raises:
        SourceError: the source is no DFDC tree.
        ModelError: the detector cannot be loaded.
        OutputError: `out` cannot be written, or another run is writing it.
        OptionsDiffer: `out` was begun with other options.
    """
    catalog = read_catalog(source, run.limit)
    choice = _settle(out, detector, detector_model, run.overwrite)
    make_detector(choice)  # fails here, in words, rather than in every worker
    with output_folder.locked(out):
        output_folder.start_run(out, _described(source, options, choice), run.overwrite)
        (out / CROPS).mkdir(exist_ok=True)
        families = {family_key(family): family for family in catalog.families()}
        finished = _finished(out, families.keys(), run.retry_failed)
        tally = Tally(catalog.unnamed, choice.why)
        for clips in finished.values():
            tally.add(clips)
        todo = {key: family for key, family in families.items() if key not in finished}
        _work(todo, catalog, out, options, run, choice, tally)
        from dfdc_prep.extraction.tables import (
            write_tables,
        )  # here: the workers need not wait for it

        write_tables(out, out / JOURNAL, families.keys())
    return tally


def _settle(out: Path, asked: str, model: Path | None, overwrite: bool) -> DetectorChoice:
    """The detector, which a run that goes on takes from the one it goes on with."""
    earlier = None if overwrite else output_folder.read_run(out)
    if earlier and asked == "auto":
        asked = str(earlier["options"].get("detector", asked))
    return choose_detector(asked, model)


def _described(source: Path, options: CropOptions, choice: DetectorChoice) -> dict[str, Any]:
    """What run.json says of this run."""
    named = {**asdict(options), "detector": choice.name, "model_sha256": choice.model_sha256}
    return {
        "command": "extract",
        "source": str(source),
        "options": named,
        "versions": output_folder.package_versions(),
    }


def _finished(
    out: Path, keys: Iterable[str], retry_failed: bool
) -> dict[str, list[dict[str, Any]]]:
    """The families that need no more work, with their clips' rows.

    A family whose crops are not all there, or are empty, is done again.
    """
    wanted = set(keys)
    finished: dict[str, list[dict[str, Any]]] = {}
    for entry in read_journal(out / JOURNAL):
        if entry["key"] not in wanted:
            continue
        finished.pop(entry["key"], None)
        failed = any(clip["status"] in FAILURES for clip in entry["clips"])
        if not (failed and retry_failed) and all(_holds(out / c["path"]) for c in entry["crops"]):
            finished[entry["key"]] = entry["clips"]
    return finished


def _holds(crop: Path) -> bool:
    try:
        return crop.stat().st_size > 0
    except OSError:
        return False


def _work(
    todo: dict[str, Family],
    catalog: Catalog,
    out: Path,
    options: CropOptions,
    run: RunOptions,
    choice: DetectorChoice,
    tally: Tally,
) -> None:
    """Run the families that are left, writing each down as it is finished."""
    clips = sum(len(family.clips) for family in todo.values())
    workers = min(run.workers or available_cores(), max(1, clips))
    keys = {family.name: key for key, family in todo.items()}
    done = len(catalog.clips) - clips
    with (
        Journal(out / JOURNAL) as journal,
        tqdm(total=len(catalog.clips), initial=done, unit="clip", disable=None) as bar,
    ):
        for work in conduct(todo.values(), out, options, choice, workers, run.timeout):
            rows = [_log_row(clip, result) for clip, result in work.results.items()]
            crops = [row for result in work.results.values() for row in result.rows]
            journal.append(keys[work.family.name], rows, crops)
            tally.add(rows)
            bar.update(len(rows))
            bar.set_postfix(faces=tally.faces, failed=tally.failed, refresh=False)


def _log_row(clip: Clip, result: ClipResult) -> dict[str, Any]:
    return {
        "video": clip.video,
        "part": clip.part,
        "label": clip.label,
        "original": clip.original,
        "family": clip.family,
        "status": result.status,
        "error": result.error,
        "frames_wanted": result.frames_wanted,
        "frames_decoded": result.frames_decoded,
        "faces": len(result.rows),
        "seconds": result.seconds,
    }
