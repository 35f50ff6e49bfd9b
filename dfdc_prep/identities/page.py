"""identities.html: uncertain pairs side by side, weak faces, and the largest groups."""

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops.files import resolve_inside
from dfdc_prep.errors import ShardError
from dfdc_prep.identities.encoder import brightened, decode
from dfdc_prep.reports.page import (
    MAX_TEXT_CHARS,
    Block,
    Command,
    Group,
    Groups,
    Page,
    Picture,
    Section,
    Sheet,
    Text,
    TextList,
    thumbnail,
    write_page,
)
from manifests.folders import FacesFolder
from manifests.identities.evidence import ALONE
from manifests.identities.people import THRESHOLD, Identities
from manifests.identities.table import DIFFERENT, SAME
from manifests.wording import counted

#: Most weak faces and people shown, and faces of one person; of pairs, all that there are.
MAX_WEAK, MAX_PEOPLE, MAX_FACES = 100, 40, 8
_SIDE = 112


def write_identities_page(
    faces: Path, found: Identities, encodings: pa.Table, threshold: float
) -> None:
    """Write the page with pictures of faces; OutputError if another run is writing it."""
    first = encodings.filter(pc.equal(encodings["rank"], 0)).select(["family", "path", "light"])
    best = {row["family"]: (row["path"], row["light"]) for row in first.to_pylist()[::-1]}
    pictures = _Pictures(os.path.realpath(faces), found.families.to_pylist(), best)
    alone = [each for each in sorted(found.doubts.items()) if ALONE in each[1]]
    page = Page(
        title="Estimated identities",
        lead="Who is filmed, estimated from faces; the data set names nobody. The pictures and "
        "the encodings are biometric data: dfdc-prep identify --forget removes them.",
        facts=[
            ("families", len(found.families)),
            ("with a face", len(found.identified)),
            ("estimated people", len(found.people)),
            ("uncertain families", len(found.doubts)),
        ],
        sections=[
            Section("Kept apart", _pairs(pictures, found, threshold, joined=False)),
            Section("Joined on weak evidence", _pairs(pictures, found, threshold, joined=True)),
            Section("Weak evidence that resembles nobody", _weak(pictures, alone)),
            Section("Largest groups", _people(pictures, found)),
        ],
        footer=f"dfdc-prep identify, threshold {threshold:g}. Distances are "
        "Euclidean, of two groups the average of their pairs. Encoders err more for some "
        "groups of people.",
    )
    write_page(page, faces / FacesFolder.IDENTITIES_PAGE)


class _Pictures(NamedTuple):
    """The pictures of families."""

    root: str  # real path of the faces folder
    names: list[str]  # of the families
    best: dict[str, tuple[str, float]]  # path and light of the best crop of each with a face

    def of(self, family: int, *lines: str) -> Picture:
        """The best crop of a family, brightened if it is dark; unreadable if it vanished."""
        name = self.names[family]
        path, light = self.best.get(name, ("", 0.0))
        shown = None
        with suppress(OSError, ShardError):
            image = decode(Path(resolve_inside(self.root, path)).read_bytes())
            shown = None if image is None else thumbnail(brightened(image, light), _SIDE)
        return Picture(shown, name, (name, *lines))


def _pairs(pictures: _Pictures, found: Identities, threshold: float, joined: bool) -> list[Block]:
    groups = []
    for pair in found.pairs:
        if pair.joined == joined:
            one, two = pictures.names[pair.first], pictures.names[pair.second]
            line = (
                f"{'joined at' if joined else 'apart by'} {pair.distance:.2f}, "
                f"{counted(pair.moved, 'family')} to move"
            )
            shown = [pictures.of(pair.first), pictures.of(pair.second)]
            commands = _commands(one, two, threshold)
            line += "" if commands else "; settle it in identity_pairs.csv"
            groups.append(Group(shown, line, commands))
    if not groups:
        return [Text("None.")]
    how = [
        "The two closest clips of each pair of groups are shown.",
        "Settle a pair with dfdc-prep identify and --same A,B or --different A,B: the buttons copy "
        "the whole command. Or fill in the column relation of identity_pairs.csv and give it as "
        "--pairs.",
    ]
    return [TextList(how), Groups("Those that move most families first", groups)]


def _commands(one: str, two: str, threshold: float) -> list[Command]:
    """What settles a pair of families; nothing for names that cannot be given in a command."""
    names = f"{one},{two}"
    rest = "" if threshold == THRESHOLD else f" --threshold {threshold!r}"
    found = [
        Command(f"Copy --{how}", "dfdc-prep identify", f"--{how} {shlex.quote(names)}{rest}")
        for how in (SAME, DIFFERENT)
    ]
    usable = names.isprintable() and names.count(",") == 1
    usable &= all(name == name.strip() for name in (one, two))
    return found if usable and all(len(each.after) < MAX_TEXT_CHARS for each in found) else []


def _weak(pictures: _Pictures, alone: list[tuple[int, tuple[str, ...]]]) -> list[Block]:
    if not alone:
        return [Text("None.")]
    shown = [pictures.of(family, ", ".join(doubts)) for family, doubts in alone[:MAX_WEAK]]
    caption = "Dark, in profile, small, unlike each other, or of a fake"
    return [
        Text("These faces are their own identity unless a settled pair says otherwise."),
        Sheet(caption, shown, len(alone) - len(shown)),
    ]


def _people(pictures: _Pictures, found: Identities) -> list[Block]:
    members: dict[int, list[int]] = {}
    for family in sorted(found.identified):
        members.setdefault(int(found.identity[family]), []).append(family)
    groups = []
    for identity, families in found.people[:MAX_PEOPLE]:
        line = f"{pictures.names[identity]}: {counted(families, 'family')}"
        groups.append(Group([pictures.of(each) for each in members[identity][:MAX_FACES]], line))
    more = max(0, len(found.people) - MAX_PEOPLE)
    return [Groups("At most eight faces each", groups, more) if groups else Text("None.")]
