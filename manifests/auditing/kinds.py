"""Whether splits are the same in kind: large families, parts, methods, faces and light in each.

For each split, the mean over its families, whose crops go to one split together, is compared with
the mean over all: z is their difference in standard deviations of what drawing as many families at
random gives, without replacement.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.pictures.thumbnails import Pictures
from manifests.tables.codes import Codes, Mask, factorize, text_column
from manifests.wording import aligned

Values = npt.NDArray[np.float64]

#: Most values of a column that are compared, the most frequent ones; most rows of a table.
_MAX_VALUES, _MAX_ROWS = 50, 1_000_000


@dataclass(frozen=True)
class Difference:
    """How much the splits differ in one measure, over families."""

    measure: str  # with its unit
    means: dict[str, float]  # over the families of each split
    split: str  # the one that differs most from all families
    by: float
    z: float  # `by` in standard deviations; beyond 3 it is hardly chance


def kind_lines(differences: Sequence[Difference]) -> list[str]:
    """Describe the differences for the terminal."""
    if not differences:
        return ["kinds of the splits: not compared"]
    most = max(abs(difference.z) for difference in differences)
    alike = "alike in kind" if most <= 3 else "not alike in kind"
    head = f"the splits are {alike}: largest |z| {most:.1f}"
    header = ["  mean over families", *differences[0].means, "differs most", "by", "z"]
    rows = (
        [
            f"  {each.measure}",
            *(f"{mean:.3g}" for mean in each.means.values()),
            *(each.split, f"{each.by:+.2g}", f"{each.z:+.1f}"),
        ]
        for each in differences
    )
    return [head, *aligned(header, rows)]


def compare_kinds(
    table: pa.Table,
    family: Codes,
    split: Codes,
    names: tuple[str, ...],
    pictures: Pictures | None = None,
) -> list[Difference]:
    """Compare the splits by every measure that the table has; not those of over 1,000,000 rows.

    Of the columns `part` and `method`, the value that differs most is returned. `family` and
    `split` are int64 [rows]; brightness and sharpness are those of the pictures.
    """
    if table.num_rows > _MAX_ROWS:
        return []
    cell = family * len(names) + split
    rows_of_cell = np.bincount(cell)
    used = np.flatnonzero(rows_of_cell)
    position = np.empty(len(rows_of_cell), np.int64)
    position[used] = np.arange(len(used))
    crops = rows_of_cell[used].astype(np.float64)
    units = _Units(position[cell], used % len(names), names)
    differences = [units.compare("crops per family", crops, crops > 0)]
    for measure, values in _measures(table, pictures):
        known = np.isfinite(values)
        rows = np.bincount(units.of_row[known], minlength=len(units.split))
        sums = np.bincount(units.of_row[known], values[known], len(units.split))
        differences.append(units.compare(measure, sums / np.maximum(rows, 1), rows > 0))
    differences += [_compare_column(table, column, units) for column in ("part", "method")]
    return [each for each in differences if each is not None]


@dataclass(frozen=True)
class _Units:
    """The families, once for each split that has rows of them."""

    of_row: Codes  # [rows], the unit of each row
    split: Codes  # [units]
    names: tuple[str, ...]  # of the splits

    def count(self, known: Mask | Codes) -> Codes:
        """Count the units of each split that are known, int64 [splits]."""
        return np.bincount(self.split[known], minlength=len(self.names)).astype(np.int64)

    def compare(self, measure: str, values: Values, known: Mask) -> Difference | None:
        """Compare the values of the units that are known, float64 and bool [units]."""
        split, values = self.split[known], values[known]
        center = float(values.mean()) if len(values) else 0.0  # squares of large values lose digits
        sums: Values = np.bincount(split, values - center, len(self.names)).astype(np.float64)
        squares = float(((values - center) ** 2).sum())
        return self.difference(measure, sums, squares, self.count(known), center)

    def difference(
        self, measure: str, sums: Values, squares: float, counts: Codes, center: float = 0.0
    ) -> Difference | None:
        """Compare the means of the splits; None if all values are equal.

        `sums` [splits] and `squares` are of the values less `center`.
        """
        total = int(counts.sum())
        if total < 2 or not counts.all() or len(self.names) < 2:
            return None
        mean = sums.sum() / total
        variance = squares / total - mean**2
        if variance <= 1e-12 * max(squares / total, 1e-300):
            return None
        means = sums / counts
        drawn = np.sqrt((total - counts) / (counts * (total - 1)))
        z = (means - mean) / (np.sqrt(variance) * drawn)
        most = int(np.abs(z).argmax())
        by_split = dict(zip(self.names, (means + center).tolist(), strict=True))
        by = float(means[most] - mean)
        return Difference(measure, by_split, self.names[most], by, float(z[most]))


def _measures(table: pa.Table, pictures: Pictures | None) -> Iterator[tuple[str, Values]]:
    for sides in (("w", "h"), ("original_width", "original_height")):
        if all(side in table.column_names for side in sides):
            longer = pc.max_element_wise(*(table[side].cast(pa.float64()) for side in sides))
            yield "face size, pixels", longer.fill_null(np.nan).to_numpy()
            break
    if pictures is not None and len(pictures.rows):
        for name, measure in (("brightness, grey levels", np.mean), ("sharpness", _sharpness)):
            values = np.full(table.num_rows, np.nan)
            grey = (thumbnail.astype(np.float64) for thumbnail in pictures.thumbnails)
            values[pictures.rows] = [measure(thumbnail) for thumbnail in grey]
            yield name, values


def _sharpness(thumbnail: Values) -> float:
    """The standard deviation of the Laplacian, grey levels."""
    twice = (np.gradient(np.gradient(thumbnail, axis=axis), axis=axis) for axis in (0, 1))
    return float(np.add(*twice).std())


def _compare_column(table: pa.Table, column: str, units: _Units) -> Difference | None:
    """Compare the shares of a family's rows with the value of a column that differs most."""
    if column not in table.column_names:
        return None
    (code,), values = factorize(text_column(table, column))
    if len(values) < 2:
        return None
    unit, value, share = _shares(units, code, len(values))
    known = np.zeros(len(units.split), bool)
    known[unit] = True
    splits = len(units.names)
    cells = value * splits + units.split[unit]
    sums: Values = np.bincount(cells, share, len(values) * splits).astype(np.float64)
    sums = sums.reshape(len(values), splits)
    squares = np.bincount(value, share**2, len(values)).tolist()
    counts = units.count(known)
    differences = [
        units.difference(f"share of {column} {values[at].as_py()}", sums[at], squares[at], counts)
        for at in np.argsort(-sums.sum(axis=1), kind="stable")[:_MAX_VALUES].tolist()
    ]
    return max((one for one in differences if one), key=lambda one: abs(one.z), default=None)


def _shares(units: _Units, code: Codes, values: int) -> tuple[Codes, Codes, Values]:
    """Return the units and values that occur together, and the share of the unit's rows."""
    given = code >= 0
    of, code = (units.of_row, code) if given.all() else (units.of_row[given], code[given])
    only = np.full(len(units.split), -1)
    only[of] = code
    if (only[of] == code).all():  # a family is of one part
        unit = np.flatnonzero(only >= 0)
        return unit, only[unit], np.ones(len(unit))
    pair, rows = np.unique(of * values + code, return_counts=True)
    unit = pair // values
    return unit, pair % values, rows / np.bincount(of)[unit]
