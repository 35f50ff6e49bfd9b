"""The tables of a faces folder: summarize, balance and split them."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from dfdc_prep.commands.declaration import Given, command
from dfdc_prep.commands.options import (
    TABLE_FILE,
    ClipsFrom,
    CountParam,
    Faces,
    GroupBy,
    JoinDuplicates,
    LabelBy,
    RealIs,
    Seed,
    Split,
    StrPath,
)
from dfdc_prep.commands.terminal import report_hint
from dfdc_prep.storage.urls import is_folder
from dfdc_prep.storage.workspace import Push, Staged, staged
from manifests.folders import OTHER_KINDS, FacesFolder

if TYPE_CHECKING:
    from manifests.auditing.summary import Summary
    from manifests.balancing.balance import Balance, Strategy
    from manifests.splitting.split import Assignment


def _report_of_folder(result: "Summary", given: Given) -> Iterator[str]:
    if is_folder(given["faces"]):
        yield report_hint(given["faces"])


@command("summary", hints=_report_of_folder, has_json=True)
@staged(faces=Staged([FacesFolder.MANIFEST, FacesFolder.CLIPS]))
def summarize(
    faces: Faces = "faces", *, clips_from: ClipsFrom = None, real_is: RealIs = None
) -> "Summary":
    """Print what FACES contains: the paper's Table 1, classes, families, yield, face sizes.

    FACES is a faces folder, or a bare table: any CSV or parquet file with the columns
    video (or videoname, or path), label and, if known, original.

    \b
    Example:
      dfdc-prep summary
      dfdc-prep summary metadata.csv --json

    Raises:
        TableError: there is no table, or it cannot be used.
    """
    from manifests.auditing.summary import summarize as count
    from manifests.tables.external import Reading
    from manifests.tables.parquet import read_clip_log
    from manifests.tables.sources import TableSource

    source = TableSource.from_path(Path(faces))
    found = source.read(FacesFolder.MANIFEST, "extract", Reading(clips_from, real_is))
    log = read_clip_log(source.path, source.manifest)
    return replace(count(found.rows, log), notes=found.notes)


@command()
@staged(faces=Staged([FacesFolder.MANIFEST, *OTHER_KINDS], Push()), out=Staged((), Push()))
def balance(
    faces: Faces = "faces",
    *,
    per_class: Annotated[int | None, CountParam(1)] = None,
    strategy: Annotated["Strategy", click.Choice(["random", "spread", "pairs"])] = "random",
    seed: Seed = 42,
    frames_per_clip: Annotated[int | None, CountParam(1)] = None,
    label_by: LabelBy = "clip",
    clips_from: ClipsFrom = None,
    real_is: RealIs = None,
    out: Annotated[StrPath | None, TABLE_FILE] = None,
) -> "Balance":
    """Choose as many REAL crops of FACES as FAKE ones.

    Clips stay whole unless --frames-per-clip thins them. The same seed chooses the same crops,
    whatever the order of the rows. FACES may be a bare table, as for summary.

    \b
    Example:
      dfdc-prep balance
      dfdc-prep balance --strategy spread --per-class 2000
      dfdc-prep balance metadata.csv --out balanced.csv

    Args:
        per_class: Crops of each label. None: 16000, or as many as the smaller class has.
        strategy: Random clips; fakes of as many originals as possible; or each fake with its
            original.
        frames_per_clip: Frames taken of each clip, evenly spaced. None: all.
        out: The CSV or parquet file to write. None: FACES/balanced.parquet; for a bare table,
            balanced.csv here.

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


def _balanced_crops(arguments: Given) -> Staged:
    """What `split` reads of a faces folder: the crops only if it compares them."""
    names = (FacesFolder.BALANCED, FacesFolder.IDENTITIES, FacesFolder.MANIFEST, *OTHER_KINDS)
    if arguments["join_duplicates"] and not arguments["official"]:
        return Staged(lambda mirror: mirror.pull_crops(*names), Push())
    return Staged(names, Push())


@command()
@staged(faces=_balanced_crops, out=Staged((), Push()))
def split(
    faces: Faces = "faces",
    *,
    split: Split = "56/24/20",
    group_by: GroupBy = "original",
    seed: Seed = 42,
    join_duplicates: JoinDuplicates = True,
    label_by: LabelBy = "clip",
    official: bool = False,
    clips_from: ClipsFrom = None,
    real_is: RealIs = None,
    out: Annotated[StrPath | None, TABLE_FILE] = None,
) -> "Assignment":
    """Give every balanced crop of FACES its split, and write only that table.

    The counts of each label are exact if whole families allow it; otherwise they are the
    nearest possible, and the shortfall is printed. `--group-by none` is the paper's own random
    split, which leaks; the leak is printed. FACES may be a bare table, as for summary.

    \b
    Example:
      dfdc-prep split
      dfdc-prep split --split 80/10/10 --group-by part
      dfdc-prep split balanced.csv --group-by none --out paper.csv
      dfdc-prep split faces_ff --official

    Args:
        official: Take the data set's own split; --split, --group-by and --seed have no effect.
        out: The CSV or parquet file to write. None: FACES/split.parquet; for a bare table,
            split.csv here.

    Raises:
        TableError: `split` or `group_by` cannot be used, there is no usable table, a group of
            people is larger than the smallest split, a split has no crops, or a crop has no
            official split.
    """
    from dfdc_prep.crops.files import path_inside
    from dfdc_prep.writing.sources import read_pictures
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
        table, joins = join_families(table, plan.group_by, plan.weights.min(), pictures)
    report = official_splits(table) if official else assign_splits(table, plan)
    report = with_kinds(report, table, joins, pictures)
    if not official:
        check_every_split(report.names, plan.names)
    write_table(source.bound(add_split_column(table, report)), target)
    return replace(report, out=target, notes=found.notes)
