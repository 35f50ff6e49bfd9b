"""Leakage audit: families, people, files and near-identical images shared between splits.

Its verdict: the splits leak; no leak was found; or not known, because nothing says which clips
some fakes were made from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.kinds import Difference, compare_kinds, kind_lines
from manifests.auditing.leakage import (
    NO_IDENTITIES,
    SWAPPED,
    Leak,
    NeighbourAccuracy,
    People,
    RowSplits,
    count_splits,
    leak_lines,
    leaks_by_key,
    nearest_neighbours,
    people_in_splits,
)
from manifests.errors import TableError
from manifests.pictures.near_identical import NearIdentical
from manifests.pictures.thumbnails import Pictures
from manifests.relatives import FamilyCounts, OriginalMatches
from manifests.result import Result, TextTable
from manifests.tables import families
from manifests.tables.codes import (
    Codes,
    Mask,
    clip_codes,
    clips_known,
    factorize,
    factorize_sorted,
    label_codes,
    text_column,
)
from manifests.tables.families import count_families, unknown_fakes
from manifests.wording import columns_found, counted

#: Usual names of splits, in the order in which they are compared and printed.
_USUAL_ORDER = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")
#: Number of worst families reported.
MAX_WORST_FAMILIES = 5
#: Verdicts.
LEAKS, NO_LEAK_FOUND, NOT_KNOWN = "leaks", "no leak found", "not known"


@dataclass(frozen=True)
class SharedFamily:
    """A family in more than one split, and its rows in each split."""

    name: str
    rows: dict[str, int]


@dataclass(frozen=True)
class Audit(Result):
    """What the splits share.

    `families`, `files` and `images` are the leaks between each pair of splits by family, by file
    hash and by near-identical image; None if the table lacks the data.
    """

    rows: dict[str, int]  # of each split
    crossing: dict[str, tuple[int, int]]  # clips, families: in several splits, and in all
    families: list[Leak]
    files: list[Leak] | None
    images: list[Leak] | None
    compared: int  # images
    hashed: int  # files
    fakes: FamilyCounts
    originals: OriginalMatches
    worst: list[SharedFamily]  # with the most rows outside their largest split
    people: People | None = None  # None without identities
    neighbours: NeighbourAccuracy | None = None  # None without pictures
    differences: list[Difference] = field(default_factory=list)  # in kind; empty if not compared
    notes: tuple[str, ...] = ()  # how the table was read, where it does not say it itself

    @property
    def verdict(self) -> str:
        """leaks, no leak found, or not known: nothing says what some fakes were made from."""
        if self.leaking:
            return LEAKS
        return NOT_KNOWN if self.fakes.unknown_text() else NO_LEAK_FOUND

    @property
    def ok(self) -> bool:
        """Whether no leak was found, and the exit code of the command is 0."""
        return self.verdict == NO_LEAK_FOUND

    @property
    def leaking(self) -> bool:
        """Whether any two splits share anything."""
        return any(leak.shared for leaks in self.kinds().values() for leak in leaks or ())

    def kinds(self) -> dict[str, list[Leak] | None]:
        """The leaks by what is shared; None for what was not compared."""
        people = self.people
        return {
            "families": self.families,
            "files": self.files,
            "near-identical images": self.images,
            people.what if people else "people": people.leaks if people else None,
            **({SWAPPED: people.faces} if people and people.faces is not None else {}),
        }

    def as_json(self) -> dict[str, Any]:
        """Return the audit as values for JSON."""
        return {
            "verdict": self.verdict,
            "leaking": self.leaking,
            "not_compared": self._not_compared(),
            **asdict(self),
        }

    def text(self) -> str:
        """The verdict; what was compared, what leaks and the worst families."""
        lines, crops = [self.caption(), *self.notes, *self.counts()], sum(self.rows.values())
        for leaks, things, among, why_not in (
            (self.families, "families", "among those known", ""),
            (
                self.files,
                "files",
                f"among {self.hashed:,} of {counted(crops, 'crop')}",
                "no sha256 and no images",
            ),
            (
                self.images,
                "near-identical images",
                f"among {self.compared:,} of {counted(crops, 'crop')}",
                "no images",
            ),
        ):
            if leaks is None:
                lines.append(f"{things}: not compared, {why_not} available")
            else:
                lines += leak_lines(leaks, things) or [f"{things}: none shared {among}"]
        return "\n".join([*lines, *self.details()])

    def parts(self) -> Iterable[TextTable | str]:
        return [self.caption(), *self.notes, *self.counts(), self.cells(), *self.details()]

    def cells(self) -> TextTable:
        rows: list[Sequence[object]] = []
        for what, leaks in self.kinds().items():
            rows += [[what, "", "not compared", ""]] if leaks is None else []
            for leak in leaks or ():
                pair = f"{leak.second} and {leak.first}"
                rows.append([what, pair, leak.shared, f"{100 * leak.rate:.1f} %"])
        return TextTable(("what", "splits", "shared", "crops affected"), rows)

    def _not_compared(self) -> list[str]:
        return [what for what, leaks in self.kinds().items() if leaks is None]

    def caption(self) -> str:
        """The verdict, what it rests on, and what could not be compared."""
        kinds, unknown, missing = self.kinds(), self.fakes.unknown_text(), self._not_compared()
        shared = [what for what, leaks in kinds.items() if leak_lines(leaks, what)]
        compared = [what for what in kinds if what not in missing]
        if self.verdict == NOT_KNOWN:
            reasons = [f"{NOT_KNOWN}: {unknown}"]
        else:
            means = f"the splits share {', '.join(shared)}"
            if self.verdict == NO_LEAK_FOUND:
                means = f"compared {', '.join(compared)}"
            reasons = [f"{self.verdict}: {means}", *([unknown] if unknown else [])]
        return "; ".join(reasons + ([f"not compared: {', '.join(missing)}"] if missing else []))

    def counts(self) -> list[str]:
        """Crops of each split, clips and families in more than one, what is known of families."""
        known = "known " if self.fakes.unknown_text() else ""
        what = {"clips": "clip", "families": f"{known}family"}
        return [
            ", ".join(f"{name}: {counted(rows, 'crop')}" for name, rows in self.rows.items()),
            *(
                f"in more than one split: {crossing:,} of {counted(total, what[of])}"
                for of, (crossing, total) in self.crossing.items()
            ),
            *self.fakes.lines(),
            *self.originals.lines(),
        ]

    def details(self) -> list[str]:
        """The last lines: images not compared, people, the worst families."""
        lines = []
        if self.images is not None and self.compared < sum(self.rows.values()):
            lines.append(
                f"images compared: only {self.compared:,}; the others could not be read, are "
                "blank or nearly black, or are more than are compared of a clip"
            )
        lines += [self.neighbours.text()] if self.neighbours else []
        lines += kind_lines(self.differences)
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
            families but not separate them. The columns sha256 and identity are compared if there.
        near: the near-identical images of different splits; None if no image could be read.
        pictures: of the rows, for the nearest neighbours.

    Raises:
        TableError: the table has no rows, a row without a split, or only one split.
    """
    rows = _row_splits(table)
    connected = families.connected_families(table)
    family = connected.family
    clip = clip_codes(table, connected.clip)
    fakes = count_families(table, clip)
    present = rows.presence(family)
    files = images = None
    if "sha256" in table.column_names and table["sha256"].null_count < table.num_rows:
        files = leaks_by_key(rows, factorize(table["sha256"])[0][0])
    if near is not None:
        shown = rows.presence(near.picture)
        images = leaks_by_key(rows, near.picture, present=shown, reached=near.presence(shown))
    only_unknown = None  # families of unknown fakes alone, bool [families]
    if fakes.unknown:
        only_unknown = np.ones(len(present), bool)
        only_unknown[family[~unknown_fakes(table)]] = False
    crossing = {"clips": _crossing(rows.presence(clip))} if clips_known(table) else {}
    return Audit(
        dict(zip(rows.names, np.bincount(rows.split).tolist(), strict=True)),
        {**crossing, "families": _crossing(present, only_unknown)},
        leaks_by_key(rows, family, present=present),
        files,
        images,
        0 if near is None else int((near.picture >= 0).sum()),
        0 if files is None else table.num_rows - table["sha256"].null_count,
        fakes,
        connected.matches,
        _worst_families(family, present, connected.names, rows),
        people_in_splits(table, rows),
        None if pictures is None else nearest_neighbours(pictures, family, rows),
        compare_kinds(table, family, rows.split, rows.names, pictures),
    )


