"""Counts of what is known of the families, for reports.

Apart from the modules that count, because these import pyarrow, which is slow.
"""

from dataclasses import dataclass

#: What is counted: clips, or crops where it is not known what is a clip.
CLIP, CROP = "clip", "crop"


@dataclass(frozen=True)
class OriginalMatches:
    """How the originals that FAKE clips name were found among the clips; each name counts once.

    Attributes:
        exact: names that are those of a clip.
        stem: found without the extension or the folder in front.
        unicode: found by the Unicode form, composed or decomposed.
        case: found by the letters without their case.
        absent: names of no clip.
        ambiguous: names that fit several clips; the families of these are one.
    """

    exact: int = 0
    stem: int = 0
    unicode: int = 0
    case: int = 0
    absent: int = 0
    ambiguous: int = 0

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
        lines = [
            f"originals named: {total:,}; found among the clips: {', '.join(found)}; "
            f"not among them: {self.absent:,}"
        ]
        if self.ambiguous:
            lines.append(
                f"originals that fit several clips: {self.ambiguous:,}; the families of these "
                "clips count as one"
            )
        return lines


@dataclass(frozen=True)
class FamilyCounts:
    """FAKE clips by the source of their family.

    Attributes:
        known: clips whose original the data set names; None if those are all, and not counted.
        names: clips whose original is read from their names.
        unknown: clips of which nothing says what they were made from.
        noun: CLIP or CROP.
    """

    known: int | None = 0
    names: int = 0
    unknown: int = 0
    noun: str = CLIP

    @property
    def _counted(self) -> str:
        return f"{self.total:,} FAKE {self.noun}{'' if self.total == 1 else 's'}"

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
        return [
            f"families of {self._counted}: {self.known:,} known, {self.names:,} read from names, "
            f"{self.unknown:,} not known"
        ]

    def unknown_text(self) -> str:
        """What is not known; empty if all clips and families are known."""
        if self.noun != CLIP:
            return "the clips are not known"
        if not self.unknown:
            return ""
        return f"nothing says what {self.unknown:,} of {self._counted} were made from"

    def apart_lines(self) -> list[str]:
        """What splits that divide no family have shown, in one or two lines."""
        why = self.unknown_text()
        if not why:
            return [*self.lines(), "no family is in two splits"]
        return [
            *self.lines(),
            f"no known family is in two splits; {why}, so that relatives may be in two",
        ]
