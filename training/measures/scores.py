"""Score tables: one row for each clip of a split, from a model of ours or of somebody else.

None is dropped: `status` is ok, missing (no row of the table is of the clip) or error (its row has
no score). Here a clip is a clip with a crop in the shards.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit, logit

from dfdc_prep.run_files import SCORE_COLUMNS, RunFiles
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.tables.external import read_unchanged
from manifests.tables.parquet import write_table
from manifests.wording import columns_found, counted, did_you_mean, listed
from training.measures.predictions import Bools, Floats, Ints, Level, clips_of, group_means

OK, ABSENT, ERROR = "ok", "missing", "error"
#: What a clip without a score counts as.
AS_CHANCE, LEFT_OUT = "as-chance", "left-out"
MISSING = (AS_CHANCE, "as-real", "as-fake", LEFT_OUT)
#: Names of the columns of a table from elsewhere, in lower case, the likeliest first.
NAMES = {
    "clip": (
        "clip", "video", "videoname", "video_name", "filename", "file_name", "file", "path",
        "file path", "file_path", "filepath", "video_path", "name",
    ),
    "part": ("part",),
    "score": ("score", "p_fake", "fake", "probability", "prob", "prediction", "pred"),
    "logit": ("logit",),
}  # fmt: skip
#: The columns of a table, by what they are: each the first of several that a table may have.
Columns = Mapping[str, Sequence[str]]
#: What the names of score tables end in, before their suffix.
SCORES = ".scores"
#: The score nearest to 0 or 1 that has a logit.
_EPSILON = float(np.finfo(np.float64).eps)


def clips_of_split(rows: pa.Table) -> pa.Table:
    """One row per clip of the rows of a shards manifest, as `Predictions.levels` orders them.

    Columns: part, video, label, family, identity, images and, as there, split.
    """
    _, first, images = np.unique(clips_of(rows), return_index=True, return_counts=True)
    names = ("part", "video", "label", "family", "identity", "split")
    clips = rows.select([n for n in names if n in rows.column_names]).take(pa.array(first))
    return clips.append_column("images", pa.array(images))


def score_table(clips: pa.Table, logits: Floats, named: Bools | None = None) -> pa.Table:
    """The table with SCORE_COLUMNS.

    Args:
        clips: from `clips_of_split`.
        logits: [N], NaN for a clip without a score.
        named: which clips the model's results name, [N]; None for all.
    """
    known = np.isfinite(logits)
    absent = np.full(len(logits), ERROR) if named is None else np.where(named, ERROR, ABSENT)
    values = {
        "status": pa.array(np.where(known, OK, absent).tolist()),
        "score": pa.array(expit(logits), mask=~known),
        "logit": pa.array(logits, mask=~known),
    }
    return pa.table({n: values[n] if n in values else clips[n] for n in SCORE_COLUMNS})


def write_scores(table: pa.Table, path: Path) -> None:
    """Write a score table as parquet, and as CSV beside it."""
    for suffix in (".parquet", ".csv"):
        write_table(table, path.with_suffix(suffix))


def is_score_table(name: str) -> bool:
    """Whether a file in a folder of score tables is one, by its name."""
    return name.endswith((f"{SCORES}.parquet", f"{SCORES}.csv"))


def level_of(table: pa.Table, missing: str) -> Level:
    """The clips of a score table, those without a score as `missing` says, one of MISSING.

    as-chance is neither a score of 0.5, which the labels of a good model lie on both sides of, so
    that a hard clip would gain by it, nor a lucky guess: the clip is called right by half, and
    every comparison with another clip counts half. Its log-loss and Brier score are those of 0.5.
    Clips that are left out are to be dropped by `Level.where`.
    """
    labels = np.array([LABELS.index(label) for label in table["label"].to_pylist()], np.int64)
    # Numbers in the order of the names, which are found faster.
    families = np.unique(table["family"].to_pylist(), return_inverse=True)[1]
    lacking = np.array([status != OK for status in table["status"].to_pylist()], np.bool_)
    logits = table["logit"].fill_null(0.0).to_numpy().astype(np.float64)
    if not lacking.any() or missing == LEFT_OUT:
        return Level(labels, logits, families)
    if missing == AS_CHANCE:
        return Level(labels, logits, families, lacking)
    surest = max(float(np.abs(logits).max()), float(-logit(_EPSILON)))
    return Level(
        labels, np.where(lacking, surest if missing == "as-fake" else -surest, logits), families
    )


class Scores(NamedTuple):
    """The scores of a split that a table from elsewhere has."""

    table: pa.Table  # `score_table`
    elsewhere: int  # rows of the table that are of clips of other splits


def read_scores(path: Path, columns: Columns, clips: pa.Table, split: str) -> Scores:
    """Read scores from elsewhere, a CSV or parquet file, as a score table of a split.

    Args:
        columns: the user's names of the columns clip, part, score and logit.
        clips: of all splits; rows for those of others are left out and counted.

    Raises:
        TableError: a column lacks, a score is not between 0 and 1, a name is of no clip or of
            several, a clip has two rows, or clips have faces of both labels.
    """
    named = pc.binary_join_element_wise(clips["part"], clips["video"], "/")
    if pc.count_distinct(named).as_py() < clips.num_rows:
        raise TableError(
            f"expected clips of one label for the scores in {path}, found clips whose faces are "
            "labelled one by one; shard crops that were extracted with --label-by clip"
        )
    table, found = read_named(path, columns, ("clip", "part", "score", "logit"))
    for kinds in (("clip",), ("part",), ("score", "logit")):
        given = [name for kind in kinds for name in columns.get(kind, ())]
        if given and not set(given) & set(table.column_names):
            raise TableError(
                f"expected the column {' or '.join(given)} in {path}, found "
                f"{columns_found(table.column_names, given[0])}; --column is repeated for tables "
                "with other names"
            )
    names = row_names(table, found, path)
    # A column that was named comes before one that is known by its name.
    value = next((found[k] for k in ("logit", "score") if found.get(k) in columns.get(k, ())), None)
    value = value or found.get("logit") or found.get("score")
    if value is None:
        raise TableError(
            f"expected a column of P(FAKE) in {path}, found {listed(table.column_names, 20)}; name "
            "it with --column score=NAME, and that of the clips with --column clip=NAME"
        )
    at = find_clips(names, clips, str(path))
    unknown = [name for name, index in zip(names, at.tolist(), strict=True) if index < 0]
    if unknown:
        known = {form for row in clips["video"].to_pylist() for form in (row, Path(row).stem)}
        meant = did_you_mean(Path(unknown[0]).name, sorted(known))
        raise TableError(
            f"expected the names of clips of these shards in {path}, found "
            f"{counted(len(unknown), 'other name')} in {counted(len(names), 'row')}: "
            f"{listed(unknown, 3)}; {f'{meant} ' if meant else ''}drop or rename them"
        )
    if twice := [index for index, count in Counter(at.tolist()).items() if count > 1]:
        raise TableError(
            f"expected one row per clip in {path}, found "
            f"{counted(len(twice), 'clip')} with several, as {clips['video'][twice[0]]}: results "
            "per clip are not compared with those per face or frame; give one score a clip"
        )
    logits = np.full(clips.num_rows, np.nan)
    logits[at] = _logits(table[value], value == found.get("logit"), value, path)
    of_split = pc.equal(clips["split"], split)
    mask = of_split.to_numpy(zero_copy_only=False)
    has_row = np.isin(np.arange(clips.num_rows), at)
    table = score_table(clips.filter(of_split), logits[mask], has_row[mask])
    return Scores(table, int((~mask[at]).sum()))


def read_named(
    path: Path, columns: Columns, kinds: Sequence[str], names: Columns = NAMES
) -> tuple[pa.Table, dict[str, str]]:
    """A CSV or parquet file, and which of its columns are of the kinds: {kind: column}.

    The names that the user gave come before those that are known.
    """
    wanted = {kind: (*columns.get(kind, ()), *names.get(kind, ())) for kind in kinds}
    table = read_unchanged(path, [*wanted.get("clip", ()), *wanted.get("part", ())])
    # Names given are exact, the others in any case.
    lower = {name.lower().strip(): name for name in reversed(table.column_names)}
    there = {**lower, **{name: name for name in table.column_names}}
    found = {kind: next((there[n] for n in wanted[kind] if n in there), None) for kind in kinds}
    return table, {kind: name for kind, name in found.items() if name is not None}


def row_names(table: pa.Table, found: Mapping[str, str], path: Path) -> list[str]:
    """The name of each row's clip, behind that of its part if the table has one."""
    if "clip" not in found:
        raise TableError(
            f"expected a column that names the clips in {path}, found "
            f"{listed(table.column_names, 20)}; name it with --column clip=NAME"
        )
    parts = table[found["part"]].to_pylist() if "part" in found else [""] * table.num_rows
    names = table[found["clip"]].to_pylist()
    return [
        f"{part or ''}/{name}".strip("/") if name is not None else ""
        for part, name in zip(parts, names, strict=True)
    ]


