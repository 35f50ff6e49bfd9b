"""Labels, clip statuses and sources of families used in the tables.

Kept apart from `manifests.arrow` because importing pyarrow is slow.
"""

import re
from collections.abc import Sequence

REAL, FAKE = "REAL", "FAKE"
LABELS = (REAL, FAKE)
#: The label of a clip and of its crops where nothing says it. Training and audits leave it out.
NO_LABEL = "UNKNOWN"

#: Spellings of the labels in external tables and folder names, in lower case.
_LABEL_SPELLINGS = {"real": REAL, "fake": FAKE, "0": REAL, "1": FAKE, "0.0": REAL, "1.0": FAKE}
_LABEL_SPELLINGS |= {"false": REAL, "true": FAKE}  # as answers to the question of a fake

#: Words for the labels in names of folders and in columns beside the label, in lower case.
REAL_WORDS = ("real", "original", "pristine", "genuine", "authentic", "bonafide")
FAKE_WORDS = (
    "fake", "deepfake", "manipulated", "manipulation", "forged", "forgery", "synthetic",
    "synthesis", "synthesized", "generated", "tampered", "altered", "spoof",
)  # fmt: skip

#: The status of a clip that is tried again by the same command.
TIMEOUT = "timeout"
#: Statuses of a clip in the clip log.
STATUSES = ("ok", "no_face", "missing", "unreadable", "truncated", TIMEOUT, "crashed")
#: Statuses that count as failures (exit code 3).
FAILURES = ("missing", "unreadable", "truncated", TIMEOUT, "crashed")

#: How the family of a FAKE clip is known: the data set names its original, or its name does, or
#: nothing says what it was made from, and its family is itself alone.
KNOWN, NAMES, UNKNOWN = "known", "names", "unknown"
FAMILY_SOURCES = (KNOWN, NAMES, UNKNOWN)

#: Words of either label, plurals too.
_WORDS = {
    spelling: label
    for label, words in ((REAL, REAL_WORDS), (FAKE, FAKE_WORDS))
    for word in words
    for spelling in (word, f"{word}s")
}


def parse_label(text: str | None) -> str | None:
    """Return REAL or FAKE for any accepted spelling in any case, None for other text."""
    return None if text is None else _LABEL_SPELLINGS.get(text.lower(), word_label(text))


def word_label(text: str) -> str | None:
    """Return REAL or FAKE for a word of either, such as Original or fakes; None for other text."""
    return _WORDS.get(text.strip().lower())


#: Words beside a label in the name of a folder that change nothing about it.
_NEUTRAL = {
    *("video", "videos", "clip", "clips", "image", "images", "face", "faces", "frame", "frames"),
    *("crop", "crops", "data", "sequence", "sequences", "youtube", "celeb", "class"),
    *("train", "training", "val", "valid", "validation", "test", "testing"),
}


def folder_label(name: str) -> str | None:
    """The label that the name of a folder is as a whole: `real`, `1_fake`, `real_videos`.

    None for `real_actors`, `not_fake`, `original_dataset`: other words may turn the meaning round.
    """
    words = set(re.findall(r"[a-z]+", name.lower())) - _NEUTRAL
    found = {_WORDS.get(word) for word in words}
    return found.pop() if len(found) == 1 else None


def label_in_names(names: Sequence[str]) -> tuple[str | None, bool]:
    """The label that the names of a path give, innermost first, and whether one is it as a whole.

    `training_real` names REAL, `real` is it; `real_vs_fake` names both, and so neither.
    """
    for name in reversed(names):
        words = re.findall(r"[a-z]+", name.lower())
        found = {_WORDS[word] for word in words if word in _WORDS}
        if len(found) == 1:
            return found.pop(), len(words) == 1
    return None, False
