"""The small DFDC-shaped data set of the demo and the tests, made from nothing but installed wheels.

Like DFDC: parts with a metadata.json, H.264 clips, originals and the fakes made from them, of
the same length and aligned frame by frame. Unlike DFDC: two people who sway before painted rooms.
What there is to learn is the swap itself, for both faces are shown as real and as fake alike.
"""

import json
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from dfdc_prep.errors import OutputError
from dfdc_prep.parallel.thread_pool import ThreadPool
from dfdc_prep.sample.face_swap import Swap, portraits, swap_face
from dfdc_prep.sample.scenes import Scene
from dfdc_prep.video.picture import Image
from manifests.io.atomic import whole_folder
from manifests.labels import FAKE, REAL

#: Families in a part; the last family's original is named by its fakes and not on disk.
FAMILIES_PER_PART = 6
#: Width and height of the clips; the first family is filmed upright.
SIZE = (1280, 720)

#: What a metadata.json says of one clip.
Entry = dict[str, str | None]


@dataclass(frozen=True)
class SampleReport:
    """What was built."""

    folder: Path
    parts: int
    families: int
    real: int
    fake: int

    def text(self) -> str:
        """The report, one line."""
        return (
            f"{self.folder}: {self.real + self.fake} clips in {self.parts} parts, {self.real} REAL "
            f"and {self.fake} FAKE, of {self.families} families and one landscape"
        )


@dataclass(frozen=True)
class Family:
    """The plan of one family: who sits there, in what scene, under what names, how swapped.

    `person` is 0 or 1; None is the landscape, which has no face and no fakes.
    """

    part: int
    original: str
    on_disk: bool
    person: int | None
    scene: Scene
    fakes: tuple[tuple[str, Swap], ...] = ()

    def entries(self) -> dict[str, Entry]:
        """The family's share of metadata.json.

        Even parts leave a REAL clip's original out, as DFDC's part files do; odd ones write null,
        as its 400-clip sample does. An original that is not on disk is not listed, as there.
        """
        real: Entry = {"label": REAL, "split": "train"}
        if self.part % 2:
            real["original"] = None
        listed = {self.original: real} if self.on_disk else {}
        fake: Entry = {"label": FAKE, "split": "train", "original": self.original}
        return listed | {name: fake for name, _ in self.fakes}

    def clips(self) -> list[tuple[str, Swap | None]]:
        """The clips to write; an original has no swap."""
        own: list[tuple[str, Swap | None]] = [(self.original, None)] if self.on_disk else []
        return [*own, *self.fakes]

    def film(self, swap: Swap | None) -> Iterator[Image]:
        """The frames of the original or of a fake, I420."""
        if self.person is None:
            return self.scene.landscape()
        body, face = portraits()[self.person], portraits()[1 - self.person]
        return self.scene.film(body, swap_face(body, face, swap) if swap else body.image)


def build_sample(dest: Path, families: int = 12, seed: int = 42) -> SampleReport:
    """Build a DFDC-shaped tree; the same seed gives the same bytes.

    That holds for one set of installed wheels on processors alike: x264 rounds otherwise on one
    without AVX. The tree is there whole or not at all.

    Args:
        dest: a folder that does not exist or is empty.
        families: at least 2, each one original and one to three fakes; the first is filmed
            upright, the last lacks its original. A landscape without a face comes on top.

    Raises:
        OutputError: `dest` holds something already, or cannot be written.
        ValueError: fewer than two families.
    """
    plans = plan(families, seed)
    with whole_folder(dest) as draft:
        _check_free(dest)
        _write_tree(draft, plans)
    entries = [entry for family in plans for entry in family.entries().values()]
    real = sum(entry["label"] == REAL for entry in entries)
    parts = len({family.part for family in plans})
    return SampleReport(dest, parts, families, real, len(entries) - real)


def _check_free(dest: Path) -> None:
    if dest.exists() and not (dest.is_dir() and not any(dest.iterdir())):
        raise OutputError(
            f"expected a new or empty folder for the sample, found {dest} in use; "
            "name another or remove it"
        )


def plan(families: int, seed: int) -> list[Family]:
    """Decide everything about every family, the landscape last; nothing is drawn yet."""
    if families < 2:
        raise ValueError(f"expected at least two families, found {families}")
    rng = np.random.default_rng(seed)
    names = _names(rng)
    plans = []
    for index in range(families):
        # Two families in turn, one of each person, have as many fakes: neither face tells.
        if index % 2 == 0:
            fakes = int(rng.integers(1, 4))
        plans.append(
            Family(
                part=_part(index, families),
                original=next(names),
                on_disk=index < families - 1,
                person=index % 2,
                scene=Scene.drawn(rng, *(SIZE if index else SIZE[::-1])),
                fakes=tuple((next(names), Swap.drawn(rng)) for _ in range(fakes)),
            )
        )
    return [*plans, Family(0, next(names), True, None, Scene.drawn(rng, *SIZE))]


def _part(index: int, families: int) -> int:
    return index // min(FAMILIES_PER_PART, -(-families // 2))


def _names(rng: np.random.Generator) -> Iterator[str]:
    """Names as DFDC's clips have, ten letters, none twice."""
    given = set()
    while True:
        name = "".join(rng.choice(list(string.ascii_lowercase), 10)) + ".mp4"
        if name not in given:
            given.add(name)
            yield name


def _write_tree(root: Path, plans: list[Family]) -> None:
    for part in sorted({family.part for family in plans}):
        folder = root / f"dfdc_train_part_{part}"
        folder.mkdir()
        entries: dict[str, Entry] = {}
        for family in plans:
            if family.part == part:
                entries |= family.entries()
        (folder / "metadata.json").write_text(json.dumps(dict(sorted(entries.items()))))
    portraits()
    clips = [(family, *clip) for family in plans for clip in family.clips()]

    # Threads, for OpenCV and the encoder let go of Python's lock.
    with (
        ThreadPool() as pool,
        tqdm(total=len(clips), unit="clip", desc="sample", disable=None) as bar,
    ):

        def write(pool: ThreadPool, clip: tuple[Family, str, Swap | None]) -> None:
            family, name, swap = clip
            path = root / f"dfdc_train_part_{family.part}" / name
            write_clip(path, family.scene, _while_wanted(pool, family.film(swap)))
            bar.update()

        pool.map(write, clips)


def _while_wanted(pool: ThreadPool, frames: Iterator[Image]) -> Iterator[Image]:
    for planes in frames:
        pool.check_cancelled()
        yield planes


def write_clip(path: Path, scene: Scene, frames: Iterator[Image]) -> None:
    """Encode I420 frames as H.264 in MP4, B-frames and long groups of pictures as DFDC's are.

    The same frames give the same bytes: one encoder thread, and no macroblock tree, which in an
    upright clip weighs bits by memory x264 never set.
    """
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=scene.fps)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": "24",
            "threads": "1",
            "g": "250",
            "mbtree": "0",
        }
        for planes in frames:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        clip.mux(stream.encode())
