"""`dfdc-prep compare SHARDS RESULTS...`: compare finished results clip by clip, without TensorFlow.

Libraries are imported after the options are parsed, so that --help and usage errors are fast.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from dfdc_prep.commands.declaration import Given, Option, command, command_of
from dfdc_prep.commands.options import (
    COLUMN,
    LOCATION,
    TEXT,
    WRITABLE,
    CacheGb,
    FloatParam,
    StrPath,
)
from dfdc_prep.commands.terminal import report_hint
from dfdc_prep.storage.urls import Location, as_location
from manifests.folders import REPORT, RunFolder, check_unused

if TYPE_CHECKING:
    import pyarrow as pa

    from dfdc_prep.reports.compared import Comparison
    from training.data.shards import Shards
    from training.evaluation.comparison import Entry

#: Endings of tables, to tell them from folders.
_TABLES = (".csv", ".tsv", ".txt", ".parquet")
#: Where the results go by default, in the working folder.
_OUT = Path(RunFolder.EVALUATIONS) / "comparison"
_MISSING = ("as-chance", "as-real", "as-fake", "left-out")


def _written(result: "Comparison", given: Given) -> Iterator[str]:
    out = given["out"] or _OUT
    yield f"results written to {out}"
    yield report_hint(as_location(out))


@command(hints=_written, has_json=True)
def compare(
    shards: Annotated[StrPath, LOCATION],
    results: Annotated[Iterable[StrPath], Option(LOCATION, nargs=-1)],
    *,
    split: Annotated[str, TEXT] = "test",
    column: Annotated[Iterable[Any], Option(COLUMN, multiple=True)] = (),
    missing: Annotated[str, click.Choice(_MISSING)] = "as-chance",
    min_coverage: Annotated[float, FloatParam(0, 1)] = 0.0,
    attributes: Annotated[StrPath | None, LOCATION] = None,
    out: Annotated[StrPath | None, WRITABLE] = None,
    cache_gb: CacheGb = 50,
) -> "Comparison":
    """Compare RESULTS on the clips of a split of SHARDS: differences, seeds, risk, groups.

    RESULTS are folders that fit or evaluate wrote, or tables of anybody's scores, one row per clip:
    CSV or parquet with the columns clip and score (P(FAKE)). A clip without a score is not dropped.
    One result alone is measured.

    Differences of ROC-AUC and accuracy have intervals and p-values by paired resamples of families.
    Runs that differ only in their seed are one row. All of it is per clip.

    \b
    Example:
      dfdc-prep compare shards runs/v1.3 theirs.csv
      dfdc-prep compare shards runs/* submission.csv --column clip=filename --column score=label
      dfdc-prep compare shards runs/v1.3 --attributes people.csv

    Args:
        shards: A shards folder.
        results: Folders of finished runs or evaluations, and tables of scores.
        split: The split to compare on.
        column: KEY=NAME of a column in the tables; KEY is clip, part, score or logit, and for
            --attributes clip, family or person. Repeatable.
        missing: What a clip without a score counts as. as-chance: right by half, against every
            clip.
        min_coverage: Refuse a model that scored a smaller share of the clips.
        attributes: CSV or parquet with a row per clip, family or person: every other column is an
            attribute, whose groups are measured.
        out: Output folder. None: evaluations/comparison.
        cache_gb: Size of the local cache of SHARDS in a bucket.

    Raises:
        TableError: a table cannot be read, or names other clips.
        TrainingError: a folder has no results of this split, or too few clips are scored.
    """
    from dfdc_prep.storage.workspace import local_file
    from training.data.shards import open_shards
    from training.evaluation.attributes import read_attributes
    from training.evaluation.comparison import Policy, write_comparison
    from training.evaluation.comparison import compare as compare_entries
    from training.evaluation.cross import numbered
    from training.measures.scores import clips_of_split
    from training.runs.folder import open_run

    columns: dict[str, list[str]] = {}
    for kind, name in column:
        columns.setdefault(kind, []).append(name)
    with ExitStack() as stack:
        opened = stack.enter_context(open_shards(as_location(shards), cache_gb))
        target = stack.enter_context(open_run(as_location(out or _OUT), names=(), writes=True))
        check_unused(target.folder, _is_own, "an earlier comparison")
        opened.files(split)  # it is there
        clips = clips_of_split(opened.rows())
        entries = [_entry(as_location(each), opened, clips, split, columns) for each in results]
        names = numbered([entry.name for entry in entries])
        entries = [e._replace(name=name) for e, name in zip(entries, names, strict=True)]
        given = None
        if attributes is not None:
            file = stack.enter_context(local_file(as_location(attributes)))
            of_split = clips.filter([each == split for each in clips["split"].to_pylist()])
            given = read_attributes(file, columns, of_split)
        where = {"set": opened.folder.resolve().name, "split": split}
        found = compare_entries(entries, where, Policy(missing, min_coverage), given)
        write_comparison(found, entries, target.folder)
    return found


def _is_own(name: str) -> bool:
    from dfdc_prep.run_files import COMPARISON_FILES

    return name in (*COMPARISON_FILES, RunFolder.CROSS, "report.txt", "scores", REPORT)


def _entry(
    location: Location,
    shards: "Shards",
    clips: "pa.Table",
    split: str,
    columns: dict[str, list[str]],
) -> "Entry":
    """The scores of a table, or of a folder of results."""
    from dfdc_prep.run_files import OperatingPoint, RunFiles
    from dfdc_prep.storage.workspace import local_file
    from manifests.errors import TrainingError
    from training.evaluation.comparison import Entry
    from training.measures.scores import SCORES, is_score_table, read_scores, scores_of_run
    from training.runs.folder import open_run

    if location.suffix.lower() in _TABLES:
        with local_file(location) as file:
            scores = read_scores(file, columns, clips, split)
        ours = is_score_table(location.name)  # which is called after its model
        name = location.name.rpartition(SCORES)[0] if ours else location.name
        return Entry(name, scores.table, elsewhere=scores.elsewhere)
    own = f"{shards.folder.resolve().name}-{split}"
    below = ("", f"{RunFolder.EVALUATIONS}/{own}/", f"{own}/")
    files = (RunFolder.METRICS, RunFolder.PREDICTIONS)
    names = (RunFolder.CONFIG, *(f"{folder}{name}" for folder in below for name in files))
    of_split = shards.rows(split)
    with open_run(location, names=names) as run:
        for folder in below:
            tested = RunFiles(run.folder / folder)
            found = scores_of_run(tested, of_split)
            if found is not None:
                recorded = tested.metrics()
                point = OperatingPoint(recorded.temperature, recorded.threshold)
                config = run.config() if run.config_file.is_file() else None
                return Entry(run.name, found, point, config)
    raise TrainingError(
        f"expected predictions for the {split} split of {shards} in {location}, found none of its "
        f"images; run dfdc-prep evaluate {location} {shards} --split {split}"
    )


main = command_of(compare)

if __name__ == "__main__":
    main()
