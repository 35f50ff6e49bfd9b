"""identities.html: uncertain pairs side by side, weak faces, and the largest groups."""

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from markupsafe import Markup

from dfdc_prep.crops.files import resolve_inside
from dfdc_prep.errors import ShardError
from dfdc_prep.identities.encoder import brightened
from dfdc_prep.identities.worker import decode
from dfdc_prep.reports.page import (
    Block,
    Group,
    Groups,
    Page,
    Picture,
    Section,
    Sheet,
    Text,
    TextList,
    write_page,
)
from dfdc_prep.reports.thumbnails import thumbnail
from manifests.identities.doubts import GroupPair
from manifests.identities.evidence import ALONE
from manifests.identities.people import Identities

PAGE = "identities.html"
#: Most weak faces and people shown, and faces of one person; of pairs, all that there are.
MAX_WEAK, MAX_PEOPLE, MAX_FACES = 100, 40, 8
_SIDE = 112


def write_identities_page(
    faces: Path, found: Identities, encodings: pa.Table, threshold: float
) -> None:
    """Write the page; it holds pictures of faces and loads nothing.

    Raises:
        OutputError: another run is writing it.
    """
    columns = encodings.filter(_is_best(encodings)).select(["family", "path", "light"])
    best = {row["family"]: (row["path"], row["light"]) for row in columns.to_pylist()[::-1]}
    write_page(_Builder(os.path.realpath(faces), found, best, threshold).page(), faces / PAGE)


def _is_best(encodings: pa.Table) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.equal(encodings["rank"], 0)


@dataclass(frozen=True)
class _Builder:
    """Builds the page.

    Attributes:
        root: real path of the faces folder.
        best: for each family with a face, the path and the light of its best crop.
    """

    root: str
    found: Identities
    best: dict[str, tuple[str, float]]
    threshold: float

    def page(self) -> Page:
        apart = [pair for pair in self.found.pairs if not pair.joined]
        joined = [pair for pair in self.found.pairs if pair.joined]
        weak = {f: each for f, each in self.found.doubts.items() if ALONE in each}
        people = self.found.people
        return Page(
            title="Estimated identities",
            lead="Who is filmed, estimated from faces; the data set names nobody. The pictures and "
            "the encodings are biometric data: dfdc-prep identify --forget removes them.",
            facts=[
                ("families", len(self.found.families)),
                ("with a face", len(self.found.identified)),
                ("estimated people", len(people)),
                ("uncertain families", len(self.found.doubts)),
            ],
            sections=[
                Section("Kept apart", self._pairs(apart, "apart by")),
                Section("Joined on weak evidence", self._pairs(joined, "joined at")),
                Section("Weak evidence that resembles nobody", self._weak(weak)),
                Section("Largest groups", self._people(people)),
            ],
            footer=f"dfdc-prep identify, threshold {self.threshold:g}. Distances are "
            "Euclidean, of two groups the average of their pairs. Encoders err more for some "
            "groups of people.",
        )

    def _pairs(self, pairs: list[GroupPair], how: str) -> list[Block]:
        if not pairs:
            return [Text("None.")]
        names = self.found.families
        groups = [
            Group(
                [self._picture(pair.first), self._picture(pair.second)],
                f"{how} {pair.distance:.2f}, {pair.moved:,} "
                f"{'family' if pair.moved == 1 else 'families'} to move; --same or --different "
                f"{names[pair.first].as_py()},{names[pair.second].as_py()}",
            )
            for pair in pairs
        ]
        return [
            TextList(
                [
                    "The two closest clips of each pair of groups are shown.",
                    "Settle a pair with dfdc-prep identify and the option below it, or fill in "
                    "the column relation of identity_pairs.csv and pass it as --pairs.",
                ]
            ),
            Groups("Those that move most families first", groups),
        ]

    def _weak(self, weak: dict[int, tuple[str, ...]]) -> list[Block]:
        if not weak:
            return [Text("None.")]
        shown = sorted(weak.items())[:MAX_WEAK]
        pictures = [self._picture(family, ", ".join(doubts)) for family, doubts in shown]
        return [
            Text("These faces are their own identity unless a settled pair says otherwise."),
            Sheet(
                "Dark, in profile, small, unlike each other, or of a fake",
                pictures,
                len(weak) - len(shown),
            ),
        ]

    def _people(self, people: list[tuple[int, int]]) -> list[Block]:
        members: dict[int, list[int]] = {}
        for family in sorted(self.found.identified):
            members.setdefault(int(self.found.identity[family]), []).append(family)
        groups = [
            Group(
                [self._picture(family) for family in members[identity][:MAX_FACES]],
                f"{self.found.families[identity].as_py()}: {families:,} "
                f"{'family' if families == 1 else 'families'}",
            )
            for identity, families in people[:MAX_PEOPLE]
        ]
        if not groups:
            return [Text("None.")]
        return [Groups("At most eight faces each", groups, max(0, len(people) - MAX_PEOPLE))]

    def _picture(self, family: int, line: str = "") -> Picture:
        name = self.found.families[family].as_py()
        lines = (name, line) if line else (name,)
        return Picture(self._thumbnail(name), name, lines)

    def _thumbnail(self, name: str) -> Markup | None:
        """The best crop of a family, brightened if it is dark; None if it vanished."""
        path, light = self.best.get(name, ("", 0.0))
        try:
            with open(resolve_inside(self.root, path), "rb") as file:
                image = decode(file.read())
        except (OSError, ShardError):
            return None
        return None if image is None else thumbnail(brightened(image, light), _SIDE)
