"""What plain classifiers get on a split: the result of `probe`, in words, as a table, as a section.

`training` computes it and `report` shows it again, so this module needs none of its libraries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from dfdc_prep.errors import ShardError
from dfdc_prep.reports.page import Block, Section, Table, Text, sentences
from dfdc_prep.run_files import Interval
from manifests.files import file_sha256
from manifests.folders import PROBE, ShardsFolder
from manifests.result import Result, TextTable
from manifests.wording import counted

#: A probe found something if the lower end of its interval, per clip, is above this ROC-AUC.
FOUND_FROM = 0.55
#: What a probe sees of a crop.
MEASURES, THUMBNAIL = "no picture", "thumbnail"
WHOLE, COVERED, ALONE = "whole crop", "face covered", "face alone"
#: The same where the face's place is not known: the rim of a tightly cut face stays visible.
RIM, MIDDLE = "middle covered", "middle alone"


class Scored(NamedTuple):
    """The ROC-AUC of images or of clips, with its interval by family."""

    auc: FiniteFloat
    interval: Interval


@dataclass(frozen=True)
class Probe:
    """A classifier, trained on train and tested on test."""

    features: str  # what it is given
    sees: str  # of a crop: one of the above
    numbers: int  # features of each crop
    crops: dict[str, int]  # in train, validation and test
    clips: int  # in test
    image: Scored
    clip: Scored  # by the mean score of its crops
    penalty: FiniteFloat | None  # of the ridge, chosen on validation; None for a neighbour
    few: str | None  # why there are no intervals; None if there are

    @property
    def name(self) -> str:
        return f"{self.features}, {self.sees}"

    @property
    def without_face(self) -> bool:
        """Whether it sees nothing of the face."""
        return self.sees in (MEASURES, COVERED)

    @property
    def found(self) -> bool:
        """Whether it tells the labels apart by more than chance and a margin."""
        low = self.clip.interval.low
        return low is not None and low > FOUND_FROM

    def verdict(self) -> str:
        """What its ROC-AUC per clip means."""
        low, high = self.clip.interval
        if low is None or high is None:
            return self.few or "too few to say"
        if self.found and self.without_face:
            return "found: REAL and FAKE are told apart without seeing the face"
        if self.found and self.sees == RIM:
            return "found: the rim of the crops alone tells REAL from FAKE"
        if self.found and self.sees == THUMBNAIL:
            return "found: room, light or person alone tell REAL from FAKE"
        if self.found:
            return "found: a detector on this split is to be compared with this, not with 0.5"
        if low > 0.5:
            return f"above chance, but not surely above {FOUND_FROM}"
        if high < 0.5:
            return "below chance: what train teaches is wrong here, as where originals are in train"
        return f"nothing found by this probe, which leaves room for {high:.2f}"


@dataclass(frozen=True)
class ProbeReport(Result):
    """What plain classifiers get on a split as it is."""

    manifest: str  # SHA-256 of the shards' manifest
    error: FiniteFloat  # probability that any of the intervals misses its ROC-AUC, at most
    probes: list[Probe]
    notes: list[str]

    @property
    def found(self) -> list[Probe]:
        """The probes that found something, the strongest first."""
        return sorted((p for p in self.probes if p.found), key=lambda each: -each.clip.auc)

    def as_json(self) -> dict[str, Any]:
        """Return the report as values for JSON, with what it means."""
        values = asdict(self)
        for probe, value in zip(self.probes, values["probes"], strict=True):
            value.update(found=probe.found, verdict=probe.verdict())
        return values | {"found_from": FOUND_FROM, "verdict": self.caption()}

    def caption(self) -> str:
        """The verdict of all probes together."""
        told = [each for each in self.probes if each.few is None]
        if not told:
            return "not known: too few families to say what these probes find"
        if strongest := next(iter(self.found), None):
            blind = next((each for each in self.found if each.without_face), None)
            said = f"{counted(len(self.found), 'probe')} of {len(told)} found something"
            said += f"; strongest {strongest.name}, ROC-AUC {strongest.clip.auc:.2f}"
            if blind:
                return f"{said}; without seeing the face {blind.clip.auc:.2f} ({blind.features})"
            if rim := next((each for each in self.found if each.sees == RIM), None):
                return f"{said}; with the middle covered {rim.clip.auc:.2f}"
            return f"{said}; nothing without seeing the face"
        strongest = max(told, key=lambda each: each.clip.auc)
        return (
            f"nothing found by {counted(len(told), 'probe')}: at most a ROC-AUC of "
            f"{strongest.clip.auc:.2f} ({strongest.name}); other features may tell more"
        )

    def cells(self) -> TextTable:
        header = ("given", "sees", "per clip", "interval", "per image", "what it means")
        return TextTable(header, map(self._row, self.probes))

    @staticmethod
    def _row(probe: Probe) -> Sequence[object]:
        low, high = probe.clip.interval
        interval = "none" if low is None or high is None else f"{low:.3f} to {high:.3f}"
        per_clip, per_image = f"{probe.clip.auc:.3f}", f"{probe.image.auc:.3f}"
        return probe.features, probe.sees, per_clip, interval, per_image, probe.verdict()

    def text(self) -> str:
        lines = [self.caption(), *self._explained()]
        for probe in self.probes:
            features, sees, per_clip, interval, per_image, verdict = self._row(probe)
            lines.append(
                f"{features}, {sees}: ROC-AUC per clip {per_clip} ({interval}), per image "
                f"{per_image}; {verdict}"
            )
        return "\n".join([*lines, *self.notes])

    def parts(self) -> Iterable[TextTable | str]:
        return [self.caption(), *self._explained(), self.cells(), *self.notes]

    def _explained(self) -> list[str]:
        most = max(self.probes, key=lambda each: sum(each.crops.values()))
        train, validation, test = most.crops.values()
        return [
            f"trained on {counted(train, 'crop')}, penalty chosen on {validation:,}, tested "
            f"on {test:,} of {counted(most.clips, 'clip')}",
            f"intervals are by family and hold for all {len(self.probes)} probes together with a "
            f"probability of {100 * (1 - self.error):.0f} %; found is what is above {FOUND_FROM}",
        ]

    def section(self) -> Section:
        """The section of the shards report."""
        table = self.cells()
        blocks: list[Block] = [
            sentences([self.caption()])[0]._replace(kind=self._kind()),
            Table("ROC-AUC of plain classifiers", table.header, [*map(tuple, table.rows)]),
            *sentences([*self._explained(), *self.notes]),
        ]
        return Section(_TITLE, blocks)

    def _kind(self) -> Any:
        if any(each.sees in (MEASURES, COVERED, RIM, THUMBNAIL) for each in self.found):
            return "warning"
        return "plain"


_TITLE = "What plain classifiers get"


def probe_sections(shards: Path) -> list[Section]:
    """The section on what `probe` found in a shards folder; none if it was not run.

    Raises:
        ShardError: the file is not one that `probe` wrote.
    """
    path = shards / PROBE
    if not path.is_file():
        return []
    try:
        report = TypeAdapter(ProbeReport).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ShardError(
            f"expected what dfdc-prep probe wrote in {path}, found another file; run "
            "dfdc-prep probe again, or remove it"
        ) from error
    if report.manifest != file_sha256(shards / ShardsFolder.MANIFEST):
        said = f"{PROBE} is of other shards than these; run dfdc-prep probe again."
        return [Section(_TITLE, [Text(said, "warning")])]
    return [report.section()]
