"""What is in a table: the paper's Table 1, classes, families, yield, face sizes, oddities."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import FAKE, LABELS
from manifests.tables import families
from manifests.tables.factorize import Codes, encode, labels, pair
from manifests.tables.kaggle_csv import metadata

#: Which quantiles of sizes are given: smallest, quartiles with the median, largest.
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Column:
    """A row of the paper's Table 1: what one column of metadata.csv holds."""

    name: str
    dtype: str
    count: int
    unique: int
    missing: int
    missing_percent: float


@dataclass(frozen=True)
class Yield:
    """Clips of one label in one part; how many gave a face where the clip log tells, else None."""

    part: str
    label: str | None
    clips: int
    with_faces: int | None
    crops: int


@dataclass(frozen=True)
class Spread:
    """How a number is spread: five quantiles and the mean."""

    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float
    mean: float


@dataclass(frozen=True)
class Summary:
    """What is in a table.

    Attributes:
        columns: the paper's Table 1.
        classes: rows of each label.
        clips: distinct clips of each label.
        families: how many there are.
        family_sizes: rows a family.
        fakes_per_original: fake clips of each original that has any.
        yields: clips and crops of each part and label; crops alone where no clip log is.
        face_sizes: the longer side of the crop before it was scaled, source pixels.
        oddities: what is not as it should be, and how often; only what occurs.
    """

    columns: list[Column]
    classes: dict[str, int]
    clips: dict[str, int]
    families: int
    family_sizes: Spread
    fakes_per_original: Spread | None
    yields: list[Yield]
    face_sizes: Spread | None
    oddities: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, for machines."""
        return asdict(self)

    def text(self) -> str:
        """The tables, one below the other."""
        lines = ["column            dtype      count   unique  missing#  missing%"]
        lines += [
            f"{column.name:<17} {column.dtype:<7} {column.count:>8,} {column.unique:>8,} "
            f"{column.missing:>9,} {column.missing_percent:>9.2f}"
            for column in self.columns
        ]
        lines += [
            f"{label}: {rows:,} crops of {self.clips[label]:,} clips"
            for label, rows in self.classes.items()
        ]
        lines.append(f"families: {self.families:,}")
        lines += _spread("crops a family", self.family_sizes)
        lines += _spread("fakes an original", self.fakes_per_original)
        lines += _spread("face size, pixels", self.face_sizes)
        lines += [_yield(one) for one in self.yields]
        return "\n".join([*lines, *(f"{what}: {rows:,}" for what, rows in self.oddities.items())])


def summarize(table: pa.Table, clip_log: pa.Table | None = None) -> Summary:
    """Count what is in a manifest or a bare table.

    Args:
        table: with the columns video, label, original; a family column is believed.
        clip_log: the clips the crops were looked for in, for the yield.

    Raises:
        TableError: no row, or a label other than REAL and FAKE.
    """
    label = labels(table)
    (video, family), _ = encode(table["video"], families.of(table))
    clip, first = np.unique(pair(video, label), return_index=True)
    made = first[label[first] == LABELS.index(FAKE)]
    return Summary(
        [_column(name, column) for name, column in _columns(metadata(table))],
        _per_label(label),
        _per_label(label[first]),
        len(np.unique(family)),
        _spread_of(np.unique(family, return_counts=True)[1]),
        _spread_of(np.unique(family[made], return_counts=True)[1]) if len(made) else None,
        _yields(table, clip_log),
        _face_sizes(metadata(table)),
        _oddities(table, len(clip) - len(np.unique(video))),
    )


def _columns(table: pa.Table) -> list[tuple[str, pa.ChunkedArray]]:
    return list(zip(table.column_names, table.columns, strict=True))


def _column(name: str, values: pa.ChunkedArray) -> Column:
    """Counts as pandas gives them: `count` and `unique` leave missing values out."""
    missing = values.null_count
    dtype = "object"
    if pa.types.is_integer(values.type):
        dtype = "int64"
    elif pa.types.is_floating(values.type):
        dtype = "float64"
    count = len(values) - missing
    unique = pc.count_distinct(values, mode="only_valid").as_py()
    return Column(name, dtype, count, unique, missing, 100 * missing / len(values))


def _per_label(label: Codes) -> dict[str, int]:
    return dict(zip(LABELS, np.bincount(label, minlength=len(LABELS)).tolist(), strict=True))


def _yields(table: pa.Table, clip_log: pa.Table | None) -> list[Yield]:
    log = _crops_a_clip(table) if clip_log is None else clip_log
    seen = pc.greater(log["faces"], 0).cast(pa.int64())
    rows = log.append_column("seen", seen).group_by(["part", "label"])
    counted = rows.aggregate([("video", "count"), ("seen", "sum"), ("faces", "sum")])
    counted = counted.sort_by([("part", "ascending"), ("label", "ascending")])
    return [
        Yield(
            row["part"],
            row["label"],
            row["video_count"],
            None if clip_log is None else row["seen_sum"],
            row["faces_sum"],
        )
        for row in counted.to_pylist()
    ]


def _crops_a_clip(table: pa.Table) -> pa.Table:
    """As much of a clip log as the crops alone can tell."""
    if "part" not in table.column_names:
        table = table.append_column("part", pa.repeat(pa.scalar(""), table.num_rows))
    counted = table.group_by(["part", "video", "label"]).aggregate([([], "count_all")])
    return counted.rename_columns({"count_all": "faces"})


def _yield(one: Yield) -> str:
    what = f"{one.part or 'no part'} {one.label or 'no label'}: {one.crops:,} crops"
    if one.with_faces is None:
        return f"{what} of {one.clips:,} clips"
    return f"{what}, {one.with_faces:,} of {one.clips:,} clips with a face"


def _face_sizes(sizes: pa.Table) -> Spread | None:
    sides = [
        pc.cast(sizes[name], pa.float64(), safe=False)
        for name in ("original_width", "original_height")
        if name in sizes.column_names
    ]
    longer = pc.max_element_wise(*sides).drop_null().to_numpy() if sides else np.empty(0)
    longer = longer[np.isfinite(longer)]
    return _spread_of(longer) if len(longer) else None


def _spread_of(values: Any) -> Spread:
    least, quarter, median, three_quarters, most = np.quantile(values, _QUANTILES).tolist()
    return Spread(least, quarter, median, three_quarters, most, float(np.mean(values)))


def _spread(what: str, spread: Spread | None) -> list[str]:
    if spread is None:
        return []
    least, *inner, most, mean = asdict(spread).values()
    middle = ", ".join(f"{value:g}" for value in inner)
    return [f"{what}: {least:g} to {most:g}, quartiles {middle}, mean {mean:.2f}"]


def _oddities(table: pa.Table, both_labels: int) -> dict[str, int]:
    fake = pc.equal(table["label"], FAKE)
    told = pc.is_valid(table["original"])
    made = pc.filter(table["video"], pc.and_(fake, told))
    circle = pc.is_in(families.of(table), made)
    made_of_fake = pc.is_in(table["original"], table["video"].filter(fake))
    repeated = table.num_rows - pc.count_distinct(table["video"]).as_py()
    one_frame = "frame" not in table.column_names and "path" not in table.column_names
    found = {
        "FAKE without an original": pc.sum(pc.and_(fake, pc.invert(told))),
        "REAL with an original, not believed": pc.sum(pc.and_(pc.invert(fake), told)),
        "FAKE whose original is a FAKE": pc.sum(pc.and_(fake, made_of_fake)),
        "FAKE whose originals go round in a circle": pc.sum(pc.and_(fake, circle)),
        "further rows of a name": pa.scalar(repeated if one_frame else 0),
        "names with both labels": pa.scalar(both_labels),
    }
    return {what: rows.as_py() for what, rows in found.items() if rows.as_py()}
