"""What became of the clips of a run, counted."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from manifests.labels import FAILURES, LABELS


class Tally:
    """Counts of clips by label and status, and of crops by label.

    Args:
        unnamed: clips on disk that no metadata.json names, as part/file.
        said: a line about the detector, where it was chosen for the user.
    """

    def __init__(self, unnamed: tuple[str, ...] = (), said: str | None = None) -> None:
        self.unnamed = unnamed
        self.said = said
        self.clips: Counter[tuple[str, str]] = Counter()
        self.crops: Counter[str] = Counter()

    def add(self, clips: Iterable[dict[str, Any]]) -> None:
        """Count rows of the clip log."""
        for clip in clips:
            self.clips[clip["label"], clip["status"]] += 1
            self.crops[clip["label"]] += clip["faces"]

    @property
    def failed(self) -> int:
        """Clips that could not be read whole, for whatever reason."""
        return sum(n for (_, status), n in self.clips.items() if status in FAILURES)

    @property
    def faces(self) -> int:
        """Crops written."""
        return self.crops.total()

    def text(self) -> str:
        """The closing table, a row a label, and what else is to be said."""
        lines = [f"{'':6}{'clips':>9}{'with face':>11}{'without':>9}{'failed':>8}{'crops':>10}"]
        for label in LABELS:
            of = {status: n for (said, status), n in self.clips.items() if said == label}
            failed = sum(of.get(status, 0) for status in FAILURES)
            lines.append(
                f"{label:6}{sum(of.values()):9,}{of.get('ok', 0):11,}{of.get('no_face', 0):9,}"
                f"{failed:8,}{self.crops[label]:10,}"
            )
        if self.said:
            lines.append(self.said)
        if self.unnamed:
            more = f" and {len(self.unnamed) - 5:,} more" if len(self.unnamed) > 5 else ""
            names = ", ".join(self.unnamed[:5])
            lines.append(f"not named by any metadata.json, left out: {names}{more}")
        return "\n".join(lines)