def _crossing(present: Mask, left_out: Mask | None = None) -> tuple[int, int]:
    """Count the keys in several splits, and all but those left out that are in one, bool [keys]."""
    splits = count_splits(present)
    several = splits > 1
    counted = splits > 0 if left_out is None else several | (splits > 0) & ~left_out
    return int(np.count_nonzero(several)), int(np.count_nonzero(counted))


def _row_splits(table: pa.Table) -> RowSplits:
    label = label_codes(table)
    if "split" not in table.column_names:
        raise TableError(
            f"expected a column split, found {columns_found(table.column_names, 'split')}; run "
            "dfdc-prep split first"
        )
    (split,), found = factorize_sorted(text_column(table, "split"))
    if (split < 0).any() or len(found) < 2:
        raise TableError(
            f"expected at least two splits and one in every row, found "
            f"{counted(len(found), 'split')} and {counted(int((split < 0).sum()), 'row')} without; "
            "give the whole split table"
        )
    names = found.to_pylist()
    rank = {name: number for number, name in enumerate(_USUAL_ORDER)}
    usual = sorted(range(len(names)), key=lambda code: rank.get(names[code], len(rank)))
    return RowSplits(np.argsort(usual)[split], label, tuple(names[code] for code in usual))


def _worst_families(
    family: Codes, present: Mask, names: pa.Array, rows: RowSplits
) -> list[SharedFamily]:
    """Return the families with most rows outside their largest split; ties by name."""
    crossing = np.flatnonzero(count_splits(present) > 1)
    crossing = crossing[pc.sort_indices(names.take(crossing)).to_numpy()]
    # The rows of each crossing family in each split, int64 [crossing, splits].
    position = np.full(len(present), -1, np.int64)
    position[crossing] = np.arange(len(crossing))
    inside = position[family] >= 0
    splits = len(rows.names)
    cells = position[family[inside]] * splits + rows.split[inside]
    counts: npt.NDArray[np.int64] = np.bincount(cells, minlength=len(crossing) * splits)
    counts = counts.reshape(-1, splits)
    outside = counts.sum(axis=1) - counts.max(axis=1, initial=0)
    worst_first = np.argsort(-outside, kind="stable")[:MAX_WORST_FAMILIES]
    worst = zip(names.take(crossing[worst_first]).to_pylist(), counts[worst_first], strict=True)
    return [
        SharedFamily(name, dict(zip(rows.names, in_split.tolist(), strict=True)))
        for name, in_split in worst
    ]
