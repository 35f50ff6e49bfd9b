"""Whether splits are the same in kind: large families, parts, methods, faces and light in each.

The unit is a family, since its crops go to one split together. For each split, the mean over its
families is compared with the mean over all: z is their difference in standard deviations of what
drawing as many families at random gives, without replacement.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.pictures.thumbnails import Pictures
from manifests.tables.factorize import Codes, factorize, text_column

Values = npt.NDArray[np.float64]

#: Most values of a column that are compared; the most frequent ones.
_MAX_VALUES = 50
#: Most rows of a table whose splits are compared.
_MAX_ROWS = 1_000_000


@dataclass(frozen=True)
class Difference:
    """How much the splits differ in one measure.

    Attributes:
        measure: what is measured, with its unit.
        means: the mean over the families of each split.
        split: the split that differs most from all families.
        by: by how much.
        z: the same in standard deviations; beyond 3 it is hardly chance.
    """

    measure: str
    means: dict[str, float]
    split: str
    by: float
    z: float

    def text(self) -> str:
        """Describe it in one line."""
        means = ", ".join(f"{value:.3g} in {split}" for split, value in self.means.items())
        return f"{self.measure}: {means}; {self.split} differs by {self.by:+.2g}, z {self.z:+.1f}"


def kind_lines(differences: Sequence[Difference]) -> list[str]:
    """Describe the differences for the terminal."""
    if not differences:
        return ["kinds of the splits: not compared"]
    most = max(abs(each.z) for each in differences)
    alike = "alike in kind" if most <= 3 else "not alike in kind"
    head = f"the splits are {alike}: means over families, largest |z| {most:.1f}"
    return [head, *(f"  {each.text()}" for each in differences)]


def compare_kinds(
    table: pa.Table,
    family: Codes,
    split: Codes,
    names: tuple[str, ...],
    pictures: Pictures | None = None,
) -> list[Difference]:
    """Compare the splits by every measure that the table has; not those of over 1,000,000 rows.

    Of the column `part`, and of `method`, the value that differs most is returned.

    Args:
        family, split: int64 [rows].
        pictures: of rows of the table, for brightness and sharpness; None if none were read.
    """
    if table.num_rows > _MAX_ROWS:
        return []
    unit = family * len(names) + split
    families = np.bincount(unit, minlength=(int(family.max()) + 1) * len(names))
    found = [_compare_families("crops per family", families.astype(float), families > 0, names)]
    for measure, values in _measures(table, pictures):
        found.append(_compare_rows(measure, values, unit, len(families), names))
    found += [_compare_column(table, column, unit, names) for column in ("part", "method")]
    return [each for each in found if each is not None]


def _measures(table: pa.Table, pictures: Pictures | None) -> Iterator[tuple[str, Values]]:
    for sides in (("w", "h"), ("original_width", "original_height")):
        if all(side in table.column_names for side in sides):
            longer = pc.max_element_wise(*(table[side].cast(pa.float64()) for side in sides))
            yield "face size, pixels", longer.fill_null(np.nan).to_numpy()
            break
    if pictures is not None and len(pictures.rows):
        for measure, of in (("brightness, grey levels", _light), ("sharpness", _sharpness)):
            values = np.full(table.num_rows, np.nan)
            values[pictures.rows] = [of(each.astype(np.float64)) for each in pictures.thumbnails]
            yield measure, values


def _light(thumbnail: Values) -> float:
    return float(thumbnail.mean())


def _sharpness(thumbnail: Values) -> float:
    """The standard deviation of the Laplacian, grey levels."""
    return float(
        (
            np.gradient(np.gradient(thumbnail, axis=0), axis=0)
            + np.gradient(np.gradient(thumbnail, axis=1), axis=1)
        ).std()
    )


def _compare_column(
    table: pa.Table, column: str, unit: Codes, names: tuple[str, ...]
) -> Difference | None:
    """Compare the shares of a family's rows that have a value of a column.

    Returns:
        The difference of the value that differs most, None if there are not several values.
    """
    if column not in table.column_names:
        return None
    (code,), values = factorize(text_column(table, column))
    if len(values) < 2:
        return None
    family, value, share = _shares(unit[code >= 0], code[code >= 0], len(values))
    cells = family % len(names)
    present = np.zeros(int(family.max()) + 1, bool)
    present[family] = True
    counts = np.bincount(np.flatnonzero(present) % len(names), minlength=len(names))
    pairs = value * len(names) + cells
    sums: Values = np.bincount(pairs, share, len(values) * len(names)).astype(np.float64)
    sums = sums.reshape(len(values), len(names))
    frequent = np.argsort(-sums.sum(axis=1), kind="stable")[:_MAX_VALUES]
    squares = np.bincount(value, share**2, minlength=len(values))
    each = [
        _difference(
            f"share of {column} {values[at].as_py()}", sums[at], float(squares[at]), counts, names
        )
        for at in frequent.tolist()
    ]
    return max((one for one in each if one), key=lambda one: abs(one.z), default=None)


def _shares(unit: Codes, code: Codes, values: int) -> tuple[Codes, Codes, Values]:
    """Return the units and values that occur together, and the share of the unit's rows."""
    only = np.full(int(unit.max(initial=-1)) + 1, -1)
    only[unit] = code
    if (only[unit] == code).all():  # a family is of one part
        found = np.flatnonzero(only >= 0)
        return found, only[found], np.ones(len(found))
    pair, rows = np.unique(unit * values + code, return_counts=True)
    found = pair // values
    return found, pair % values, rows / np.bincount(unit)[found]


def _compare_rows(
    measure: str, values: Values, unit: Codes, units: int, names: tuple[str, ...]
) -> Difference | None:
    known = np.isfinite(values)
    rows = np.bincount(unit[known], minlength=units)
    sums = np.bincount(unit[known], values[known], minlength=units)
    return _compare_families(measure, sums / np.maximum(rows, 1), rows > 0, names)


def _compare_families(
    measure: str, values: Values, known: npt.NDArray[np.bool_], names: tuple[str, ...]
) -> Difference | None:
    """Compare the values of families in splits, [families * splits] each."""
    cells = np.flatnonzero(known) % len(names)
    values = values[known]
    counts = np.bincount(cells, minlength=len(names))
    center = values.mean() if len(values) else 0.0  # squares of large values lose digits
    sums: Values = np.bincount(cells, values - center, len(names)).astype(np.float64)
    squares = float(((values - center) ** 2).sum())
    return _difference(measure, sums, squares, counts, names, center)


def _difference(
    measure: str,
    sums: Values,
    squares: float,
    counts: Codes,
    names: tuple[str, ...],
    center: float = 0.0,
) -> Difference | None:
    """Compare the means of the splits; None if all values are equal.

    Args:
        sums: of the values less `center`, [splits].
        squares: sum of their squares over all splits.
        counts: number of values, [splits].
    """
    total = int(counts.sum())
    if total < 2 or not counts.all() or len(names) < 2:
        return None
    mean = sums.sum() / total
    variance = squares / total - mean**2
    if variance <= 1e-12 * max(squares / total, 1e-300):
        return None
    means = sums / counts
    drawn = np.sqrt((total - counts) / (counts * (total - 1)))
    z = (means - mean) / (np.sqrt(variance) * drawn)
    most = int(np.abs(z).argmax())
    return Difference(
        measure,
        dict(zip(names, (means + center).tolist(), strict=True)),
        names[most],
        float(means[most] - mean),
        float(z[most]),
    )
