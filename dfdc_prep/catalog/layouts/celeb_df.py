"""Celeb-DF, versions 1 and 2: Celeb-real, YouTube-real, Celeb-synthesis and a list of tests."""

import os
import re
from pathlib import Path

from dfdc_prep.catalog.clips import Entry, Layout, Listing, Provenance, SourceOptions
from dfdc_prep.catalog.files import file_sizes, is_video, read_lines, split_path, subfolders
from dfdc_prep.errors import SourceError
from manifests import relatives
from manifests.labels import FAKE, NAMES, REAL
from manifests.wording import abbreviated, listed

_TEST_LIST = "List_of_testing_videos.txt"
_CELEBRITIES, _YOUTUBE, _SYNTHESIS = "Celeb-real", "YouTube-real", "Celeb-synthesis"
_SHAPE = (
    "Celeb-DF: Celeb-real/id0_0000.mp4, YouTube-real/00000.mp4 and "
    f"Celeb-synthesis/id0_id1_0000.mp4 beside {_TEST_LIST}"
)
#: The names in each folder. A fake was made from the clip of `target` with its number, with the
#: face of `source`.
_REALS = dict(zip((_CELEBRITIES, _YOUTUBE), relatives.CELEB_DF.reals, strict=True))
_NAMES = {**_REALS, _SYNTHESIS: relatives.CELEB_DF.fake}
#: The same folders in lower case: copies differ in case.
_FOLDERS = {name.lower(): name for name in _NAMES}
#: Many copies keep the clips one folder down.
_VIDEOS = "videos"
#: Clips in the list of version 1; that of version 2 has 518.
_TESTS_OF_V1 = 100

#: The clips of the test list as folder and video, in order; None if there is no list.
Tests = dict[tuple[str, str], None] | None


def _read(source: Path, options: SourceOptions) -> Listing:
    folders = _find_folders(source)
    if not folders:
        raise SourceError(
            f"expected {_SHAPE}, found none of these folders in {source}; pass the folder "
            "that contains them"
        )
    tests = _read_tests(source)
    dataset = options.dataset or _version(source, len(tests or ()))
    entries, strange = [], []
    for name, folder in folders.items():
        sizes: dict[str, int | None] = {**file_sizes(folder)}
        # Clips that only the list names are missing.
        sizes |= {video: None for part, video in tests or () if part == name and video not in sizes}
        for video in sorted(filter(is_video, sizes)):
            found = _NAMES[name].fullmatch(os.path.splitext(video)[0])
            if found is None:
                strange.append(f"{name}/{video}")
                continue
            label, original, provenance = _parse(dataset, name, video, found, tests)
            path = f"{folder}{os.sep}{video}"
            entries.append(Entry(name, video, label, original, path, sizes[video], provenance))
    if not entries:
        raise SourceError(f"expected {_SHAPE}, found no clip below {source}; unpack it")
    notes = [f"no folder {name} in {source}" for name in _NAMES if name not in folders]
    if tests is None:
        notes.append(f"no {_TEST_LIST} in {source}: the clips have no official split")
    if strange:
        notes.append(f"not named as in Celeb-DF, left out: {listed(strange)}")
    refused = [name for name in strange if not name.isprintable()]
    return Listing(dataset, entries, strange, notes, refused, originals_from=NAMES)


def _parse(
    dataset: str, part: str, video: str, found: re.Match[str], tests: Tests
) -> tuple[str, str | None, Provenance]:
    """The label, the original and the rest of a clip whose name has the form of its folder."""
    people = found.groupdict()
    filmed, face = people.get("target"), people.get("source")
    split = None
    if tests is not None:
        split = "test" if (part, video) in tests else "train"
    if part != _SYNTHESIS:
        return REAL, None, Provenance(dataset, None, filmed, face, split)
    original = relatives.CELEB_DF.original.format(**people) + os.path.splitext(video)[1]
    return FAKE, original, Provenance(dataset, part, filmed, face, split)


def _find_folders(source: Path) -> dict[str, Path]:
    """The folders of clips by their official name; copies differ in case and in depth."""
    found: dict[str, Path] = {}
    for name in subfolders(source):
        known = _FOLDERS.get(name.lower())
        if known is None:
            continue
        if known in found:
            raise SourceError(
                f"expected one folder {known} in {source}, found several spellings; rename one"
            )
        below = source / name / _VIDEOS
        found[known] = below if below.is_dir() else source / name
    return found


def _read_tests(source: Path) -> Tests:
    """Read the test list.

    Raises:
        SourceError: a line is invalid, or its label contradicts its folder: here 1 is REAL.
    """
    path = source / _TEST_LIST
    if not path.is_file():
        return None
    tests: dict[tuple[str, str], None] = {}
    for number, line in read_lines(path):
        label, _, name = line.partition(" ")
        names = split_path(path, name.strip()) if label in ("0", "1") else []
        folder = _FOLDERS.get(names[0].lower()) if len(names) == 2 else None
        if folder is None or (label == "1") != (folder != _SYNTHESIS):
            raise SourceError(
                f"expected 1 and a clip of {_CELEBRITIES} or {_YOUTUBE}, or 0 and one of "
                f"{_SYNTHESIS}, in line {number} of {path}, found {abbreviated(line)}; download "
                "the list again"
            )
        tests[folder, names[1]] = None
    return tests


def _version(source: Path, tests: int) -> str:
    """The data set's name: version 1 has 100 tests, or says so in the name of its folder."""
    first = tests == _TESTS_OF_V1 or re.search(r"v1\b", source.resolve().name, re.IGNORECASE)
    return "celeb-df-v1" if first else "celeb-df-v2"


CELEB_DF = Layout("celeb-df", _SHAPE, (_CELEBRITIES, _SYNTHESIS), _read)
