"""Families: the single definition of which clips belong together.

A family is an original clip and every fake made from it, whether the original is present in
the table or only named. Rules for inconsistent tables:

- A REAL clip is its own family; its `original`, if any, is ignored.
- The original of a FAKE is the clip of that name. Where there is none, it is the clip whose name
  differs in its extension or in the folder in front alone; else in its Unicode form; else in letter
  case. Where several clips fit, all of them count as the original, so that no relatives are
  separated. Where none fits, it is the name itself.
- A FAKE that names no original is its own family, unless the names of the table give the originals
  (`manifests.relatives`).
- If the original of a FAKE is itself a FAKE, the chain is followed to its end.
- Clips whose originals form a cycle are one family, named after the first name in sort order.
- A name used by two clips, or with two originals, merges both families into one, because the
  clips may share frames.

The column family_source says how the family of a FAKE is known: the data set names its original
(known); or the names of the clips give it, as those of FaceForensics++ and Celeb-DF do (names); or
nothing does (unknown). Then the fake counts as a family of its own, which it is not: its original
may be any clip.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import FAKE, FAMILY_SOURCES, KNOWN, NAMES, REAL, UNKNOWN
from manifests.relatives import (
    CLIP,
    CROP,
    FAKE_PATTERN,
    STEM_PATTERN,
    FamilyCounts,
    OriginalMatches,
    read_originals,
    suffix_of,
)
from manifests.tables.codes import (
    Codes,
    Mask,
    clip_codes,
    clips_known,
    factorize,
    factorize_sorted,
    names_are_qualified,
    set_column,
)

_NULL = pa.scalar(None, pa.string())


def resolve_families(
    video: pa.ChunkedArray, label: pa.ChunkedArray, original: pa.ChunkedArray
) -> tuple[pa.Array, OriginalMatches]:
    """Return the family of every row: the name of the original at the end of its chain.

    Args:
        video: string [rows], file name of the clip; never null.
        label: string [rows], REAL or FAKE.
        original: string [rows], file name of the clip a fake was made from, or null.

    Returns:
        string [rows], which does not depend on the order of the rows; and how the originals were
        found.
    """
    found = _connect(video, _originals_of_fakes(label, original), [])
    return found.names.take(pa.array(found.family)), found.matches


def family_column(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return the family of every row: the family column, or derived from the originals."""
    if "family" in table.column_names:
        return table["family"]
    return resolve_families(table["video"], table["label"], table["original"])[0]


class Connected(NamedTuple):
    """Families that join all clips that are related.

    `clip` and `family`, int64 [rows], are indices into the names, string [names]; `matches` tells
    how the originals were found.
    """

    clip: Codes
    family: Codes
    names: pa.Array
    matches: OriginalMatches


def connected_families(table: pa.Table) -> Connected:
    """Return families that join clips related by the family column or by the originals.

    The audit uses this: a wrong family column cannot separate a fake from its original.
    """
    originals = _originals_of_fakes(table["label"], table["original"])
    adding = []
    if "family" in table.column_names:  # where it adds to the originals
        expected = pc.coalesce(originals, table["video"])
        adding = [pc.if_else(pc.equal(table["family"], expected), _NULL, table["family"])]
    return _connect(table["video"], originals, adding, names_are_qualified(table))


def _connect(
    video: pa.ChunkedArray,
    originals: pa.ChunkedArray,
    families: list[pa.ChunkedArray],
    qualified: bool = False,
) -> Connected:
    """Connect every clip with its original, and with the family that a column gives it."""
    (child, parent, *others), names = factorize(video, originals, *families)
    known = [parent >= 0, *(other >= 0 for other in others)]
    original = parent[known[0]]
    # Names are numbered in order of appearance, those of clips first.
    found = match_originals(names, int(child.max(initial=-1)) + 1, original, qualified)
    if found.matches.respelled or found.matches.absent:
        original = found.clip[original]
    made = np.concatenate([child[rows] for rows in known])
    given = [other[rows] for other, rows in zip(others, known[1:], strict=True)]
    source = np.concatenate([original, *given])
    return Connected(child, _family_names(made, source, found, names)[child], names, found.matches)


