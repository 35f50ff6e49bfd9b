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
    found = [_difference("crops per family", families.astype(float), families > 0, names)]
    for measure, values in _measures(table, pictures):
        found.append(_compare_rows(measure, values, unit, len(families), names))
    for column in ("part", "method"):
        each = [
            _compare_rows(measure, values, unit, len(families), names)
            for measure, values in _indicators(table, column)
        ]
        found += sorted((one for one in each if one), key=lambda one: -abs(one.z))[:1]
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


def _indicators(table: pa.Table, column: str) -> Iterator[tuple[str, Values]]:
    """Yield the share of the rows that have each value of a column, if there are several."""
    if column not in table.column_names:
        return
    (code,), values = factorize(text_column(table, column))
    counts = np.bincount(code[code >= 0], minlength=len(values))
    if len(values) < 2:
        return
    for value in np.argsort(-counts, kind="stable")[:_MAX_VALUES]:
        shown = np.where(code < 0, np.nan, code == value)
        yield f"share of {column} {values[int(value)].as_py()}", shown


def _compare_rows(
    measure: str, values: Values, unit: Codes, units: int, names: tuple[str, ...]
) -> Difference | None:
    known = np.isfinite(values)
    rows = np.bincount(unit[known], minlength=units)
    sums = np.bincount(unit[known], values[known], minlength=units)
    return _difference(measure, sums / np.maximum(rows, 1), rows > 0, names)


def _difference(
    measure: str, values: Values, known: npt.NDArray[np.bool_], names: tuple[str, ...]
) -> Difference | None:
    """Compare the values of families in splits, [families * splits] each; None if all are equal."""
    cells = np.arange(len(values)) % len(names)
    values, cells = values[known].astype(np.float64), cells[known]
    counts = np.bincount(cells, minlength=len(names))
    if len(values) < 2 or not counts.all() or len(names) < 2 or values.std() == 0:
        return None
    means = np.bincount(cells, values, minlength=len(names)) / counts
    drawn = np.sqrt((len(values) - counts) / (counts * (len(values) - 1)))
    z = (means - values.mean()) / (values.std() * drawn)
    most = int(np.abs(z).argmax())
    return Difference(
        measure,
        dict(zip(names, means.tolist(), strict=True)),
        names[most],
        float(means[most] - values.mean()),
        float(z[most]),
    )