def find_clips(names: Sequence[str], clips: pa.Table, where: str) -> Ints:
    """The row of the clip of each name, [names], -1 for none.

    A name may have folders and an ending, or not. Of clips of one name in several parts, that one
    is meant whose part has most of the folders given.

    Raises:
        TableError: a name stands for several clips.
    """
    first, several = dict[str, int](), dict[str, list[int]]()
    for row, video in enumerate(clips["video"].to_pylist()):
        for form in (video, video.rpartition(".")[0] or video):
            other = first.setdefault(form, row)
            if other != row:
                several.setdefault(form, [other]).append(row)
    found = np.full(len(names), -1, np.int64)
    for position, name in enumerate(names):
        *folders, last = name.replace("\\", "/").strip().split("/")
        form = last if last in first else last.rpartition(".")[0]
        rows = several.get(form) or ([first[form]] if form in first else [])
        if len(rows) > 1:
            parts = [set(clips["part"][row].as_py().split("/")) for row in rows]
            shared = [len(part.intersection(folders)) for part in parts]
            rows = [row for row, n in zip(rows, shared, strict=True) if n == max(shared)]
        if len(rows) > 1:
            raise TableError(
                f"expected the name of one clip in {where}, found {name!r}, which is in "
                f"{listed(sorted(clips['part'][row].as_py() for row in rows))}; write PART/NAME"
            )
        if rows:
            found[position] = rows[0]
    return found


