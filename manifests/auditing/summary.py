"""Summary of a table: the paper's Table 1, classes, families, yields, face sizes, oddities."""

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import FAKE, LABELS
from manifests.relatives import FamilyCounts, OriginalMatches
from manifests.result import Result, TextTable
from manifests.tables import families, sources
from manifests.tables.codes import (
    Codes,
    clip_codes,
    clips_known,
    factorize,
    label_codes,
    pair_codes,
)
from manifests.tables.families import count_families
from manifests.tables.parquet import kaggle_table
from manifests.wording import aligned, counted


@dataclass(frozen=True)
class ColumnStats:
    """A row of the paper's Table 1: statistics of one column of metadata.csv."""

    name: str
    dtype: str
    count: int
    unique: int
    missing: int
    missing_percent: float


_YIELDS = ("crops", "clips", "with a face")


@dataclass(frozen=True)
class ClipYield:
    """Clips and crops of one label in one part."""

    part: str
    label: str | None
    clips: int | None  # None if it is not known what is a clip
    with_faces: int | None  # clips in which a face was found; None without a clip log
    crops: int

    def row(self) -> tuple[object, ...]:
        """The row of a table: part, label, crops, clips, clips with a face."""
        known = ("" if count is None else count for count in (self.clips, self.with_faces))
        return (self.part or "no part", self.label or "no label", self.crops, *known)


@dataclass(frozen=True)
class Distribution:
    """Five quantiles and the mean of a quantity."""

    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float
    mean: float

    @classmethod
    def of(cls, values: Any) -> Self:
        """That of some numbers, at least one."""
        least, low, median, high, most = np.quantile(values, (0.0, 0.25, 0.5, 0.75, 1.0)).tolist()
        return cls(least, low, median, high, most, float(np.mean(values)))

    @classmethod
    def of_groups(cls, group: Codes) -> Self | None:
        """That of the number of rows of each group; None if there is none."""
        return cls.of(np.unique(group, return_counts=True)[1]) if len(group) else None

    def figures(self) -> list[str]:
        """The numbers in the order of their declaration."""
        return [*(f"{each:g}" for each in astuple(self)[:-1]), f"{self.mean:.2f}"]


@dataclass(frozen=True)
class ForgedFaces:
    """Crops of fakes, by whether their face was changed."""

    forged: int
    untouched: int
    unknown: int  # not compared
    clips_untouched: int  # all of whose crops are: if every face was kept, only the sound is fake

    def lines(self) -> list[str]:
        """The counts in two lines."""
        return [
            f"faces of FAKE clips: {self.forged:,} forged, {self.untouched:,} untouched "
            f"(REAL with --label-by face), {self.unknown:,} unknown",
            f"FAKE clips without a forged face (audio only, if every face was kept): "
            f"{self.clips_untouched:,}",
        ]


@dataclass(frozen=True)
class Summary(Result):
    """Statistics of a table; None where it is not known what is a clip."""

    columns: list[ColumnStats]  # the paper's Table 1
    classes: dict[str, int]  # rows of each label
    clips: dict[str, int] | None  # of each label
    families: int | None  # without the FAKE clips whose family is not known
    family_sizes: Distribution | None  # rows
    fakes_per_original: Distribution | None  # clips, of originals that have any
    yields: list[ClipYield]  # of each part and label
    face_sizes: Distribution | None  # longer side of the crop before scaling, source pixels
    oddities: dict[str, int]  # rows of each kind of inconsistency that occurs
    forged_faces: ForgedFaces | None  # None if none was compared
    fakes: FamilyCounts
    originals: OriginalMatches
    notes: tuple[str, ...] = ()  # how the table was read, where it does not say it itself

    def as_json(self) -> dict[str, Any]:
        """Return the summary as values for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Format the summary for the terminal."""
        rows = ((*astuple(each)[:-1], f"{each.missing_percent:.2f}") for each in self.columns)
        columns = aligned(self.cells().header, rows)
        return "\n".join([*self.notes, *columns, *self.details()])

    def parts(self) -> Iterable[TextTable | str]:
        return [*self.notes, self.cells(), *self.details()]

    def cells(self) -> TextTable:
        header = ("column", "dtype", "count", "unique", "missing", "missing %")
        return TextTable(header, [list(vars(column).values()) for column in self.columns])

    def details(self) -> list[str]:
        """The lines below the table of columns: classes, families, yields, oddities."""
        lines = [f"{label}: {crops}" for label, crops in self._crops().items()]
        lines += [self._families(), *self.fakes.lines(), *self.originals.lines()]
        quantities = {
            "crops per family": self.family_sizes,
            "fakes per original": self.fakes_per_original,
            "face size, pixels": self.face_sizes,
        }
        rows = [(name, *each.figures()) for name, each in quantities.items() if each]
        header = ("", "least", "quarter", "median", "three quarters", "most", "mean")
        lines += aligned(header, rows) if rows else []
        lines += aligned(("part", "label", *_YIELDS), map(ClipYield.row, self.yields))
        lines += self.forged_faces.lines() if self.forged_faces else []
        return [*lines, *(f"{what}: {rows:,}" for what, rows in self.oddities.items())]

    def caption(self) -> str:
        """Crops, clips and families in one line."""
        crops = ", ".join(f"{label}: {crops}" for label, crops in self._crops().items())
        return f"{crops}; {self._families()}"

    def _families(self) -> str:
        return f"families: {'not known' if self.families is None else f'{self.families:,}'}"

    def _crops(self) -> dict[str, str]:
        """Crops, and clips if they are known, of each label."""
        return {
            label: counted(rows, "crop")
            + (f" of {counted(self.clips[label], 'clip')}" if self.clips else "")
            for label, rows in self.classes.items()
        }


