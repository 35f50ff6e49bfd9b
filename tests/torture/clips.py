"""Damaged and invalid clips: each must get its row in the clip log."""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.errors import DfdcPrepError
from manifests.labels import FAILURES
from manifests.tables.parquet import read_manifest, read_table
from tests.torture.command import MAIN, run
from tests.torture.folders import listing, strayed
from tests.torture.scene import CLIPS, DETECTOR, EDGE, Scene
from tests.torture.trial import Trial

#: Mutants that one run of extract looks at.
BATCH = 250
#: Seconds a mutant may take.
TIMEOUT = 10
_SMALL = 400_000

Mutation = Callable[[bytes, random.Random], bytes]


def flipped(clip: bytes, draw: random.Random) -> bytes:
    """Change up to 200 bytes anywhere."""
    data = bytearray(clip)
    for _ in range(draw.randint(1, 200)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def header(clip: bytes, draw: random.Random) -> bytes:
    """Change bytes of the container's boxes: at the start and near box names."""
    data = bytearray(clip)
    names = (b"moov", b"stsd", b"stts", b"stss", b"stsz", b"stco", b"avc1", b"avcC", b"tkhd")
    places = [clip.find(name) for name in names if name in clip] + [0]
    for _ in range(draw.randint(1, 12)):
        at = min(len(data) - 1, draw.choice(places) + draw.randrange(-4, 60))
        data[max(0, at)] = draw.choice((0, 0xFF, 0x7F, draw.randrange(256)))
    return bytes(data)


def cut(clip: bytes, draw: random.Random) -> bytes:
    return clip[: draw.randrange(len(clip))]


def headless(clip: bytes, draw: random.Random) -> bytes:
    return clip[draw.randrange(len(clip)) :]


def spliced(clip: bytes, draw: random.Random) -> bytes:
    """Replace a range of bytes with another range."""
    data, length = bytearray(clip), draw.randrange(1, len(clip) // 2)
    start, goal = (draw.randrange(len(clip) - length) for _ in range(2))
    data[goal : goal + length] = clip[start : start + length]
    return bytes(data)


def stretched(clip: bytes, draw: random.Random) -> bytes:
    """Insert bytes, so that every later offset is wrong."""
    at = draw.randrange(len(clip))
    return clip[:at] + draw.randbytes(draw.randint(1, 5000)) + clip[at:]


def absurd(clip: bytes, draw: random.Random) -> bytes:
    """Set the size in the header to 16,384 x 16,384 pixels or more."""
    data, at = bytearray(clip), clip.find(b"avc1")
    side = draw.choice((0x4000, 0xFFFF, 0))
    if at >= 0:
        data[at + 28 : at + 32] = side.to_bytes(2, "big") * 2
    at = clip.find(b"tkhd")
    if at >= 0:
        data[at + 80 : at + 88] = (side << 16).to_bytes(4, "big") * 2
    return bytes(data)


MUTATIONS: tuple[Mutation, ...] = (flipped, header, cut, headless, spliced, stretched, absurd)


def _swapped(first: bytes, second: bytes, draw: random.Random) -> bytes:
    """Join the start of one clip and the rest of another."""
    at = draw.randrange(32, min(len(first), len(second)))
    return first[:at] + second[at:]


def bases() -> list[bytes]:
    """The small clips available, in several codecs and containers."""
    files = sorted([*EDGE.iterdir(), *CLIPS.glob("*.mp4")])
    return [path.read_bytes() for path in files if path.stat().st_size < _SMALL]


def odd_files(folder: Path) -> list[str]:
    """Write files that are not clips; return their names."""
    (folder / "odd-text.mp4").write_text("no clip" * 100)
    (folder / "odd-empty.mp4").touch()
    (folder / "odd-folder.mp4").mkdir()
    os.mkfifo(folder / "odd-pipe.mp4")
    (folder / "odd-loop.mp4").symlink_to("odd-loop.mp4")
    (folder / "odd-null.mp4").symlink_to("/dev/null")
    (folder / "odd-zero.mp4").symlink_to("/dev/zero")
    (folder / "odd-passwd.mp4").symlink_to("/etc/passwd")
    (folder / "odd-playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    (folder / "odd-concat.mp4").write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")
    return sorted(path.name for path in folder.glob("odd-*"))


def trials(scene: Scene, draw: random.Random, count: int) -> Iterator[Trial]:
    """Yield `count` mutants, in batches of one source each."""
    known = bases()
    for start in range(0, count, BATCH):
        yield from _batch(scene, draw, min(BATCH, count - start), known, start)


def _batch(
    scene: Scene, draw: random.Random, count: int, known: list[bytes], start: int
) -> Iterator[Trial]:
    folder = scene.place("clips")
    part = folder / "dfdc" / "dfdc_train_part_1"
    part.mkdir(parents=True)
    names = odd_files(part)
    for number in range(start, start + count - len(names)):
        names.append(_write(part, number, known, draw))
    (part / "metadata.json").write_text(json.dumps(_entries(names, draw)))
    out = folder / "out"
    words = ["extract", str(folder / "dfdc"), str(out), "--frames", "2", "--workers", "2"]
    before = listing(folder, [out])
    done = run([*MAIN, *words, "--timeout", str(TIMEOUT), *DETECTOR], folder)
    fault = done.fault((0, 3))
    stray = strayed(before, listing(folder, [out]))
    if fault or stray:
        _keep(folder, start)
        yield Trial("clips", f"the run over {count}", *(fault or ("outside", stray)))
    else:
        yield from _rows(out, names)


def _write(part: Path, number: int, known: list[bytes], draw: random.Random) -> str:
    choice = draw.randrange(len(MUTATIONS) + 1)
    if choice == len(MUTATIONS):
        kind, data = "swapped", _swapped(draw.choice(known), draw.choice(known), draw)
    else:
        change = MUTATIONS[choice]
        kind, data = change.__name__, change(draw.choice(known), draw)
    name = f"{kind}{number:04d}.mp4"
    (part / name).write_bytes(data)
    return name


def _entries(names: list[str], draw: random.Random) -> dict[str, dict[str, str]]:
    """Label half of them REAL, and half FAKE with one of these as the original."""
    real = [name for name in names if draw.random() < 0.5] or names[:1]
    return {
        name: {"label": "REAL"}
        if name in real
        else {"label": "FAKE", "original": draw.choice(real)}
        for name in names
    }


def _rows(out: Path, names: list[str]) -> Iterator[Trial]:
    """Yield one trial per mutant: it must have a row, a status, and a reason if it failed."""
    try:
        log = {
            row["video"]: row
            for row in read_table(out / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pylist()
        }
        faces = Counter(read_manifest(out / "manifest.parquet")["video"].to_pylist())
    except DfdcPrepError as error:
        yield Trial("clips", "the tables", "lost", str(error))
        return
    for name in names:
        row = log.get(name)
        kind = f"clips {''.join(c for c in name.partition('.')[0] if not c.isdigit())}"
        kind = "clips odd" if name.startswith("odd-") else kind
        if row is None:
            yield Trial(kind, name, "lost", "no row in clips.parquet")
        elif row["status"] in FAILURES and not row["error"]:
            yield Trial(kind, name, "lost", f"{row['status']} without a reason")
        elif row["faces"] != faces[name]:
            yield Trial(kind, name, "lost", f"{row['faces']} faces, {faces[name]} rows")
        elif row["status"] == "crashed":
            # A clip may kill its worker; an unexpected exception counts as a traceback.
            known = "worker died" in row["error"] or "Memory" in row["error"]
            yield Trial(kind, name, "survived" if known else "traceback", row["error"])
        else:
            yield Trial(kind, name, "survived", row["status"])


def _keep(folder: Path, start: int) -> None:
    """Keep the input that made a run fail, for debugging."""
    kept = Path(os.environ.get("TORTURE_KEEP", "")) / f"clips-{start}"
    if "TORTURE_KEEP" in os.environ:
        shutil.copytree(folder, kept, symlinks=True, ignore=lambda base, names: ["odd-pipe.mp4"])
