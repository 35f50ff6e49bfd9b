"""Labels and clip statuses used in the tables.

Kept apart from `manifests.schema` because importing pyarrow is slow.
"""

REAL, FAKE = "REAL", "FAKE"
LABELS = (REAL, FAKE)

#: Spellings of the labels in external tables and folder names, in lower case.
_LABEL_SPELLINGS = {"real": REAL, "fake": FAKE, "0": REAL, "1": FAKE, "0.0": REAL, "1.0": FAKE}

#: Words for the labels in names of folders and in columns beside the label, in lower case.
REAL_WORDS = ("real", "original", "pristine", "genuine", "authentic", "bonafide")
FAKE_WORDS = (
    "fake", "deepfake", "manipulated", "manipulation", "forged", "forgery", "synthetic",
    "synthesis", "synthesized", "generated", "tampered", "altered", "spoof",
)  # fmt: skip

#: Statuses of a clip in the clip log.
STATUSES = ("ok", "no_face", "missing", "unreadable", "truncated", "timeout", "crashed")
#: Statuses that count as failures (exit code 3).
FAILURES = ("missing", "unreadable", "truncated", "timeout", "crashed")


def parse_label(text: str | None) -> str | None:
    """Return REAL or FAKE for any accepted spelling in any case, None for other text."""
    return None if text is None else _LABEL_SPELLINGS.get(text.lower())
