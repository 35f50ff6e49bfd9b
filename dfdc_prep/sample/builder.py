"""Generates the small DFDC-like data set of the demo and the tests, without any download.

Like DFDC: parts with a metadata.json, H.264 clips, originals and their fakes, which have the
same length and are aligned frame by frame. Unlike DFDC: only two people, in front of synthetic
backgrounds. Both faces appear as real and as fake, so that only the swap itself can be learned.
"""

import json
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from dfdc_prep.parallel.threads import ThreadPool
from dfdc_prep.progress import Progress
from dfdc_prep.sample.face_swap import Swap, portraits, swap_face
from dfdc_prep.sample.scenes import Scene
from dfdc_prep.video.picture import Image
from manifests.files import atomic_folder
from manifests.folders import check_unused
from manifests.labels import FAKE, REAL
from manifests.result import Result, TextTable
from manifests.wording import counted

#: Number of families per part. The original of the last family is not on disk.
_FAMILIES_PER_PART = 6
#: Width and height of the clips, pixels; those of the first family are in vertical format.
SIZE = (1280, 720)

#: The entry of one clip in metadata.json.
Entry = dict[str, str | None]


@dataclass(frozen=True)
class SampleReport(Result):
    """Counts of the generated data set."""

    folder: Path
    number_of_parts: int
    families: int
    real: int
    fake: int

    def text(self) -> str:
        """The report for the terminal, one line."""
        return (
            f"{self.folder}: {counted(self.real + self.fake, 'clip')} in "
            f"{counted(self.number_of_parts, 'part')}, {self.real} REAL and {self.fake} FAKE, of "
            f"{counted(self.families, 'family')} and one landscape"
        )

    def cells(self) -> TextTable:
        counts = [("families", self.families), ("REAL clips", self.real), ("FAKE clips", self.fake)]
        return TextTable(("count of", "number"), counts)


@dataclass(frozen=True)
class FamilyPlan:
    """The plan of one family, whose clips share a scene."""

    part: int  # number of the part, from 0
    original: str  # its file name
    on_disk: bool  # whether the original is written
    person: int | None  # index into `portraits()`; the landscape has no face and no fakes
    scene: Scene
    fakes: tuple[tuple[str, Swap], ...] = ()  # file name and face swap of each

    def entries(self) -> dict[str, Entry]:
        """The family's entries in metadata.json, by file name.

        For REAL clips, even parts omit `original`, as in DFDC's parts, and odd parts write null,
        as in its 400-clip sample. An original that is not on disk has no entry, as in DFDC.
        """
        real: Entry = {"label": REAL, "split": "train"}
        if self.part % 2:
            real["original"] = None
        listed = {self.original: real} if self.on_disk else {}
        fake: Entry = {"label": FAKE, "split": "train", "original": self.original}
        return listed | {name: fake for name, _ in self.fakes}

    def clips(self) -> list[tuple[str, Swap | None]]:
        """File name and face swap of the clips to write; the swap of an original is None."""
        return [*([(self.original, None)] if self.on_disk else []), *self.fakes]

    def render(self, swap: Swap | None) -> Iterator[Image]:
        """Yield the frames of the original or of a fake, I420 as from `Scene.render`."""
        if self.person is None:
            return self.scene.render_landscape()
        body, face = portraits()[self.person], portraits()[1 - self.person]
        return self.scene.render(body, swap_face(body, face, swap) if swap else body.image)


def build_sample(dest: Path, families: int = 12, seed: int = 42) -> SampleReport:
    """Generate a data set in the DFDC layout; the same seed gives the same bytes.

    The bytes also depend on the versions of the installed packages, and on whether the CPU has
    AVX (x264 rounds differently without it). The data set is written completely or not at all.

    Args:
        dest: a folder that does not exist or is empty.
        families: at least 2, each with one original and one to three fakes. The clips of the
            first are in vertical format, the original of the last is missing. One landscape clip
            without a face is added.
        seed: seed of all random choices.

    Raises:
        OutputError: `dest` is not empty, or cannot be written.
        ValueError: fewer than two families.
    """
    plans = plan_families(families, seed)
    with atomic_folder(dest) as draft:
        check_unused(dest, lambda name: False)
        _write_tree(draft, plans)
    entries = [entry for family in plans for entry in family.entries().values()]
    real = sum(entry["label"] == REAL for entry in entries)
    parts = len({family.part for family in plans})
    return SampleReport(dest, parts, families, real, len(entries) - real)


def plan_families(families: int, seed: int) -> list[FamilyPlan]:
    """Make all random choices for every family, the landscape last; renders nothing."""
    if families < 2:
        raise ValueError(f"expected at least two families, found {families}")
    rng = np.random.default_rng(seed)
    names = _names(rng)
    plans = []
    per_part = min(_FAMILIES_PER_PART, -(-families // 2))  # there are at least two parts
    for index in range(families):
        # Each pair of families, one per person, has equally many fakes: the face is no clue.
        if index % 2 == 0:
            fakes = int(rng.integers(1, 4))
        plans.append(
            FamilyPlan(
                part=index // per_part,
                original=next(names),
                on_disk=index < families - 1,
                person=index % 2,
                scene=Scene.random(rng, *(SIZE if index else SIZE[::-1])),
                fakes=tuple((next(names), Swap.random(rng)) for _ in range(fakes)),
            )
        )
    return [*plans, FamilyPlan(0, next(names), True, None, Scene.random(rng, *SIZE))]


def _names(rng: np.random.Generator) -> Iterator[str]:
    """Yield random file names in the style of DFDC, ten letters, without repetition."""
    used = set()
    while True:
        name = "".join(rng.choice(list(string.ascii_lowercase), 10)) + ".mp4"
        if name not in used:
            used.add(name)
            yield name


def _write_tree(root: Path, plans: list[FamilyPlan]) -> None:
    """Write all parts with their metadata.json and clips."""
    for part in sorted({family.part for family in plans}):
        folder = root / f"dfdc_train_part_{part}"
        folder.mkdir()
        entries = {
            name: entry
            for family in plans
            if family.part == part
            for name, entry in family.entries().items()
        }
        (folder / "metadata.json").write_text(json.dumps(dict(sorted(entries.items()))))
    portraits()  # fill the cache before the threads start
    clips = [(family, *clip) for family in plans for clip in family.clips()]

    # Threads suffice: OpenCV and the encoder release the GIL.
    with (
        ThreadPool() as pool,
        Progress(len(clips), "clips", "sample") as bar,
    ):

        def cancellable(frames: Iterator[Image]) -> Iterator[Image]:
            for planes in frames:
                pool.check_cancelled()
                yield planes

        def write(pool: ThreadPool, clip: tuple[FamilyPlan, str, Swap | None]) -> None:
            family, name, swap = clip
            path = root / f"dfdc_train_part_{family.part}" / name
            write_clip(path, family.scene, cancellable(family.render(swap)))
            bar.update()

        pool.map(write, clips)


def write_clip(path: Path, scene: Scene, frames: Iterator[Image]) -> None:
    """Encode I420 frames as H.264 in MP4, with B-frames and long GOPs as in DFDC.

    The same frames give the same bytes: one encoder thread, and no macroblock tree (mbtree),
    which reads uninitialised memory in x264 for clips in vertical format.
    """
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=scene.fps)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        quality = {"preset": "veryfast", "crf": "24", "g": "250"}
        stream.options = {**quality, "threads": "1", "mbtree": "0"}
        for planes in frames:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        clip.mux(stream.encode())
