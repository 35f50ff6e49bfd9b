"""Finds the clips that fakes name as their originals, however the names are spelled.

An original is the clip of that name. Where there is none, it is the clip whose name differs in
its extension or in the folder in front alone; else in its Unicode form; else in letter case.
Where several clips fit, all of them count as the original, so that no relatives are separated.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.relatives import STEM_PATTERN, OriginalMatches, suffix_of
from manifests.tables.codes import Codes, Mask, factorize, factorize_sorted


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
