"""Relatives: clips made from one original, as far as names of clips and data sets tell.

This module imports nothing heavy, so that the catalog can use it before the workers start.
"""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from manifests.labels import FAKE
from manifests.wording import counted

#: Extensions of clips and of what is made from them.
_EXTENSIONS = (
    "mp4 m4v mov avi mkv webm mpg mpeg wmv flv ogv 3gp ts mts gif "
    "png jpg jpeg jpe jp2 webp bmp tif tiff npy npz pt wav mp3 flac"
)
#: A path without its extensions, as group 1. For re and for Arrow's RE2.
STEM_PATTERN = rf"(?is)^(.*?[^/\\.].*?)(\.({'|'.join(_EXTENSIONS.split())}))+$"
_STEM = re.compile(STEM_PATTERN)


def stem(name: str) -> str:
    """The name of a clip without the folder in front and without its extension."""
    return _STEM.sub(r"\1", re.split(r"[/\\]", name)[-1])


def are_plain(names: Collection[str]) -> bool:
    """Whether names are spelled in one way, so that two different ones are two different clips.

    They are in lower-case ASCII, without a folder, and have the same extension, as in DFDC.
    """
    suffix = suffix_of(next(iter(names), ""))
    return all(
        name.isascii()
        and name.endswith(suffix)
        and name.count(".") == suffix.count(".")
        and not ("/" in name or "\\" in name)
        and name == name.lower()
        for name in names
    )


def suffix_of(name: str) -> str:
    """What follows the stem in a name: its extension, with the dot, or nothing."""
    return re.split(r"[/\\]", name)[-1][len(stem(name)) :]


#: What the name of a clip gives: its original, the person filmed, the one whose face is shown.
People: TypeAlias = tuple[str | None, str | None, str | None]


class Convention(NamedTuple):
    """How a data set names its clips; the patterns match whole stems.

    The groups of `fake` name the person or sequence filmed (`target`) and the one whose face is
    shown (`source`); `original` is the stem of the original, made of these groups.
    """

    dataset: str
    fake: re.Pattern[str]
    reals: tuple[re.Pattern[str], ...]
    original: str

    def read(self, label: str, video: str) -> People | None:
        """The original, the person filmed and the one whose face is shown; None for other names."""
        name, suffix = os.path.splitext(video)
        for pattern in (self.fake,) if label == FAKE else self.reals:
            if found := pattern.fullmatch(name):
                people = found.groupdict()
                original = self.original.format(**people) + suffix if label == FAKE else None
                return original, people.get("target"), people.get("source")
        return None


#: FaceForensics++: sequences of YouTube are numbers; a fake names its own, then its face's.
YOUTUBE = Convention(
    "FaceForensics++",
    re.compile(r"(?P<target>\d{3})_(?P<source>\d{3})"),
    (re.compile(r"(?P<target>\d{3})"),),
    "{target}",
)
#: DeepFakeDetection, in FaceForensics++: actors are numbers, their sequences a number and a scene.
ACTORS = Convention(
    "DeepFakeDetection",
    re.compile(r"(?P<target>\d{2})_(?P<source>\d{2})__(?P<scene>\w+)__(?P<experiment>[0-9A-Z]{8})"),
    (re.compile(r"(?P<target>\d{2})__(?P<scene>\w+)"),),
    "{target}__{scene}",
)
#: Celeb-DF: people and the number of their clip; clips of YouTube-real are numbers alone.
CELEB_DF = Convention(
    "Celeb-DF",
    re.compile(r"(?P<target>id\d+)_(?P<source>id\d+)_(?P<number>\d+)"),
    (re.compile(r"(?P<target>id\d+)_(?P<number>\d+)"), re.compile(r"\d+")),
    "{target}_{number}",
)
#: Talking faces of Celeb-DF++: a clip that speaks to other sound, and no other face.
TALKING = CELEB_DF._replace(
    dataset="Celeb-DF++", fake=re.compile(r"(?P<target>id\d+)_(?P<number>\d+)_test_.+")
)
CONVENTIONS = (YOUTUBE, ACTORS, CELEB_DF, TALKING)
#: A name that may have one of these forms, for a quick search; for re and for Arrow's RE2.
FAKE_PATTERN = r"(\d{3}_\d{3}|\d{2}_\d{2}__|id\d+_id\d+_\d+|id\d+_\d+_test_)"


