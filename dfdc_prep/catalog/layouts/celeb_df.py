"""Celeb-DF 1 to 3 (Celeb-DF++): Celeb-real, YouTube-real, Celeb-synthesis and a list of tests."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dfdc_prep.catalog.clips import Layout, Listing, SourceOptions
from dfdc_prep.catalog.files import read_lines, split_path, subfolders
from dfdc_prep.catalog.groups import INNER, Group, inner_folder, left_out, read_groups, unread
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, NAMES, REAL
from manifests.relatives import CELEB_DF as SWAPS
from manifests.relatives import TALKING
from manifests.wording import abbreviated

_TEST_LIST = "List_of_testing_videos.txt"
_CELEBRITIES, _YOUTUBE, _SYNTHESIS = "Celeb-real", "YouTube-real", "Celeb-synthesis"
_SHAPE = (
    "Celeb-DF: Celeb-real/id0_0000.mp4, YouTube-real/00000.mp4 and "
    f"Celeb-synthesis/id0_id1_0000.mp4 beside {_TEST_LIST}; in version 3 "
    "Celeb-synthesis/FaceSwap/SimSwap/id0_id1_0000.mp4"
)
#: How the clips of each folder are named.
_CONVENTIONS = {
    _CELEBRITIES: (SWAPS._replace(reals=SWAPS.reals[:1]),),
    _YOUTUBE: (SWAPS._replace(reals=SWAPS.reals[1:]),),
    _SYNTHESIS: (SWAPS, TALKING),
}
#: The same folders in lower case: copies differ in case.
_FOLDERS = {name.lower(): name for name in _CONVENTIONS}
#: Clips in the list of version 1; that of version 2 has 518.
_TESTS_OF_V1 = 100

#: The clips of the test list as folders and video, in order; None if there is no list.
Tests = dict[tuple[str, str], None] | None


def _read(source: Path, options: SourceOptions) -> Listing:
    folders: dict[str, Path] = {}
    for name in subfolders(source):
        if known := _FOLDERS.get(name.lower()):
            if known in folders:
                raise SourceError(
                    f"expected one folder {known} in {source}, found several spellings; rename one"
                )
            folders[known] = source / name
    if not folders:
        raise SourceError(
            f"expected {_SHAPE}, found none of these folders in {source}; give the folder "
            "that contains them"
        )
    tests = _read_tests(source)
    groups = [group for name in folders for group in _groups(name, folders[name], tests)]
    version = "v2"
    if any(group.part not in _CONVENTIONS for group in groups):  # methods
        version = "v3"
    elif len(tests or ()) == _TESTS_OF_V1 or re.search(r"(?i)v1\b", source.resolve().name):
        version = "v1"
    dataset = options.dataset or f"celeb-df-{version}"
    stems = None if tests is None else {(part, _stem(video)) for part, video in tests}

    def split_of(group: Group, video: str, _filmed: str | None) -> str | None:
        if stems is None:
            return None
        return "test" if (group.part, _stem(video)) in stems else "train"

    entries, strange = read_groups(groups, dataset, split_of)
    if not entries:
        raise SourceError(f"expected {_SHAPE}, found no clip below {source}; unpack it")
    notes = [f"no folder {name} in {source}" for name in _CONVENTIONS if name not in folders]
    if tests is None:
        notes.append(f"no {_TEST_LIST} in {source}: the clips have no official split")
    notes += unread(source, groups)
    more, refused = left_out(strange, "Celeb-DF")
    return Listing(dataset, entries, strange, [*notes, *more], refused, originals_from=NAMES)


def _groups(name: str, folder: Path, tests: Tests) -> Iterator[Group]:
    """The groups of one of the three folders: itself, and in version 3 one for each method."""
    label, method = (FAKE, _SYNTHESIS) if name == _SYNTHESIS else (REAL, None)
    parts = {name: (folder, method)}
    for kind in subfolders(folder) if name == _SYNTHESIS else ():
        methods = [] if kind in INNER else subfolders(folder / kind)
        parts |= {f"{name}_{kind}_{made}": (folder / kind / made, made) for made in methods}
    for part, (place, made_by) in parts.items():
        place = inner_folder(place) or place
        frames = {_stem(n) for n in subfolders(place)}
        names = [video for group, video in tests or () if group == part]
        missing = tuple(video for video in names if _stem(video) not in frames)
        yield Group(part, place, label, made_by, _CONVENTIONS[name], missing)


def _stem(video: str) -> str:
    return os.path.splitext(video)[0]


def _read_tests(source: Path) -> Tests:
    """Read the test list, in which 1 is REAL."""
    path = source / _TEST_LIST
    if not path.is_file():
        return None
    tests: dict[tuple[str, str], None] = {}
    for number, line in read_lines(path):
        label, _, name = line.partition(" ")
        names = split_path(path, name.strip()) if label in ("0", "1") else []
        folder = _FOLDERS.get(names[0].lower()) if len(names) in (2, 4) else None
        if folder is None or (label == "1") != (folder != _SYNTHESIS):
            raise SourceError(
                f"expected 1 and a clip of {_CELEBRITIES} or {_YOUTUBE}, or 0 and one of "
                f"{_SYNTHESIS}, in line {number} of {path}, found {abbreviated(line)}; download "
                "the list again"
            )
        tests["_".join([folder, *names[1:-1]]), names[-1]] = None
    return tests


CELEB_DF = Layout("celeb-df", _SHAPE, ((_CELEBRITIES,), (_SYNTHESIS,)), _read)
