"""Hostile names and decompression bombs, each alone, through the command line."""

import json
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.torture.command import MAIN, run
from tests.torture.folders import listing, strayed
from tests.torture.mutate import HOSTILE
from tests.torture.scene import CLIPS, DETECTOR, Scene
from tests.torture.trial import Trial

_REAL = {"label": "REAL"}


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Yield every hostile name as that of a clip or an original, odd folders, links, bombs."""
    names = draw.sample(HOSTILE, 2) if short else HOSTILE
    sources = draw.sample(list(SOURCES.items()), 3) if short else SOURCES.items()
    for name in names:
        for entries in ({name: _REAL}, {"004.mp4": {"label": "FAKE", "original": name}}):
            yield _extract(scene, f"{ascii(name)[:40]} in {list(entries.values())}"[:80], entries)
    for what, make in sources:
        yield _extract(scene, what, {"004.mp4": _REAL}, make)
    images = draw.sample(list(IMAGES.items()), 3) if short else IMAGES.items()
    for what, words in _import_words(scene, images):
        yield _tried("import", what, scene.root / "trials" / "names", words)


def _extract(
    scene: Scene,
    what: str,
    entries: dict[str, dict[str, str]],
    make: Callable[[Path], None] = lambda part: None,
) -> Trial:
    folder = scene.place("names")
    part = folder / "dfdc" / "part_a"
    part.mkdir(parents=True)
    (part / "metadata.json").write_text(json.dumps(entries))
    make(part)
    words = ["extract", str(folder / "dfdc"), str(folder / "out"), "--timeout", "10", *DETECTOR]
    return _tried("extract", what, folder, words)


def _tried(kind: str, what: str, folder: Path, words: list[str]) -> Trial:
    out = folder / "out"
    before = listing(folder.parent, [out])
    done = run([*MAIN, *words], folder)
    fault = done.fault((0, 1, 3))
    if not fault and done.code == 1 and done.err.count("error: ") != 1:
        fault = "lost", f"no one sentence: {done.err[-300:]!a}"
    stray = strayed(before, listing(folder.parent, [out]))
    return Trial(f"names {kind}", what, *(fault or (("outside", stray) if stray else ())))


def _newline_part(part: Path) -> None:
    shutil.copyfile(CLIPS / "004.mp4", part / "004.mp4")
    part.rename(part.with_name("part\n\x1b[31mred"))


def _undecodable_part(part: Path) -> None:
    shutil.copyfile(CLIPS / "004.mp4", part / "004.mp4")
    os.rename(part, os.fsencode(part) + b"\xff\xfe")


def _undecodable_clip(part: Path) -> None:
    shutil.copyfile(CLIPS / "004.mp4", os.fsencode(part) + b"/\xff\xfe\n.mp4")


def _links(part: Path) -> None:
    (part / "004.mp4").symlink_to("../../../../../../etc/passwd")
    (part / "below").symlink_to(part.parent)


def _metadata_link(part: Path) -> None:
    (part / "metadata.json").unlink()
    (part / "metadata.json").symlink_to("/etc/passwd")


def _metadata_pipe(part: Path) -> None:
    (part / "metadata.json").unlink()
    os.mkfifo(part / "metadata.json")


def _playlist(part: Path) -> None:
    (part / "004.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")


def _absurd_video(part: Path) -> None:
    """A clip whose header has a size of 16,384 x 16,384 pixels."""
    data = bytearray((CLIPS / "004.mp4").read_bytes())
    at = data.find(b"avc1")
    data[at + 28 : at + 32] = (16_384).to_bytes(2, "big") * 2
    (part / "004.mp4").write_bytes(data)


#: What a source may look like.
SOURCES: dict[str, Callable[[Path], None]] = {
    "a part's name with a newline": _newline_part,
    "a part's name that is no UTF-8": _undecodable_part,
    "a clip's name that is no UTF-8, unnamed": _undecodable_clip,
    "links that lead out and in circles": _links,
    "metadata.json leads elsewhere": _metadata_link,
    "metadata.json is a pipe": _metadata_pipe,
    "a playlist that names an address": _playlist,
    "a header of 16,384 x 16,384": _absurd_video,
}


def png(width: int, height: int) -> bytes:
    """A black PNG of `width` x `height` pixels, compressed to almost nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    rows = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    packed = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def _import_words(
    scene: Scene, hostile: Iterable[tuple[str, Callable[[Path], object]]]
) -> Iterator[tuple[str, list[str]]]:
    """Crop sets with one hostile image each among valid ones."""
    for what, make in hostile:
        folder = scene.place("names")
        images = folder / "images"
        shutil.copytree(scene.crops / "images", images, copy_function=os.link)
        make(images)
        (folder / "crops.csv").write_text(
            (scene.crops / "crops.csv").read_text() + "odd.png,odd.mp4,REAL,\n"
        )
        yield what, ["import", str(images), str(folder / "crops.csv"), str(folder / "out")]


IMAGES: dict[str, Callable[[Path], object]] = {
    "a PNG of 50,000 x 50,000": lambda d: (d / "odd.png").write_bytes(png(50_000, 50_000)),
    "a PNG of 12,000 x 12,000": lambda d: (d / "odd.png").write_bytes(png(12_000, 12_000)),
    "a pipe": lambda d: os.mkfifo(d / "odd.png"),
    "a link to itself": lambda d: (d / "odd.png").symlink_to("odd.png"),
    "a link that leads out": lambda d: (d / "odd.png").symlink_to("/etc/passwd"),
    "an endless device": lambda d: (d / "odd.png").symlink_to("/dev/zero"),
    "a name that is no UTF-8": lambda d: open(os.fsencode(d) + b"/\xff\xfe.png", "wb").close(),
    "a name with a newline": lambda d: (d / "new\nline\x1b[31m.png").touch(),
    "a folder": lambda d: (d / "odd.png").mkdir(),
}
