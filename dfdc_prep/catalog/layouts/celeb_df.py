"""Celeb-DF, versions 1 and 2: Celeb-real, YouTube-real, Celeb-synthesis and a list of tests."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.catalog.clips import Entry, Listing, Provenance, SourceOptions
from dfdc_prep.catalog.files import (
    abbreviated,
    file_sizes,
    is_video,
    read_lines,
    shortened,
    split_path,
    subfolders,
)
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, NAMES, REAL
from manifests.relatives import CELEB_DF

TEST_LIST = "List_of_testing_videos.txt"
CELEBRITIES, YOUTUBE, SYNTHESIS = "Celeb-real", "YouTube-real", "Celeb-synthesis"
#: The names in each folder. A fake was made from the clip of `target` with its number, with the
#: face of `source`.
_CELEBRITY, _YOUTUBE_NUMBER = CELEB_DF.reals
_NAMES = {CELEBRITIES: _CELEBRITY, YOUTUBE: _YOUTUBE_NUMBER, SYNTHESIS: CELEB_DF.fake}
#: Many copies keep the clips one folder down.
_VIDEOS = "videos"
#: Clips in the list of version 1; that of version 2 has 518.
_TESTS_OF_V1 = 100


class CelebDf:
    """Celeb-DF."""

    name = "celeb-df"
    shape = (
        "Celeb-DF: Celeb-real/id0_0000.mp4, YouTube-real/00000.mp4 and "
        f"Celeb-synthesis/id0_id1_0000.mp4 beside {TEST_LIST}"
    )
    marks: tuple[str, ...] = (CELEBRITIES, SYNTHESIS)

    def dataset(self, source: Path, options: SourceOptions) -> str:
        return options.dataset or _version(source, len(_read_tests(source) or ()))

    def read(self, source: Path, options: SourceOptions) -> Listing:
        folders = _find_folders(source)
        if not folders:
            raise SourceError(
                f"expected {self.shape}, found none of these folders in {source}; pass the folder "
                "that contains them"
            )
        tests = _read_tests(source)
        reader = _Reader(self.dataset(source, options), tests)
        entries, strange = [], []
        listed = set(tests or ())
        for name, folder in folders.items():
            sizes: dict[str, int | None] = {**file_sizes(folder)}
            # Clips that only the list names are missing.
            sizes |= {video: None for part, video in listed if part == name and video not in sizes}
            for video in sorted(sizes):
                entry = reader.entry(name, video, folder, sizes[video])
                if entry:
                    entries.append(entry)
                elif is_video(video):
                    strange.append(f"{name}/{video}")
        if not entries:
            raise SourceError(f"expected {self.shape}, found no clip below {source}; unpack it")
        notes = [f"no folder {name} in {source}" for name in _NAMES if name not in folders]
        if tests is None:
            notes.append(f"no {TEST_LIST} in {source}: the clips have no official split")
        if strange:
            notes.append(f"not named as in Celeb-DF, left out: {shortened(strange)}")
        refused = tuple(name for name in strange if not name.isprintable())
        return Listing(entries, tuple(strange), tuple(notes), originals_from=NAMES, refused=refused)


def _find_folders(source: Path) -> dict[str, Path]:
    """The folders of clips by their official name; copies differ in case and in depth."""
    official = {name.lower(): name for name in _NAMES}
    found: dict[str, Path] = {}
    for name in subfolders(source):
        known = official.get(name.lower())
        if known is None:
            continue
        if known in found:
            raise SourceError(
                f"expected one folder {known} in {source}, found several spellings; rename one"
            )
        below = source / name / _VIDEOS
        found[known] = below if below.is_dir() else source / name
    return found


def _read_tests(source: Path) -> dict[tuple[str, str], None] | None:
    """The clips of the test list as folder and video, in order; None if there is no list.

    Raises:
        SourceError: a line is invalid, or its label contradicts its folder: here 1 is REAL.
    """
    path = source / TEST_LIST
    if not path.is_file():
        return None
    official = {name.lower(): name for name in _NAMES}
    tests: dict[tuple[str, str], None] = {}
    for number, line in read_lines(path):
        label, _, name = line.partition(" ")
        names = split_path(path, name.strip()) if label in ("0", "1") else []
        folder = official.get(names[0].lower()) if len(names) == 2 else None
        if folder is None or (label == "1") != (folder != SYNTHESIS):
            raise SourceError(
                f"expected 1 and a clip of {CELEBRITIES} or {YOUTUBE}, or 0 and one of "
                f"{SYNTHESIS}, in line {number} of {path}, found {abbreviated(line)}; download "
                "the list again"
            )
        tests[folder, names[1]] = None
    return tests


def _version(source: Path, tests: int) -> str:
    """The data set's name: version 1 has 100 tests, or says so in the name of its folder."""
    first = tests == _TESTS_OF_V1 or re.search(r"v1\b", source.resolve().name, re.IGNORECASE)
    return "celeb-df-v1" if first else "celeb-df-v2"


@dataclass(frozen=True)
class _Reader:
    """Reads the names of clips."""

    dataset: str
    tests: dict[tuple[str, str], None] | None

    def entry(self, part: str, video: str, folder: Path, size: int | None) -> Entry | None:
        """The entry of a clip, None if Celeb-DF has no such name."""
        name, suffix = os.path.splitext(video)
        found = _NAMES[part].fullmatch(name)
        if not found or not is_video(video):
            return None
        people = found.groupdict()
        split = None
        if self.tests is not None:
            split = "test" if (part, video) in self.tests else "train"
        label = FAKE if part == SYNTHESIS else REAL
        original = f"{CELEB_DF.original.format(**people)}{suffix}" if label == FAKE else None
        provenance = Provenance(
            self.dataset,
            part if label == FAKE else None,
            people.get("target"),
            people.get("source"),
            split,
        )
        return Entry(part, video, label, original, f"{folder}{os.sep}{video}", size, provenance)