def read_originals(fakes: Collection[str], reals: Collection[str]) -> dict[str, str]:
    """Return the originals that names of FAKE clips give, with their extension, by their names.

    The whole table decides whether its names follow a convention, because 001_002 may mean
    anything. Either half of the originals that a convention gives are REAL clips of the table; or
    every FAKE name follows one, and every REAL name, if there is any, has a form that REAL clips
    have in it. A REAL name in the form of a FAKE one speaks against.
    """
    real_stems = {stem(name) for name in reals}
    named = {}
    for convention in CONVENTIONS:
        matches = {name: convention.fake.fullmatch(stem(name)) for name in fakes}
        given = {
            name: convention.original.format(**match.groupdict())
            for name, match in matches.items()
            if match
        }
        if given and not any(convention.fake.fullmatch(real) for real in real_stems):
            named[convention] = given
    all_follow = sum(map(len, named.values())) == len(set(fakes)) and all(
        any(pattern.fullmatch(real) for convention in named for pattern in convention.reals)
        for real in real_stems
    )
    known: dict[str, str] = {}
    for given in named.values():
        distinct = set(given.values())
        if all_follow or 2 * len(distinct & real_stems) >= len(distinct):
            known |= given
    return {name: original + suffix_of(name) for name, original in known.items()}


#: What is counted: clips, or crops where it is not known what is a clip.
CLIP, CROP = "clip", "crop"


@dataclass(frozen=True)
class OriginalMatches:
    """How the originals that FAKE clips name were found among the clips; each name counts once."""

    exact: int = 0  # names that are those of a clip
    stem: int = 0  # found without the extension or the folder in front
    unicode: int = 0  # by the Unicode form, composed or decomposed
    case: int = 0  # by the letters without their case
    absent: int = 0  # names of no clip
    ambiguous: int = 0  # that fit several clips, whose families are one

    @property
    def respelled(self) -> int:
        """Names that are spelled otherwise than their clip's."""
        return self.stem + self.unicode + self.case

    def lines(self) -> list[str]:
        """The counts in one line, and one more if there are ambiguous names; none if no name."""
        total = self.exact + self.respelled + self.absent
        if not total:
            return []
        ways = {
            "by their exact name": self.exact,
            "by name without extension or folder": self.stem,
            "by Unicode form": self.unicode,
            "by name without letter case": self.case,
        }
        found = [f"{count:,} {way}" for way, count in ways.items() if count] or ["none"]
        line = f"originals named: {total:,}; found among the clips: {', '.join(found)}; "
        several = f"originals that fit several clips: {self.ambiguous:,}"
        return [
            f"{line}not among them: {self.absent:,}",
            *([f"{several}; the families of these clips count as one"] if self.ambiguous else []),
        ]


@dataclass(frozen=True)
class FamilyCounts:
    """FAKE clips by the source of their family."""

    known: int | None = 0  # the data set names the original; None if of all, and not counted
    names: int = 0  # the original is read from the name
    unknown: int = 0
    noun: str = CLIP  # or CROP

    @property
    def total(self) -> int:
        """FAKE clips; 0 if they were not counted."""
        return (self.known or 0) + self.names + self.unknown

    def lines(self) -> list[str]:
        """The counts in one line; none if there is no FAKE clip."""
        if self.known is None:
            return ["families: known of every FAKE clip"]
        if not self.total:
            return []
        fakes = counted(self.total, f"FAKE {self.noun}")
        return [
            f"families of {fakes}: {self.known:,} known, {self.names:,} read from names, "
            f"{self.unknown:,} not known"
        ]

    def unknown_text(self) -> str:
        """What is not known; empty if all clips and families are known."""
        if self.noun != CLIP:
            return "the clips are not known"
        if not self.unknown:
            return ""
        fakes = counted(self.total, "FAKE clip")
        return f"nothing says what {self.unknown:,} of {fakes} were made from"

    def apart_lines(self) -> list[str]:
        """What splits that divide no family have shown, in one or two lines."""
        shown = "no family is in two splits"
        if why := self.unknown_text():
            shown = f"no known family is in two splits; {why}, so that relatives may be in two"
        return [*self.lines(), shown]
