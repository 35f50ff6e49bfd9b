"""The words the tables are written in. Apart from the tables, which take long to import."""

REAL, FAKE = "REAL", "FAKE"
LABELS = (REAL, FAKE)

#: What became of a clip, in the clip log.
STATUSES = ("ok", "no_face", "missing", "unreadable", "truncated", "timeout", "crashed")
#: The statuses that count as a failure (exit code 3).
FAILURES = ("missing", "unreadable", "truncated", "timeout", "crashed")
