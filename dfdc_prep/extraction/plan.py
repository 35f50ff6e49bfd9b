"""What a run is going to do, told before it begins, and what it takes, from a few clips done so."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.catalog.clips import Catalog, Family, count_families
from dfdc_prep.extraction.clip import ALL, ClipResult, CropOptions
from dfdc_prep.progress import aligned
from dfdc_prep.storage.urls import Location
from manifests.labels import FAILURES, LABELS, NO_LABEL
from manifests.result import Result, TextTable
from manifests.schemas import ClipRow
from manifests.wording import counted, data_size, duration, listed

#: A name and what is said of it; the lines below the first have none.
Row = tuple[str, str]
#: Families that are timed, and clips of each: one that detects faces, one that takes its boxes.
_TIMED_FAMILIES, _TIMED_CLIPS = 3, 2
#: Sentences about a source that a run says; a dry run says all.
_MOST_NOTES = 3


class Plan(Result):
    """What a run would do, in rows of a name and a text."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)

    def text(self) -> str:
        return aligned(self.rows)

    def cells(self) -> TextTable:
        return TextTable(("", ""), self.rows)

    def caption(self) -> str:
        return "dry run: nothing was written"


@dataclass(frozen=True)
class Work:
    """The families of a run or of its slice, by key, and those finished, with their clips' rows."""

    families: Mapping[str, Family]
    finished: Mapping[str, Sequence[ClipRow]]

    @property
    def todo(self) -> dict[str, Family]:
        """The families that are not finished, by key."""
        return {key: each for key, each in self.families.items() if key not in self.finished}

    def on_disk(self) -> list[Family]:
        """The families that are not finished, without the clips that are missing."""
        found = (
            Family(family.name, tuple(clip for clip in family.clips if clip.size is not None))
            for family in self.todo.values()
        )
        return [family for family in found if family.clips]


def about_source(source: Location, catalog: Catalog, work: Work, every_note: bool) -> Iterator[Row]:
    """How a source was read, what was left out, and the families."""
    yield "source", f"{source}, read as {catalog.options['layout']}"
    most = len(catalog.notes) if every_note else _MOST_NOTES
    yield from (("", note) for note in catalog.notes[:most])
    if len(catalog.notes) > most:
        yield "", f"and {len(catalog.notes) - most:,} more: --dry-run names them"
    if catalog.refused:
        yield "", f"left out, no names of files: {listed(sorted(catalog.refused))}"
    clips = [clip for family in work.families.values() for clip in family.clips]
    labels = Counter(clip.label for clip in clips)
    shown = {**dict(zip(LABELS, LABELS, strict=True)), NO_LABEL: "without a label"}
    kinds = ", ".join(f"{labels[each]:,} {text}" for each, text in shown.items() if labels[each])
    yield "clips", f"{kinds or 'none'}, of {counted(len(work.families), 'family')}"
    for line in (*count_families(clips).lines(), *catalog.originals.lines()):
        name, _, text = line.partition(": ")
        yield name, text


def about_work(out: Location, work: Work, retried: bool) -> Iterator[Row]:
    """What is to do, what is skipped and why."""
    todo = [clip for family in work.todo.values() for clip in family.clips]
    missing = sorted(clip.video for clip in todo if clip.size is None)
    text = counted(len(todo) - len(missing), "clip")
    if missing:
        text += f"; {len(missing):,} not on disk: {listed(missing, 3)}"
    if done := [row for rows in work.finished.values() for row in rows]:
        text += f"; {len(done):,} done before"
        failed = sum(row["status"] in FAILURES for row in done)
        if failed and not retried:
            text += f", of which {failed:,} failed: --retry-failed tries them again"
    yield "to do", f"{text}; into {out}"


@dataclass(frozen=True)
class Estimate:
    """What the clips to do take, from some that were done."""

    timed: int  # clips that were done
    failed: int  # of these
    seconds: float  # for all to do, by the clock, with all workers
    size: float  # of their crops and masks, bytes

    def rows(self) -> Iterator[Row]:
        """The row about the time."""
        failed = f", {self.failed:,} of which failed" if self.failed else ""
        clips = counted(self.timed, "clip")
        yield "time", f"about {duration(self.seconds)}, from {clips} done so{failed}"


def about_disk(
    out: Location, work: Work, options: CropOptions, size: float | None = None
) -> Iterator[Row]:
    """The bytes of the crops to write, at most if not estimated, and those free."""
    if not work.on_disk():
        return
    crops = sum(options.frames_of(clip) for family in work.on_disk() for clip in family.clips)
    needed = f"about {data_size(size or 0)}"
    if size is None:
        size = crops * options.size**2 * (4 if options.masks else 3)  # uncompressed
        each = ", with one face a frame" if options.faces == ALL else ""
        needed = f"at most {data_size(size)} of crops{each}"
    if not isinstance(out, Path):
        yield "disk", f"{needed}, in a bucket"
        return
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    enough = "" if size < free else ": it may not suffice"
    yield "disk", f"{needed}; {data_size(free)} free{enough}"


def sample(work: Work) -> list[Family]:
    """A few families spread over those to do in the order of their names, cut to two clips each."""
    families = sorted(work.on_disk(), key=lambda family: family.name)
    middles = range(1, 2 * _TIMED_FAMILIES, 2)  # of as many equal stretches, in halves of one
    chosen = {middle * len(families) // (2 * _TIMED_FAMILIES) for middle in middles}
    return [
        Family(each.name, each.clips[:_TIMED_CLIPS])
        for i, each in enumerate(families)
        if i in chosen
    ]


def extrapolate(
    timed: Sequence[Sequence[tuple[ClipResult, int]]], work: Work, workers: int
) -> Estimate:
    """What the clips to do take, if they are as some of them.

    The first clip of a family detects faces and the others take its boxes, so that both kinds have
    a mean of their own.

    Args:
        timed: the results of families of `sample`, with the bytes of their crops and masks.
    """
    families = work.on_disk()
    firsts = [family[0] for family in timed]
    others = [each for family in timed for each in family[1:]]
    counts = len(families), sum(len(family.clips) - 1 for family in families)
    seconds = size = 0.0
    for count, some in zip(counts, (firsts, others or firsts), strict=True):
        seconds += count * sum(result.seconds for result, _ in some) / len(some)
        size += count * sum(bytes_ for _, bytes_ in some) / len(some)
    failed = [result for result, _ in (*firsts, *others) if result.status in FAILURES]
    return Estimate(sum(map(len, timed)), len(failed), seconds / min(workers, sum(counts)), size)