def _originals_of_fakes(label: pa.ChunkedArray, original: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the originals of FAKE rows; null for REAL rows."""
    return pc.if_else(pc.equal(label, FAKE), original, _NULL)


def connected_groups(nodes: int, first: Codes, second: Codes) -> Codes:
    """Number the connected components of the graph with edges first[i] - second[i].

    Returns:
        int64 [nodes], the component of each node.
    """
    # Imported here: DFDC's own tables need no graph, and scipy delays the start of workers.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(first), np.int8)
    graph = coo_matrix((ones, (first, second)), shape=(nodes, nodes))
    group: Codes = connected_components(graph, directed=False)[1].astype(np.int64)
    return group


class Originals(NamedTuple):
    """The clips that names stand for.

    Attributes:
        clip: int64 [names], the clip that a name stands for; itself if it is a clip's. Names of no
            clip that differ in spelling alone stand for the first of them.
        first, second: int64 [pairs] each, clips that fit one name, two at a time.
        matches: how they were found.
    """

    clip: Codes
    first: Codes
    second: Codes
    matches: OriginalMatches


def _family_names(child: Codes, parent: Codes, found: Originals, names: pa.Array) -> Codes:
    """Return the family of each name, int64 [names], if child[i] was made from parent[i]."""
    family = np.arange(len(names))
    family[child] = parent
    # Fast path for all of DFDC: one original per fake and no chains.
    simple = (family[child] == parent).all() and (family[family] == family).all()
    if simple and not len(found.first):
        return family
    first, second = np.concatenate([child, found.first]), np.concatenate([parent, found.second])
    group = connected_groups(len(names), first, second)
    return _group_names(group, child[child != parent], names)[group]


def _group_names(group: Codes, fakes: Codes, names: pa.Array) -> Codes:
    """Return the node that names each group, int64 [groups].

    It is the group's only original; of several originals, or of all nodes if there is none,
    the first by name.

    Args:
        group: int64 [names], the group of each node.
        fakes: nodes that were made from another node.
    """
    groups = int(group.max(initial=-1)) + 1
    is_original = np.ones(len(group), bool)
    is_original[fakes] = False
    named_after = np.zeros(groups, np.int64)
    named_after[group[is_original]] = np.flatnonzero(is_original)

    # Groups with no original or several: assign candidates in descending order, so that the
    # first by name is assigned last and stays.
    originals = np.bincount(group[is_original], minlength=groups)
    candidates = np.flatnonzero((originals[group] == 0) | ((originals[group] > 1) & is_original))
    descending = pc.sort_indices(names.take(candidates), sort_keys=[("", "descending")]).to_numpy()
    candidates = candidates[descending]
    named_after[group[candidates]] = candidates
    return named_after


FAMILY_SOURCE = "family_source"


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
    return set_column(table, FAMILY_SOURCE, source)


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
    if FAMILY_SOURCE not in table.column_names:
        return derived
    given = table[FAMILY_SOURCE].cast(pa.string())
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
    if FAMILY_SOURCE in table.column_names:
        known = pc.sum(pc.equal(table[FAMILY_SOURCE], KNOWN)).as_py() or 0
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


def match_originals(
    names: pa.Array, clips: int, named: Codes, qualified: bool = False
) -> Originals:
    """Find the clip of every name that a fake names as its original.

    Args:
        names: string [names], distinct.
        clips: number of names of clips, which come first.
        named: int64 [fakes], the name that each fake gives as its original.
        qualified: the names begin with that of their data set and a slash: names of different
            sets never match.
    """
    is_named = np.zeros(len(names), bool)
    is_named[named] = True
    wanted = clips + np.flatnonzero(is_named[clips:])
    exact = int(np.count_nonzero(is_named[:clips]))
    if not len(wanted) or _are_plain(names):
        none, matches = np.empty(0, np.int64), OriginalMatches(exact, absent=len(wanted))
        return Originals(np.arange(len(names)), none, none, matches)
    return _Search(names, wanted, np.arange(clips)).run(exact, qualified)


class _Search:
    """The search for the clips of some names: of `wanted` among `clips`, int64 each."""

    def __init__(self, names: pa.Array, wanted: Codes, clips: Codes) -> None:
        self._wanted, self._clips = wanted, clips
        self._used = names.take(pa.array(np.concatenate([wanted, clips])))
        # Equal choices whatever the order of the rows: the first by name.
        (rank,), _ = factorize_sorted(self._used)
        self._rank_wanted, self._rank_clips = np.split(rank, [len(wanted)])
        self._stands_for = np.arange(len(names))
        self._pairs: list[tuple[Codes, Codes]] = []

    def run(self, exact: int, qualified: bool) -> Originals:
        counts = dict.fromkeys(("stem", "unicode", "case"), 0)
        ambiguous, left = 0, np.ones(len(self._wanted), bool)
        for way, keys in _keys(self._used, qualified):
            (codes,), _ = factorize(keys)
            wanted_key, clip_key = np.split(codes, [len(self._wanted)])
            found, several = self._match(wanted_key, clip_key, left)
            counts[way] += int(np.count_nonzero(found))
            ambiguous += several
            left &= ~found
            if not left.any():
                break
        self._join_absent(wanted_key, left)
        absent = int(np.count_nonzero(left))
        matches = OriginalMatches(exact, **counts, absent=absent, ambiguous=ambiguous)
        first, second = (np.concatenate(each) for each in zip(*self._pairs, strict=True))
        return Originals(self._stands_for, first, second, matches)

    def _match(self, wanted_key: Codes, clip_key: Codes, left: Mask) -> tuple[Mask, int]:
        """Match the names that are left; return which were found, and how many are ambiguous."""
        is_key = np.zeros(int(max(wanted_key.max(), clip_key.max(initial=-1))) + 1, bool)
        is_key[wanted_key[left]] = True
        hit = np.flatnonzero(is_key[clip_key])
        hit = hit[np.lexsort((self._rank_clips[hit], clip_key[hit]))]
        key, clip = clip_key[hit], self._clips[hit]
        first_of_key = np.full(len(is_key), -1, np.int64)
        first_of_key[key[::-1]] = clip[::-1]
        found = left & (first_of_key[wanted_key] >= 0)
        self._stands_for[self._wanted[found]] = first_of_key[wanted_key[found]]
        same = key[1:] == key[:-1]
        self._pairs.append((clip[:-1][same], clip[1:][same]))
        several = np.bincount(key, minlength=len(is_key))[wanted_key[found]] > 1
        return found, int(np.count_nonzero(several))

    def _join_absent(self, key: Codes, left: Mask) -> None:
        """Let names of no clip that differ in spelling alone stand for the first of them."""
        absent = np.flatnonzero(left)
        absent = absent[np.argsort(self._rank_wanted[absent])]
        first_of_key = np.full(int(key.max()) + 1, -1, np.int64)
        first_of_key[key[absent[::-1]]] = self._wanted[absent[::-1]]
        self._stands_for[self._wanted[absent]] = first_of_key[key[absent]]


def _keys(names: pa.Array, qualified: bool) -> Iterator[tuple[str, pa.Array]]:
    """Yield what spellings of a name have in common, ever less of it.

    Yields:
        The attribute of `OriginalMatches` that counts it, and a string for each name.
    """
    if qualified:
        prefix, rest = (
            pc.replace_substring_regex(names, r"(?s)^([^/]*/)(.*)$", group)
            for group in (r"\1", r"\2")
        )
        for way, keys in _keys(rest, qualified=False):
            yield way, pc.binary_join_element_wise(prefix, keys, "")
        return
    stems = pc.replace_substring_regex(names, STEM_PATTERN, r"\1")
    stems = pc.replace_substring(stems, "\\", "/")
    forms = {"stem": stems}
    if not pc.all(pc.string_is_ascii(names)).as_py():
        forms["unicode"] = pc.utf8_normalize(stems, "NFC")
        folded = pa.array([name.casefold() for name in forms["unicode"].to_pylist()], pa.string())
        forms["case"] = pc.utf8_normalize(folded, "NFC")
    else:
        forms["case"] = pc.ascii_lower(stems)
    in_folders = pc.any(pc.match_substring(stems, "/")).as_py()
    for way, form in forms.items():
        yield way, form
        if in_folders:  # first with the nearest folder, which tells equal file names apart
            yield way, pc.replace_substring_regex(form, r"(?s)^.*/([^/]+/[^/]+)$", r"\1")
            yield way, pc.replace_substring_regex(form, r"(?s)^.*/", "")


def _are_plain(names: pa.Array) -> bool:
    """As `clip_names.are_plain`, for many names."""
    suffix = suffix_of(names[0].as_py())
    return bool(
        pc.all(pc.string_is_ascii(names)).as_py()
        and pc.all(pc.ends_with(names, suffix)).as_py()
        and pc.all(pc.equal(pc.count_substring(names, "."), suffix.count("."))).as_py()
        and not pc.any(pc.match_substring_regex(names, r"[/\\A-Z]")).as_py()
    )
