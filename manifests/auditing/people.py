"""People shared between splits, as `identify` estimates them or as the data set names them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.leakage import Leak, RowSplits, leaks_by_any_key, leaks_by_key
from manifests.tables.factorize import factorize, text_column

#: What is compared, where the data set names both people of a fake.
SWAPPED = "people, filmed or swapped in"
NO_IDENTITIES = (
    "estimated identities: not compared; run dfdc-prep identify on the faces folder, then audit "
    "again with --identities FACES"
)


@dataclass(frozen=True)
class People:
    """People shared between splits.

    Attributes:
        leaks: between each pair of splits, by the person filmed.
        faces: the same by the person filmed or the person whose face a fake shows; None if the
            table does not name the latter.
        estimated: whether `identify` estimated the people; otherwise the data set names them.
        uncertain, unknown: for each split, the rows whose identity rests on uncertain evidence
            and on none; None if the table does not say.
    """

    leaks: list[Leak]
    faces: list[Leak] | None
    estimated: bool
    uncertain: dict[str, int] | None
    unknown: dict[str, int] | None

    @property
    def what(self) -> str:
        """What is compared, for tables."""
        return "estimated identities" if self.estimated else "identities"

    def lines(self, rows: dict[str, int]) -> list[str]:
        """Describe the leaks, and how far an estimate can be trusted."""
        first, *_, last = rows
        rate = next(leak.rate for leak in self.leaks if (leak.first, leak.second) == (first, last))
        lines = [leak.text(self.what) for leak in self.leaks if leak.shared]
        if self.estimated:
            lines.append(
                f"estimated identities, the data set names none; {100 * rate:.1f} % of the {last} "
                f"crops share an estimated actor with {first}; how far the estimate is right "
                "on this set is not known; swapped-in faces are not checked"
            )
        else:
            lines.append(
                f"identities as the data set names them; {100 * rate:.1f} % of the {last} crops "
                f"show a person who is filmed in {first}"
            )
        lines += [leak.text(SWAPPED) for leak in self.faces or () if leak.shared]
        return lines + self._doubts(rows[last], last)

    def _doubts(self, rows: int, split: str) -> list[str]:
        unknown = self.unknown[split] if self.unknown else 0
        if self.uncertain is not None:
            return [
                f"{100 * self.uncertain[split] / rows:.1f} % of the {split} crops have an "
                f"uncertain identity, and {100 * unknown / rows:.1f} % none"
            ]
        return [f"{100 * unknown / rows:.1f} % of the {split} crops name no one"] if unknown else []


def people_in_splits(table: pa.Table, rows: RowSplits) -> People | None:
    """Compare the people of a table; None if its column `identity` is absent or empty."""
    if not _has_values(table, "identity"):
        return None
    faces = None
    if _has_values(table, "face_identity"):
        columns = (text_column(table, name) for name in ("identity", "face_identity"))
        keys, _ = factorize(*columns)
        faces = leaks_by_any_key(keys, rows)
    (identity,), _ = factorize(text_column(table, "identity"))
    leaks = leaks_by_key(identity, rows)
    missing = pc.is_null(table["identity"])
    if "identity_source" not in table.column_names:
        return People(leaks, faces, False, None, _count_by_split(missing, rows))
    source = text_column(table, "identity_source")
    estimated = pc.any(pc.is_in(source, pa.array(["real", "fake", "uncertain"]))).as_py() or False
    unknown = pc.or_(missing, pc.equal(source, "none").fill_null(True))
    uncertain = pc.and_(pc.equal(source, "uncertain").fill_null(False), pc.invert(unknown))
    counts = (_count_by_split(each, rows) for each in (uncertain, unknown))
    return People(leaks, faces, estimated, *counts)


def _has_values(table: pa.Table, column: str) -> bool:
    return column in table.column_names and bool(pc.any(pc.is_valid(table[column])).as_py())


def _count_by_split(marked: pa.ChunkedArray, rows: RowSplits) -> dict[str, int]:
    counts = np.bincount(rows.split[marked.to_numpy()], minlength=len(rows.split_names))
    return dict(zip(rows.split_names, counts.tolist(), strict=True))
