"""What the splits of a table share: families, files, images that are nearly the same."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.leakage import Leak, Splits, by_key, by_reach, presence
from manifests.auditing.perceptual_hash import Prints, reach
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.tables import families
from manifests.tables.factorize import Codes, Mask, encode, encode_sorted, labels, texts

#: The usual names of splits, in the order they are compared and printed.
_USUAL = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")
#: How many of the worst families are named.
WORST = 5


@dataclass(frozen=True)
class Kin:
    """A name that stands in more than one split, and its rows in each."""

    name: str
    rows: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """What the splits share.

    Attributes:
        rows: rows of each split.
        torn: for video and family, how many stand in more than one split, and of how many.
        families, files, images: the leaks between each pair of splits by family, by equal
            bytes and by near-identical image; None where the table cannot tell.
        compared: how many images could be compared.
        worst: the families with the most rows outside the split that has most of them.
    """

    rows: dict[str, int]
    torn: dict[str, tuple[int, int]]
    families: list[Leak]
    files: list[Leak] | None
    images: list[Leak] | None
    compared: int
    worst: list[Kin]

    @property
    def leaking(self) -> bool:
        """Whether anything stands in two splits."""
        found = [*self.families, *(self.files or []), *(self.images or [])]
        return any(leak.shared for leak in found)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, for machines."""
        return {"leaking": self.leaking, **asdict(self)}

    def text(self) -> str:
        """What was looked at, what leaks and where it is worst."""
        lines = [", ".join(f"{name}: {rows:,} crops" for name, rows in self.rows.items())]
        lines += [
            f"{torn:,} of {all_:,} {what} stand in more than one split"
            for what, (torn, all_) in self.torn.items()
        ]
        lines += _lines(self.families, "families", "")
        lines += _lines(self.files, "files", "no sha256 and no images at hand")
        lines += _lines(self.images, "near-identical images", "no images at hand")
        if self.images is not None and self.compared < sum(self.rows.values()):
            lines.append(f"only {self.compared:,} images could be read and compared")
        lines += [
            f"worst family {kin.name}: "
            + ", ".join(f"{rows:,} in {split}" for split, rows in kin.rows.items())
            for kin in self.worst
        ]
        return "\n".join(lines)


def audit(table: pa.Table, prints: Prints | None = None, printed: Mask | None = None) -> Audit:
    """Measure what the splits of a table share.

    Args:
        table: with the columns split, label, video and original; a family column can tie
            families together but not keep them apart; sha256 if bytes are to be compared.
        prints: uint64 [rows], the perceptual hash of each row's image.
        printed: bool [rows], whether that hash is known; all where it is None.

    Raises:
        TableError: no row, no split in some row, or only one split.
    """
    where = _splits(table)
    video, family, names = families.kin(table)
    known = np.ones(table.num_rows, bool) if printed is None else printed
    seen = presence(family, where.split, len(where.split_names))
    standing = {
        "videos": presence(video, where.split, len(where.split_names)),
        "families": seen,
    }
    return Audit(
        dict(zip(where.split_names, np.bincount(where.split).tolist(), strict=True)),
        {
            what: (int((one.sum(axis=1) > 1).sum()), int(one.any(axis=1).sum()))
            for what, one in standing.items()
        },
        by_reach(family, seen, seen, where),
        _same_bytes(table, where),
        None if prints is None else _alike(prints, known, where),
        0 if prints is None else int(known.sum()),
        _worst(family, seen, names, where),
    )


def _splits(table: pa.Table) -> Splits:
    label = labels(table)
    if "split" not in table.column_names:
        raise TableError(
            f"expected a column split, found {', '.join(table.column_names)[:200]}; "
            f"run dfdc-prep split first"
        )
    (split,), found = encode_sorted(texts(table, "split"))
    if (split < 0).any() or len(found) < 2:
        raise TableError(
            f"expected at least two splits and one in every row, found {len(found)} splits and "
            f"{int((split < 0).sum()):,} rows without; give the whole split table"
        )
    names = found.to_pylist()
    usual = sorted(range(len(names)), key=lambda at: _rank(names[at]))
    return Splits(np.argsort(usual)[split], label, tuple(names[at] for at in usual), LABELS)


def _rank(name: str) -> tuple[int, str]:
    return (_USUAL.index(name) if name in _USUAL else len(_USUAL), name)


def _same_bytes(table: pa.Table, where: Splits) -> list[Leak] | None:
    if "sha256" not in table.column_names or not pc.any(pc.is_valid(table["sha256"])).as_py():
        return None
    (file,), _ = encode(table["sha256"])
    return by_key(file, where)


def _alike(prints: Prints, known: Mask, where: Splits) -> list[Leak]:
    image = np.full(len(prints), -1, np.int64)
    distinct, image[known] = np.unique(prints[known], return_inverse=True)
    seen = presence(image, where.split, len(where.split_names))
    return by_reach(image, seen, reach(distinct, seen), where)


def _worst(family: Codes, seen: Mask, names: pa.Array, where: Splits) -> list[Kin]:
    """The families with most rows outside their main split; of equal ones the first by name."""
    torn = np.flatnonzero(seen.sum(axis=1) > 1)
    torn = torn[pc.sort_indices(names.take(torn)).to_numpy()]
    place = np.full(len(seen), -1, np.int64)
    place[torn] = np.arange(len(torn))
    inside = place[family] >= 0
    splits = len(where.split_names)
    cells = place[family[inside]] * splits + where.split[inside]
    rows: npt.NDArray[np.int64] = np.bincount(cells, minlength=len(torn) * splits)
    rows = rows.reshape(-1, splits)
    order = np.argsort(rows.max(axis=1, initial=0) - rows.sum(axis=1), kind="stable")[:WORST]
    return [
        Kin(
            names[int(torn[at])].as_py(),
            dict(zip(where.split_names, rows[at].tolist(), strict=True)),
        )
        for at in order.tolist()
    ]


def _lines(leaks: list[Leak] | None, things: str, why_not: str) -> list[str]:
    if leaks is None:
        return [f"{things}: not compared, {why_not}"]
    return [leak.text(things) for leak in leaks if leak.shared] or [f"no {things} shared"]