def _logits(column: Any, are_logits: bool, name: str, path: Path) -> Floats:
    """Scores as logits, NaN for a missing one."""
    try:
        values = column.cast(pa.float64()).fill_null(np.nan).to_numpy().astype(np.float64)
    except pa.ArrowException as error:
        raise TableError(
            f"expected numbers in the column {name} of {path}, found {column.type}; name another "
            "with --column score=NAME"
        ) from error
    if are_logits:
        return np.where(np.isfinite(values), values, np.nan)
    if outside := int(((values < 0) | (values > 1)).sum()):
        raise TableError(
            f"expected P(FAKE) from 0 to 1 in the column {name} of {path}, found "
            f"{counted(outside, 'other value')}; give probabilities, or logits with "
            f"--column logit={name}"
        )
    return logits_of(values)


def logits_of(scores: Floats) -> Floats:
    """The logits of P(FAKE); of 0 and 1 those of the scores nearest to them that have one."""
    found: Floats = logit(np.clip(scores, _EPSILON, 1 - _EPSILON))
    return found


def scores_of_run(files: RunFiles, rows: pa.Table) -> pa.Table | None:
    """The score table of finished predictions of a split.

    Args:
        rows: of the shards' manifest, of the split.

    Returns:
        None if there are no predictions, or of other images.
    """
    if not files.predictions_file.is_file():
        return None
    found = read_unchanged(files.predictions_file)
    if not {"path", "logit"} <= set(found.column_names) or found["path"] != rows["path"]:
        return None
    logits = found["logit"].to_numpy()
    return score_table(clips_of_split(rows), group_means(logits, clips_of(rows)))
