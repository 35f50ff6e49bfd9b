"""The tables of a faces folder: summarize, balance and split them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfdc_prep import options
from dfdc_prep.api.arguments import StrPath
from dfdc_prep.options import checked
from dfdc_prep.staging import Staged, balanced_crops, nothing, staged, tables
from manifests.folders import OTHER_KINDS, FacesFolder

if TYPE_CHECKING:
    from manifests.auditing.summary import Summary
    from manifests.balancing.balance import Balance, Strategy
    from manifests.splitting.split import Assignment


@checked(options.SUMMARY)
@staged(faces=Staged(tables(FacesFolder.MANIFEST, FacesFolder.CLIPS)))
def summarize(
    faces: StrPath = "faces", *, clips_from: str | None = None, real_is: int | None = None
) -> "Summary":
    """Count what a faces folder or a table contains.

    Args:
        faces: a faces folder, or a CSV or parquet table with the columns video (or videoname,
            or path), label and, if known, original.
        clips_from: of a table that does not name the clips: folder or name for those of the
            images, a column, or a regular expression (RE2) with a group (?P<clip>...) that is
            searched in the paths; None for video or videoname, else what the paths show.
        real_is: of a table: the number that stands for REAL among the labels; None for 0, unless
            words in the table contradict it.

    Raises:
        TableError: there is no table, or it cannot be used.
    """
    from manifests.auditing.summary import summarize as count
    from manifests.tables.external import Reading
    from manifests.tables.sources import TableSource

    source = TableSource.from_path(Path(faces))
    found = source.read(FacesFolder.MANIFEST, "extract", Reading(clips_from, real_is))
    return replace(count(found.rows, source.read_clip_log()), notes=found.notes)


@checked(options.BALANCE)
@staged(
    faces=Staged(tables(FacesFolder.MANIFEST, *OTHER_KINDS), writes=True),
    out=Staged(nothing, writes=True),
)
def balance(
    faces: StrPath = "faces",
    *,
    per_class: int | None = None,
    strategy: "Strategy" = "random",
    seed: int = 42,
    frames_per_clip: int | None = None,
    label_by: str = "clip",
    clips_from: str | None = None,
    real_is: int | None = None,
    out: StrPath | None = None,
) -> "Balance":
    """Choose as many REAL crops as FAKE crops; clips stay whole.

    Args:
        faces: a faces folder or a table, as for `summarize`.
        per_class: crops of each label; None for 16,000, or as many as the smaller class has.
        strategy: random, spread (fakes of as many originals as possible) or pairs (each fake
            with its original).
        seed: 0 to 2**32 - 1; the same seed chooses the same crops.
        frames_per_clip: frames taken of each clip, evenly spaced; None for all.
        label_by: clip, or face: a face of a fake that was not changed is REAL.
        clips_from, real_is: as for `summarize`.
        out: the CSV or parquet file to write; None for balanced.parquet in the faces folder,
            or balanced.csv in the working folder for a table.

    Raises:
        NotEnoughRows: a class has fewer crops than `per_class`.
        TableError: there is no table, or it cannot be used.
    """
    from manifests.balancing.balance import BalanceOptions
    from manifests.balancing.balance import balance as choose
    from manifests.tables.external import Reading
    from manifests.tables.parquet import write_table
    from manifests.tables.sources import TableSource, label_rows

    source = TableSource.from_path(Path(faces))
    target = source.output_path("balanced") if out is None else Path(out)
    found = source.read(FacesFolder.MANIFEST, "extract", Reading(clips_from, real_is))
    rows = label_rows(found.rows, label_by)
    report = choose(rows, BalanceOptions(per_class, strategy, seed, frames_per_clip))
    write_table(source.bound(report.table), target)
    return replace(report, out=target, notes=found.notes)


@checked(options.SPLIT)
@staged(
    faces=balanced_crops,
    out=Staged(nothing, writes=True),
)
def split(
    faces: StrPath = "faces",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    join_duplicates: bool = True,
    label_by: str = "clip",
    official: bool = False,
    clips_from: str | None = None,
    real_is: int | None = None,
    out: StrPath | None = None,
) -> "Assignment":
    """Give every balanced crop its split, and write only that table.

    Args:
        faces: a faces folder with balanced.parquet, or a table.
        split: train/validation/test, or named as in fit=70/dev=20/test=10.
        group_by: what stays in one split: original (a family), identity (an estimated person,
            see `identify`), a column, or none.
        seed: chooses among families of equal size.
        label_by: as for `balance`.
        official: take the split that the data set's own lists give; `split`, `group_by` and
            `seed` then have no effect.
        join_duplicates: put families whose crops are the same or nearly so into one split; the
            crops are the column `path`.
        clips_from, real_is: as for `summarize`.
        out: the CSV or parquet file to write; None for split.parquet in the faces folder, or
            split.csv in the working folder for a table.

    Raises:
        TableError: `split` or `group_by` cannot be used, there is no usable table, a group of
            people is larger than the smallest split, a split has no crops, or a crop has no
            official split.
    """
    from dfdc_prep.crops.files import path_inside
    from dfdc_prep.writing.pictures import read_pictures
    from manifests.identities.table import join_people
    from manifests.splitting.groups import drop_joined, join_families
    from manifests.splitting.sets import check_every_split, official_splits
    from manifests.splitting.split import (
        IDENTITY,
        SplitPlan,
        add_split_column,
        assign_splits,
        with_kinds,
    )
    from manifests.tables.external import Reading
    from manifests.tables.parquet import write_table
    from manifests.tables.sources import TableSource, label_rows

    plan = SplitPlan.parse(split, group_by, seed)
    source = TableSource.from_path(Path(faces))
    target = source.output_path("split") if out is None else Path(out)
    found = source.read(FacesFolder.BALANCED, "balance", Reading(clips_from, real_is))
    table = label_rows(found.rows, label_by)
    if group_by == IDENTITY and source.is_folder and not official:
        table = join_people(table, source.path)
    joins, pictures, table = None, None, drop_joined(table)
    if join_duplicates and group_by != "none" and not official:
        root = os.path.realpath(source.path if source.is_folder else source.path.parent)
        pictures = read_pictures(table, lambda path: path_inside(root, path))
        table, joins = join_families(table, plan, pictures)
    report = official_splits(table) if official else assign_splits(table, plan)
    report = with_kinds(report, table, joins, pictures)
    if not official:
        check_every_split(report.names, plan.names)
    write_table(source.bound(add_split_column(table, report)), target)
    return replace(report, out=target, notes=found.notes)
