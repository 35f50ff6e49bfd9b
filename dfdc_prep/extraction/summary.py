"""Counts of the clips and crops of a run."""

from collections import Counter
from collections.abc import Iterable, Sequence

from dfdc_prep.detectors.registry import FALLBACK
from dfdc_prep.storage.urls import Location
from manifests.folders import FacesFolder
from manifests.labels import FAILURES, LABELS, NO_LABEL
from manifests.result import Result, TextTable
from manifests.schemas import ClipRow
from manifests.wording import counted, duration, listed

MISSING = "missing"
#: Clips that failed that are shown.
_MOST_FAILURES = 5


class RunSummary(Result):
    """Counts of clips by label and status, and of crops by label.

    Args:
        notes: sentences about the output folder and its slices.
        refused: clips left out because of their names; they count as failed.
        detector: the one that looked for faces.

    Attributes:
        seconds: how long the run took, by the clock; None if nothing ran.
        failures: the clips that failed, but for those not on disk: clip, status, reason.
    """

    def __init__(
        self,
        out: Location,
        notes: Sequence[str],
        refused: Sequence[str] = (),
        detector: str | None = None,
    ) -> None:
        self.out = out
        self._notes = notes
        self.clips: Counter[tuple[str | None, str]] = Counter()
        self.crops: Counter[str | None] = Counter()
        self.missing: list[str] = []
        self._mask_errors: list[str] = []
        self.failures: list[tuple[str, str, str]] = []
        self.refused = refused
        self._detector = detector
        self.seconds: float | None = None
        self._earlier = 0

    def add_earlier(self, families: Iterable[Iterable[ClipRow]]) -> None:
        """Count clips that were done before this run."""
        for clips in families:
            self.add(clips)
        self._earlier = self.clips.total()

    def add(self, clips: Iterable[ClipRow]) -> None:
        """Count rows of the clip log."""
        for clip in clips:
            self.clips[clip["label"], clip["status"]] += 1
            self.crops[clip["label"]] += clip["faces"]
            if clip["mask_error"]:
                self._mask_errors.append(clip["mask_error"])
            if clip["status"] == MISSING:
                self.missing.append(clip["video"])
            elif clip["status"] in FAILURES:
                name = f"{clip['part']}/{clip['video']}"
                self.failures.append((name, clip["status"], clip["error"] or ""))

    @property
    def manifest(self) -> Location:
        """The manifest, one row per crop."""
        return self.out / FacesFolder.MANIFEST

    @property
    def failed(self) -> int:
        """Clips that could not be read completely, in clips.parquet, and those left out by name."""
        failed = sum(n for (_, status), n in self.clips.items() if status in FAILURES)
        return failed + len(self.refused)

    @property
    def faces(self) -> int:
        """Number of crops written."""
        return self.crops.total()

    @property
    def no_crops(self) -> bool:
        """Whether there were clips, and none gave a crop."""
        return bool(self.clips) and not self.faces

    def as_json(self) -> dict[str, object]:
        """The counts as values for JSON."""
        clips = [[*key, count] for key, count in sorted(self.clips.items(), key=str)]
        return {"out": str(self.out), "clips": clips, "crops": self.crops, "failed": self.failed}

    def conclusion(self) -> str:
        """The last line: how many crops there are, and what to do if there are none."""
        if not self.no_crops:
            return f"{counted(self.faces, 'crop')} in {self.out}"
        searched = sum(n for (_, status), n in self.clips.items() if status not in FAILURES)
        if not searched:
            failed = counted(self.clips.total(), "clip")
            return f"no crop in {self.out}: {failed} failed; see their reasons, and look at SOURCE"
        other = "" if self._detector == FALLBACK else f", and try --detector {FALLBACK} --overwrite"
        return (
            f"no crop in {self.out}: no face was found in {counted(searched, 'clip')}; "
            f"look at the clips and their statuses{other}"
        )

    def text(self) -> str:
        """The final report: a table with one row per label, then the notes and the conclusion."""
        header = f"{'':6}{'clips':>9}{'with face':>11}{'without':>9}{'failed':>8}{'crops':>10}"
        lines = [
            f"{label:8}{clips:7,}{with_face:11,}{without:9,}{failed:8,}{crops:10,}"
            for label, clips, with_face, without, failed, crops in self.rows()
        ]
        table = self._first_failures()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        return "\n".join([header, *lines, *self.notes(), self.conclusion()])

    def parts(self) -> Iterable[TextTable | str]:
        header = ("label", "clips", "with face", "without", "failed", "crops")
        parts: list[TextTable | str] = [TextTable(header, self.rows())]
        if found := self._first_failures():
            parts.append(TextTable(found[0], found[1:]))
        return [*parts, *self.notes(), self.conclusion()]

    def _first_failures(self) -> list[tuple[str, str, str]]:
        """The first clips by name that failed, below a header; none if none did."""
        if not self.failures:
            return []
        first = sorted(self.failures)[:_MOST_FAILURES]
        shown = [(_shown(name), status, _shown(reason)) for name, status, reason in first]
        more = len(self.failures) - len(first)
        header = f"failed, {more:,} more not shown" if more else "failed"
        return [(header, "status", "reason"), *shown]

    def cells(self) -> TextTable:
        clips = sorted(self.clips.items())
        return TextTable(("label", "status", "clips"), ([*key, count] for key, count in clips))

    def rows(self) -> list[tuple[str, int, int, int, int, int]]:
        """For each label: clips, those with a face, those without, those that failed, crops."""
        rows = []
        known = {label for label, _ in self.clips}
        labels = LABELS if known & set(LABELS) or not known else ()
        for label in (*labels, *({NO_LABEL} & known)):
            counts = {status: n for (of, status), n in self.clips.items() if of == label}
            failed = sum(counts.get(status, 0) for status in FAILURES)
            ok, no_face = counts.get("ok", 0), counts.get("no_face", 0)
            rows.append((label, sum(counts.values()), ok, no_face, failed, self.crops[label]))
        return rows

    def notes(self) -> list[str]:
        """The lines below the tables: the output folder, clips left out or missing, the time."""
        notes = list(self._notes)
        if self.refused:
            notes.append(
                f"left out, {len(self.refused):,} with a name that no file can have or no terminal "
                f"shows: {listed(sorted(self.refused))}; rename the file and its entry"
            )
        if self.missing:
            notes.append(
                f"not on disk, {len(self.missing):,} of {counted(self.clips.total(), 'clip')}: "
                f"{listed(sorted(self.missing))}"
            )
        if self._mask_errors:
            clips = counted(len(self._mask_errors), "clip")
            notes.append(
                f"masks computed instead of given, some or all of {clips}, as mask_error in "
                f"{FacesFolder.CLIPS} says: {_shown(min(self._mask_errors))}"
            )
        done = self.clips.total() - self._earlier
        if done and self.seconds is not None:
            before = f"; {self._earlier:,} done before" if self._earlier else ""
            rate = f"{done / self.seconds:,.2f} a second"
            notes.append(f"{counted(done, 'clip')} in {duration(self.seconds)}, {rate}{before}")
        return notes


def _shown(text: str) -> str:
    return text if text.isprintable() else ascii(text)
