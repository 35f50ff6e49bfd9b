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
(known); the names of the clips give it, as in FaceForensics++ and Celeb-DF (names); or nothing does
(unknown), and it counts as a family of its own, though its original may be any clip.
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
    """Return the family of every row, whatever their order, and how the originals were found.

    `video`, never null, and `original` are file names, `label` REAL or FAKE; string [rows] each.
    """
    found = _connect(video, _originals_of_fakes(label, original), [])
    return found.names.take(pa.array(found.family)), found.matches


def family_column(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return the family of every row: the family column, or derived from the originals."""
    if "family" in table.column_names:
        return table["family"]
    return resolve_families(table["video"], table["label"], table["original"])[0]


class Connected(NamedTuple):
    """Families that join all clips that are related."""

    clip: Codes  # int64 [rows], index into the names
    family: Codes  # the same
    names: pa.Array  # string [names]
    matches: OriginalMatches  # how the originals were found


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
    """Number the connected components of the graph with edges first[i] - second[i], [nodes]."""
    # Imported here: DFDC's own tables need no graph, and scipy delays the start of workers.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(first), np.int8)
    graph = coo_matrix((ones, (first, second)), shape=(nodes, nodes))
    group: Codes = connected_components(graph, directed=False)[1].astype(np.int64)
    return group


class Originals(NamedTuple):
    """The clips that names stand for.

    `clip` is that of each name, int64 [names]; itself if it is a clip's. Names of no clip that
    differ in spelling alone stand for the first of them.
    """

    clip: Codes
    first: Codes  # int64 [pairs], clips that fit one name, two at a time
    second: Codes
    matches: OriginalMatches  # how they were found


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
    the first by name. The fakes are nodes that were made from another node.
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

    A family column stays: it was written when all clips were known, some of which may be missing
    here. Without one, `original` is filled where the names of the clips give it. `originals_from`
    is how the originals that the table has are known, KNOWN or NAMES.
    """
    if "original" not in table.column_names:
        table = table.append_column("original", pa.nulls(table.num_rows, pa.string()))
    named = pc.is_valid(table["original"]) if originals_from == NAMES else None
    if "family" not in table.column_names and (read := _read_from_names(table)) is not None:
        named = pc.is_valid(read) if named is None else pc.or_(pc.is_valid(read), named)
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


def unknown_fakes(table: pa.Table) -> Mask:
    """Return which rows are FAKE and of an unknown family, bool [rows]."""
    unknown: Mask = pc.equal(source_column(table), UNKNOWN).fill_null(False).to_numpy()
    return unknown


def count_families(table: pa.Table, clip: Codes | None = None) -> FamilyCounts:
    """Count the FAKE clips by the source of their family; crops, if the clips are not known.

    Without `clip`, int64 [rows], it is derived, but if all families are known; then they are not
    counted.
    """
    fake = pc.equal(table["label"], FAKE).to_numpy()
    noun = CLIP if clips_known(table) else CROP
    if FAMILY_SOURCE in table.column_names:  # quick for many rows
        known_rows = pc.sum(pc.equal(table[FAMILY_SOURCE], KNOWN)).as_py() or 0
        all_known = known_rows == np.count_nonzero(fake)
    else:
        all_known = not (fake & pc.is_null(table["original"]).to_numpy()).any()
    if noun == CLIP and all_known:
        if clip is None and fake.any():
            return FamilyCounts(None, 0, 0)
        return FamilyCounts(0 if clip is None else _count(clip[fake]), 0, 0)
    if clip is None:
        clip = clip_codes(table)
    source = source_column(table)
    rows = [pc.equal(source, kind).fill_null(False).to_numpy() for kind in FAMILY_SOURCES]
    known, names, unknown = (_count(clip[of_kind]) for of_kind in rows)
    return FamilyCounts(known, names, unknown, noun)


def _count(clips: Codes) -> int:
    present = np.zeros(int(clips.max(initial=-1)) + 1, bool)
    present[clips] = True
    return int(np.count_nonzero(present))


def _read_from_names(table: pa.Table) -> pa.ChunkedArray | None:
    """Return the originals that names of FAKE rows without one give, if any; string [rows]."""
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
    """Find the clip of every name that a fake gives as its original, `named`, int64 [fakes].

    The names are distinct; those of the `clips` clips come first. Qualified ones begin with their
    data set and a slash; those of two sets never match.
    """
    is_named = np.zeros(len(names), bool)
    is_named[named] = True
    wanted = clips + np.flatnonzero(is_named[clips:])
    exact = int(np.count_nonzero(is_named[:clips]))
    if not len(wanted) or _are_plain(names):
        none, matches = np.empty(0, np.int64), OriginalMatches(exact, absent=len(wanted))
        return Originals(np.arange(len(names)), none, none, matches)
    used = names.take(pa.array(np.concatenate([wanted, np.arange(clips)])))
    # Equal choices whatever the order of the rows: the first by name.
    rank_wanted, rank_clips = np.split(factorize_sorted(used)[0][0], [len(wanted)])
    stands_for, pairs = np.arange(len(names)), []
    counts = dict.fromkeys(("stem", "unicode", "case"), 0)
    ambiguous, left = 0, np.ones(len(wanted), bool)
    for way, keys in _keys(used, qualified):
        (codes,), distinct = factorize(keys)
        wanted_key, clip_key = np.split(codes, [len(wanted)])
        is_key = np.zeros(len(distinct), bool)
        is_key[wanted_key[left]] = True
        hit = np.flatnonzero(is_key[clip_key])
        hit = hit[np.lexsort((rank_clips[hit], clip_key[hit]))]
        key = clip_key[hit]
        first_of_key = np.full(len(distinct), -1, np.int64)
        first_of_key[key[::-1]] = hit[::-1]
        found = left & (first_of_key[wanted_key] >= 0)
        stands_for[wanted[found]] = first_of_key[wanted_key[found]]
        same = key[1:] == key[:-1]
        pairs.append((hit[:-1][same], hit[1:][same]))
        several = np.bincount(key, minlength=len(distinct))[wanted_key[found]] > 1
        counts[way] += int(np.count_nonzero(found))
        ambiguous += int(np.count_nonzero(several))
        left &= ~found
        if not left.any():
            break
    # Names of no clip that differ in spelling alone stand for the first of them.
    absent = np.flatnonzero(left)
    absent = absent[np.argsort(rank_wanted[absent])]
    first_of_key = np.full(len(distinct), -1, np.int64)
    first_of_key[wanted_key[absent[::-1]]] = wanted[absent[::-1]]
    stands_for[wanted[absent]] = first_of_key[wanted_key[absent]]
    matches = OriginalMatches(exact, **counts, absent=len(absent), ambiguous=ambiguous)
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    return Originals(stands_for, first, second, matches)


def _keys(names: pa.Array, qualified: bool) -> Iterator[tuple[str, pa.Array]]:
    """Yield the ways of `OriginalMatches`, and what spellings of each name have in common in it."""
    if qualified:
        pattern = r"(?s)^([^/]*/)(.*)$"
        prefix, rest = (
            pc.replace_substring_regex(names, pattern, group) for group in (r"\1", r"\2")
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
    for way, keys in forms.items():
        yield way, keys
        if in_folders:  # first with the nearest folder, which tells equal file names apart
            yield way, pc.replace_substring_regex(keys, r"(?s)^.*/([^/]+/[^/]+)$", r"\1")
            yield way, pc.replace_substring_regex(keys, r"(?s)^.*/", "")


def _are_plain(names: pa.Array) -> bool:
    """As `relatives.are_plain`, for many names."""
    suffix = suffix_of(names[0].as_py())
    return bool(
        pc.all(pc.string_is_ascii(names)).as_py()
        and pc.all(pc.ends_with(names, suffix)).as_py()
        and pc.all(pc.equal(pc.count_substring(names, "."), suffix.count("."))).as_py()
        and not pc.any(pc.match_substring_regex(names, r"[/\\A-Z]")).as_py()
    )
