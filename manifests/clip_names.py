"""What names of clips say: their stems, and the originals that names of known data sets give.

This module imports nothing heavy, so that the catalog can use it before the workers start.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Convention:
    """How a data set names its clips; the patterns match whole stems.

    Attributes:
        dataset: the data set.
        fake: of a FAKE. Its groups name the person or sequence filmed (`target`) and the one whose
            face is shown (`source`).
        reals: of REAL clips.
        original: the stem of the original, of the groups of `fake`.
    """

    dataset: str
    fake: re.Pattern[str]
    reals: tuple[re.Pattern[str], ...]
    original: str

    def original_of(self, name: str) -> str | None:
        """The stem of the original that a FAKE's stem names, None if it has another form."""
        found = self.fake.fullmatch(name)
        return self.original.format(**found.groupdict()) if found else None


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
CONVENTIONS = (YOUTUBE, ACTORS, CELEB_DF)
#: A name that may have one of these forms, for a quick search; for re and for Arrow's RE2.
FAKE_PATTERN = r"(\d{3}_\d{3}|\d{2}_\d{2}__|id\d+_id\d+_\d+)"


def read_originals(fakes: Collection[str], reals: Collection[str]) -> dict[str, str]:
    """Return the originals that names of FAKE clips give, by the clip's name.

    The whole table decides whether its names follow a convention, because 001_002 may mean
    anything. Either half of the originals that a convention gives are REAL clips of the table; or
    every FAKE name follows one, and every REAL name, if there is any, has a form that REAL clips
    have in it. A REAL name in the form of a FAKE one speaks against.

    Args:
        fakes: names of the FAKE clips that name no original.
        reals: names of the REAL clips.

    Returns:
        The original's name for each fake that gives one; it has the extension of the fake.
    """
    stems = {name: stem(name) for name in fakes}
    real_stems = {stem(name) for name in reals}
    named = {convention: _originals(convention, stems) for convention in CONVENTIONS}
    named = {
        convention: originals
        for convention, originals in named.items()
        if originals and not any(convention.fake.fullmatch(real) for real in real_stems)
    }
    all_follow = sum(map(len, named.values())) == len(stems) and all(
        any(form.fullmatch(real) for convention in named for form in convention.reals)
        for real in real_stems
    )
    found: dict[str, str] = {}
    for originals in named.values():
        given = set(originals.values())
        if all_follow or 2 * len(given & real_stems) >= len(given):
            found |= originals
    return {name: original + suffix_of(name) for name, original in found.items()}


def _originals(convention: Convention, stems: Mapping[str, str]) -> dict[str, str]:
    originals = ((name, convention.original_of(known)) for name, known in stems.items())
    return {name: original for name, original in originals if original is not None}