def summarize(table: pa.Table, clip_log: pa.Table | None = None) -> Summary:
    """Compute the statistics of a manifest or a bare table.

    Args:
        clip_log: all clips that were searched for faces, for the yields.

    Raises:
        TableError: the table has no rows, or a label other than REAL and FAKE.
    """
    label = label_codes(table)
    (family,), _ = factorize(families.family_column(table))
    clip = clip_codes(table)
    labelled, first = np.unique(pair_codes(clip, label), return_index=True)
    related = ~families.unknown_fakes(table)
    # One row of each fake clip of a known family.
    fakes = first[(label[first] == LABELS.index(FAKE)) & related[first]]
    known = clips_known(table)
    kaggle = kaggle_table(table)
    classes, clips = (
        dict(zip(LABELS, np.bincount(labels, minlength=len(LABELS)).tolist(), strict=True))
        for labels in (label, label[first])
    )
    return Summary(
        [_column_stats(name, kaggle[name]) for name in kaggle.column_names],
        classes,
        clips if known else None,
        len(np.unique(family[related])) if known else None,
        Distribution.of_groups(family[related]) if known else None,
        Distribution.of_groups(family[fakes]) if known else None,
        _yields(table, clip_log),
        _face_sizes(kaggle),
        _oddities(table, clip, len(labelled)),
        _forged_faces(table),
        count_families(table, clip),
        families.connected_families(table).matches,
    )


def _forged_faces(table: pa.Table) -> ForgedFaces | None:
    if not sources.forgery_known(table):
        return None
    fakes = table.filter(pc.equal(table["label"], FAKE))
    is_untouched = sources.untouched_faces(fakes)
    untouched, unknown = int(pc.sum(is_untouched).as_py() or 0), fakes["forged"].null_count
    # Clips all of whose crops are untouched.
    keys = [name for name in ("part", "video") if name in fakes.column_names]
    marked = fakes.select(keys).append_column("untouched", is_untouched.cast(pa.int64()))
    clips = marked.group_by(keys).aggregate([("untouched", "min")])
    clips_untouched = int(pc.sum(clips["untouched_min"]).as_py() or 0)
    return ForgedFaces(fakes.num_rows - untouched - unknown, untouched, unknown, clips_untouched)


def _column_stats(name: str, values: pa.ChunkedArray) -> ColumnStats:
    """Count as pandas does: `count` and `unique` exclude missing values."""
    missing, kind = values.null_count, values.type
    is_float = pa.types.is_floating(kind)
    dtype = "int64" if pa.types.is_integer(kind) else "float64" if is_float else "object"
    unique = pc.count_distinct(values, mode="only_valid").as_py()
    percent = 100 * missing / len(values)
    return ColumnStats(name, dtype, len(values) - missing, unique, missing, percent)


def _yields(table: pa.Table, clip_log: pa.Table | None) -> list[ClipYield]:
    log = clip_log
    if log is None:  # its columns, from the crops
        if "part" not in table.column_names:
            table = table.append_column("part", pa.repeat(pa.scalar(""), table.num_rows))
        log = table.group_by(["part", "video", "label"]).aggregate([([], "count_all")])
        log = log.rename_columns({"count_all": "faces"})
    has_face = pc.greater(log["faces"], 0).cast(pa.int64())
    rows = log.append_column("has_face", has_face).group_by(["part", "label"])
    counted = rows.aggregate([("video", "count"), ("has_face", "sum"), ("faces", "sum")])
    counted = counted.sort_by([("part", "ascending"), ("label", "ascending")])
    known = clips_known(table)
    return [
        ClipYield(
            row["part"],
            row["label"],
            row["video_count"] if known else None,
            row["has_face_sum"] if known and clip_log is not None else None,
            row["faces_sum"],
        )
        for row in counted.to_pylist()
    ]


def _face_sizes(sizes: pa.Table) -> Distribution | None:
    sides = [
        pc.cast(sizes[name], pa.float64(), safe=False)
        for name in ("original_width", "original_height")
        if name in sizes.column_names
    ]
    longer = pc.max_element_wise(*sides).drop_null().to_numpy() if sides else np.empty(0)
    longer = longer[np.isfinite(longer)]
    return Distribution.of(longer) if len(longer) else None


def _oddities(table: pa.Table, clip: Codes, labelled_clips: int) -> dict[str, int]:
    """Count inconsistent rows; `labelled_clips` counts the clips of both labels twice."""
    clips = int(clip.max()) + 1
    fake = pc.equal(table["label"], FAKE)
    has_original = pc.is_valid(table["original"])
    derived = pc.filter(table["video"], pc.and_(fake, has_original))
    # The family of a cycle is named after one of its fakes.
    in_cycle = pc.is_in(families.family_column(table), derived)
    original_is_fake = pc.is_in(table["original"], table["video"].filter(fake))
    repeated = table.num_rows - clips
    one_frame = "frame" not in table.column_names and "path" not in table.column_names
    found = {
        "FAKE without an original": pc.sum(pc.and_(fake, pc.invert(has_original))),
        "REAL with an original, which is ignored": pc.sum(pc.and_(pc.invert(fake), has_original)),
        "FAKE whose original is a FAKE": pc.sum(pc.and_(fake, original_is_fake)),
        "FAKE whose originals form a cycle": pc.sum(pc.and_(fake, in_cycle)),
        "further rows of a name": pa.scalar(repeated if one_frame else 0),
        "names with both labels": pa.scalar(labelled_clips - clips),
    }
    return {what: rows.as_py() for what, rows in found.items() if rows.as_py()}
