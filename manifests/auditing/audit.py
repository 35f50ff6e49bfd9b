"""Leakage audit: families, people, files and near-identical images shared between splits."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.leakage import Leak, RowSplits, leaks_by_key, leaks_by_similarity
from manifests.auditing.neighbours import NeighbourAccuracy, nearest_neighbours
from manifests.auditing.people import NO_IDENTITIES, People, people_in_splits
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.pictures.near_identical import NearIdentical
from manifests.pictures.thumbnails import Pictures
from manifests.tables import families
from manifests.tables.clips import clip_codes, clips_known
from manifests.tables.factorize import (
    Codes,
    Mask,
    factorize,
    factorize_sorted,
    label_codes,
    text_column,
)

#: Usual names of splits, in the order in which they are compared and printed.
_USUAL_ORDER = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")
#: Number of worst families reported.
MAX_WORST_FAMILIES = 5


@dataclass(frozen=True)
class SharedFamily:
    """A family in more than one split, and its rows in each split."""

    name: str
    rows: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """What the splits share.

    Attributes:
        rows: number of rows of each split.
        crossing: for clips, where they are known, and families, the number that are in more than
            one split, and the total number.
        families, files, images: the leaks between each pair of splits by family, by file hash
            and by near-identical image; None if the table lacks the data.
        compared: number of images compared.
        worst: the families with the most rows outside their largest split.
        people: the people, estimated or named; None if the table has no identities.
        neighbours: how far the nearest neighbour tells the label; None without pictures.
    """

    rows: dict[str, int]
    crossing: dict[str, tuple[int, int]]
    families: list[Leak]
    files: list[Leak] | None
    images: list[Leak] | None
    compared: int
    worst: list[SharedFamily]
    people: People | None = None
    neighbours: NeighbourAccuracy | None = None

    @property
    def leaking(self) -> bool:
        """Whether any two splits share anything."""
        found = [*self.families, *(self.files or []), *(self.images or [])]
        found += [*self.people.leaks, *(self.people.faces or [])] if self.people else []
        return any(leak.shared for leak in found)

    def as_json(self) -> dict[str, Any]:
        """Return the audit as values for JSON."""
        return {"leaking": self.leaking, **asdict(self)}

    def text(self) -> str:
        """Describe what was compared, what leaks and the worst families."""
        lines = self.counts()
        lines += _leak_lines(self.families, "families", "")
        lines += _leak_lines(self.files, "files", "no sha256 and no images available")
        lines += _leak_lines(self.images, "near-identical images", "no images available")
        return "\n".join([*lines, *self.notes()])

    def counts(self) -> list[str]:
        """The first lines: crops of each split, clips and families in more than one."""
        return [
            ", ".join(f"{name}: {rows:,} crops" for name, rows in self.rows.items()),
            *(
                f"{crossing:,} of {total:,} {what} are in more than one split"
                for what, (crossing, total) in self.crossing.items()
            ),
        ]

    def notes(self) -> list[str]:
        """The last lines: images not compared, the worst families."""
        lines = []
        if self.images is not None and self.compared < sum(self.rows.values()):
            lines.append(
                f"only {self.compared:,} images were compared; the others could not be read, are "
                "blank or nearly black, or are more than are compared of a clip"
            )
        lines += [self.neighbours.text()] if self.neighbours else []
        lines += self.people.lines(self.rows) if self.people else [NO_IDENTITIES]
        return lines + [
            f"worst family {family.name}: "
            + ", ".join(f"{rows:,} in {split}" for split, rows in family.rows.items())
            for family in self.worst
        ]


def audit(
    table: pa.Table, near: NearIdentical | None = None, pictures: Pictures | None = None
) -> Audit:
    """Measure what the splits of a table share.

    Args:
        table: with the columns split, label, video and original. A family column can merge
            families but not separate them. Files are compared if there is a column sha256, and
            people if there is a column identity.
        near: the near-identical images of different splits, with the picture of each row; None if
            no image could be read.
        pictures: the pictures of the rows, for the nearest neighbours; None for none.

    Raises:
        TableError: the table has no rows, a row without a split, or only one split.
    """
    rows = _row_splits(table)
    _, family, names = families.connected_families(table)
    family_presence = rows.presence(family)
    presences = {"families": family_presence}
    if clips_known(table):
        presences = {"clips": rows.presence(clip_codes(table)), **presences}
    return Audit(
        dict(zip(rows.split_names, np.bincount(rows.split).tolist(), strict=True)),
        {
            what: (int((presence.sum(axis=1) > 1).sum()), int(presence.any(axis=1).sum()))
            for what, presence in presences.items()
        },
        leaks_by_similarity(family, family_presence, family_presence, rows),
        _file_leaks(table, rows),
        None if near is None else _image_leaks(near, rows),
        0 if near is None else int((near.picture >= 0).sum()),
        _worst_families(family, family_presence, names, rows),
        people_in_splits(table, rows),
        None if pictures is None else nearest_neighbours(pictures, family, rows),
    )


def _row_splits(table: pa.Table) -> RowSplits:
    label = label_codes(table)
    if "split" not in table.column_names:
        raise TableError(
            f"expected a column split, found {', '.join(table.column_names)[:200]}; "
            f"run dfdc-prep split first"
        )
    (split,), found = factorize_sorted(text_column(table, "split"))
    if (split < 0).any() or len(found) < 2:
        raise TableError(
            f"expected at least two splits and one in every row, found {len(found)} splits and "
            f"{int((split < 0).sum()):,} rows without; give the whole split table"
        )
    names = found.to_pylist()
    usual = sorted(range(len(names)), key=lambda at: _rank(names[at]))
    return RowSplits(np.argsort(usual)[split], label, tuple(names[at] for at in usual), LABELS)


def _rank(name: str) -> tuple[int, str]:
    return (_USUAL_ORDER.index(name) if name in _USUAL_ORDER else len(_USUAL_ORDER), name)


def _file_leaks(table: pa.Table, rows: RowSplits) -> list[Leak] | None:
    if "sha256" not in table.column_names or not pc.any(pc.is_valid(table["sha256"])).as_py():
        return None
    (file,), _ = factorize(table["sha256"])
    return leaks_by_key(file, rows)


def _image_leaks(near: NearIdentical, rows: RowSplits) -> list[Leak]:
    present = rows.presence(near.picture)
    return leaks_by_similarity(near.picture, present, near.presence(present), rows)


def _worst_families(
    family: Codes, present: Mask, names: pa.Array, rows: RowSplits
) -> list[SharedFamily]:
    """Return the families with most rows outside their largest split; ties by name."""
    crossing = np.flatnonzero(present.sum(axis=1) > 1)
    crossing = crossing[pc.sort_indices(names.take(crossing)).to_numpy()]

    # Count the rows of each crossing family in each split, int64 [crossing, splits].
    position = np.full(len(present), -1, np.int64)
    position[crossing] = np.arange(len(crossing))
    inside = position[family] >= 0
    splits = len(rows.split_names)
    cells = position[family[inside]] * splits + rows.split[inside]
    counts: npt.NDArray[np.int64] = np.bincount(cells, minlength=len(crossing) * splits)
    counts = counts.reshape(-1, splits)

    outside = counts.sum(axis=1) - counts.max(axis=1, initial=0)
    worst_first = np.argsort(-outside, kind="stable")[:MAX_WORST_FAMILIES]
    return [
        SharedFamily(
            names[int(crossing[at])].as_py(),
            dict(zip(rows.split_names, counts[at].tolist(), strict=True)),
        )
        for at in worst_first.tolist()
    ]


def _leak_lines(leaks: list[Leak] | None, things: str, why_not: str) -> list[str]:
    if leaks is None:
        return [f"{things}: not compared, {why_not}"]
    return [leak.text(things) for leak in leaks if leak.shared] or [f"no {things} shared"]
