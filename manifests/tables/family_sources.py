"""How the families of FAKE clips are known: the column family_source.

The data set names a fake's original (known); or the names of the clips give it, as those of
FaceForensics++ and Celeb-DF do (names); or nothing does (unknown). Then the fake counts as a family
of its own, which it is not: its original may be any clip.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.clip_names import FAKE_PATTERN, read_originals
from manifests.family_counts import CLIP, CROP, FamilyCounts
from manifests.labels import FAKE, FAMILY_SOURCES, KNOWN, NAMES, REAL, UNKNOWN
from manifests.tables.clip_reading import set_column
from manifests.tables.clips import clip_codes, clips_known
from manifests.tables.factorize import Codes, Mask
from manifests.tables.families import family_column

COLUMN = "family_source"
_NULL = pa.scalar(None, pa.string())


def add_families(table: pa.Table, originals_from: str = KNOWN) -> pa.Table:
    """Return the table with the columns original, family and family_source filled.

    A family column of the table stays, since it was written when all clips were known;
    intermediate clips of a chain may be missing from this table. Without one, `original` is filled
    where the names of the clips give it.

    Args:
        table: with the columns video, label and, if known, original, family and family_source.
        originals_from: how the originals that the table has are known, KNOWN or NAMES.
    """
    if "original" not in table.column_names:
        table = table.append_column("original", pa.nulls(table.num_rows, pa.string()))
    named = pc.is_valid(table["original"]) if originals_from == NAMES else None
    if "family" not in table.column_names:
        read = _read_from_names(table)
        if read is not None:
            named = pc.or_(pc.is_valid(read), named) if named is not None else pc.is_valid(read)
            table = set_column(table, "original", pc.coalesce(table["original"], read))
    table = set_column(table, "family", family_column(table))
    source = source_column(table)
    if named is not None:
        named = pc.and_(named, pc.equal(table["label"], FAKE))
        source = pc.if_else(named, NAMES, source)
    return set_column(table, COLUMN, source)


def source_column(table: pa.Table) -> pa.ChunkedArray:
    """Return how the family of every row is known, one of FAMILY_SOURCES; null for REAL.

    It is that of the column family_source. Where this is absent, null or something else, a FAKE is
    of a known family if it names its original, or if its family is not itself alone.

    Args:
        table: with the columns video, label, original and, if known, family.
    """
    named = pc.is_valid(table["original"])
    if "family" in table.column_names:
        named = pc.or_(named, pc.not_equal(table["family"], table["video"]))
    fake = pc.equal(table["label"], FAKE)
    derived = pc.if_else(fake, pc.if_else(named, KNOWN, UNKNOWN), _NULL)
    if COLUMN not in table.column_names:
        return derived
    given = table[COLUMN].cast(pa.string())
    return pc.if_else(pc.is_in(given, pa.array(FAMILY_SOURCES)), given, derived)


def count_families(table: pa.Table, clip: Codes | None = None) -> FamilyCounts:
    """Count the FAKE clips by the source of their family; crops, if the clips are not known.

    Args:
        table: with the columns of `source_column`, and part if there are parts.
        clip: int64 [rows], the clip of each row. None to derive it where it is needed: if all
            families are known, their clips are not counted.
    """
    fake = pc.equal(table["label"], FAKE).to_numpy()
    noun = CLIP if clips_known(table) else CROP
    if noun == CLIP and _all_known(table, fake):
        if clip is None and fake.any():
            return FamilyCounts(None, 0, 0)
        return FamilyCounts(0 if clip is None else _count(clip[fake]), 0, 0)
    if clip is None:
        clip = clip_codes(table)
    source = source_column(table)
    rows = [pc.equal(source, each).fill_null(False).to_numpy() for each in FAMILY_SOURCES]
    known, names, unknown = (_count(clip[each]) for each in rows)
    return FamilyCounts(known, names, unknown, noun)


def _all_known(table: pa.Table, fake: Mask) -> bool:
    """Whether the data set names the original of every FAKE row; quick for many rows."""
    if COLUMN in table.column_names:
        known = pc.sum(pc.equal(table[COLUMN], KNOWN)).as_py() or 0
        return bool(known == np.count_nonzero(fake))
    return not (fake & pc.is_null(table["original"]).to_numpy()).any()


def _count(clips: Codes) -> int:
    present = np.zeros(int(clips.max(initial=-1)) + 1, bool)
    present[clips] = True
    return int(np.count_nonzero(present))


def _read_from_names(table: pa.Table) -> pa.ChunkedArray | None:
    """Return the originals that names of FAKE rows without one give, null elsewhere.

    Returns:
        string [rows], or None if no name gives one.
    """
    nameless = pc.and_(pc.equal(table["label"], FAKE), pc.is_null(table["original"]))
    fakes = pc.unique(table["video"].filter(nameless))
    if not pc.any(pc.match_substring_regex(fakes, FAKE_PATTERN)).as_py():
        return None
    reals = pc.unique(table["video"].filter(pc.equal(table["label"], REAL)))
    found = read_originals(fakes.to_pylist(), reals.to_pylist())
    if not found:
        return None
    at = pc.index_in(table["video"], pa.array(list(found)))
    originals = pa.array(list(found.values())).take(at.combine_chunks())
    return pc.if_else(nameless, originals, _NULL)
