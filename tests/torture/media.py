"""Hostile clips and pictures, opened while strace watches: nothing else is opened or started.

Mutants of small clips in ten containers and two kinds of animations, and texts of the formats that
FFmpeg recognizes, whatever a file is called. They are opened without the confinement of the
workers, so that what FFmpeg and Pillow themselves would do is seen.
"""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from PIL import Image

from tests.torture import clips
from tests.torture.command import ROOT
from tests.torture.scene import Scene
from tests.torture.trial import SKIPPED, Trial
from tests.video.shapes import Track, noise, write

#: Seconds a file may take.
PATIENCE = 20
#: Bytes of memory that opening any of them may take.
MEMORY = 2 << 30
#: Container, encoder and pixel format of each clip that is mutated.
CONTAINERS = {
    "mp4": "libx264", "mov": "mjpeg", "3gp": "mpeg4", "mkv": "libx264", "webm": "libvpx",
    "avi": "mpeg4", "ts": "libx264", "mpg": "mpeg2video", "flv": "flv", "wmv": "wmv2",
}  # fmt: skip
ANIMATIONS = ("gif", "webp")
#: Addresses that a text may lead to.
ADDRESSES = (
    "http://127.0.0.1:{port}/a", "tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}",
    "rtp://127.0.0.1:{port}", "rtsp://127.0.0.1:{port}/a", "ftp://127.0.0.1:{port}/a",
    "file:///etc/passwd", "/etc/passwd", "../../../etc/passwd", "dear.txt", "pipe:0", "fd:1",
    "concat:dear.txt|dear.txt", "subfile,,start,0,end,99,,:dear.txt", "data:text/plain,x",
    "crypto:file:///etc/passwd", "unix:/tmp/x", "cache:file:///etc/passwd", "tee:/tmp/x|/tmp/y",
)  # fmt: skip
#: Texts that FFmpeg recognizes by their content.
TEXTS = {
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{url}\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n",
    "HLS key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:1,\n{url}\n',
    "HLS master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet><Representation id="1"><BaseURL>{url}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "IMF": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3">'
    "<Id>urn:uuid:0</Id><Path>{url}</Path></CompositionPlaylist>",
    "concat": "ffconcat version 1.0\nfile '{url}'\nduration 1\n",
    "RTSP": "RTSPtext{url}\n",
    "reference": "[Reference]\nRef1={url}\n",
    "ffmetadata": ";FFMETADATA1\ntitle={url}\n",
    "SubRip": "1\n00:00:00,000 --> 00:00:01,000\n{url}\n",
    "WebVTT": "WEBVTT\n\n00:00.000 --> 00:01.000\n{url}\n",
    "ASS": "[Script Info]\nScriptType: v4.00+\n\n[Events]\nDialogue: 0,0:00:00.00,{url}\n",
    "SAMI": "<SAMI><BODY><SYNC Start=0><P>{url}</P></SYNC></BODY></SAMI>",
    "RealText": '<window duration="1"><time begin="0"/>{url}</window>',
    "MicroDVD": "{{0}}{{25}}{url}\n{{25}}{{50}}{url}\n{{50}}{{75}}{url}\n",
    "TTML": '<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml"><body>{url}</body></tt>',
    "SVG": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>',
    "EPS": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n({url}) run\n%%EOF\n",
    "VobSub": "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\n",
    "SBaGen": "SBaGen script\n{url}\n",
    "XPM": '/* XPM */\nstatic char *a[] = {{"1 1 1 1", "a c {url}", "a"}};\n',
    "PPM": "P3\n# {url}\n1 1 255 0 0 0\n",
}  # fmt: skip
#: System calls that leave the process, and those that change files.
_CALLS = "socket,connect,bind,sendto,execve,fork,vfork,clone,clone3,unlink,unlinkat,rename"
_TRACED = f"openat,open,creat,mkdir,mkdirat,renameat,renameat2,symlink,link,truncate,{_CALLS}"
MARK = "/begin-of-hostile-files"
_NAMED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Watched:
    """What a process did after its mark.

    Attributes:
        files: opened, or changed, other than the hostile files.
        sockets, programs: system calls.
    """

    files: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)


def text(draw: random.Random, port: int = 9) -> tuple[str, str]:
    """A name and a text with a random address in it."""
    name = draw.choice(sorted(TEXTS))
    url = draw.choice(ADDRESSES).format(port=port)
    return name, TEXTS[name].format(url=url, port=port)


def lay(folder: Path, draw: random.Random, mutants: int, texts: int) -> list[Path]:
    """Write so many hostile files; return them in the order in which they are opened."""
    known = bases(folder / "whole")
    made = []
    for number in range(mutants):
        suffix = draw.choice(sorted(known))
        change = draw.choice(clips.MUTATIONS)
        made.append(folder / f"{number:05}-{change.__name__}.{suffix}")
        made[-1].write_bytes(change(known[suffix], draw))
    for number in range(texts):
        name, content = text(draw)
        data = content.encode()
        if draw.random() < 0.3:
            data = clips.flipped(data, random.Random(draw.random())) if len(data) > 9 else data
        made.append(folder / f"{number:05}-{name.replace(' ', '-')}.mp4")
        made[-1].write_bytes(data)
    return made


def bases(folder: Path) -> dict[str, bytes]:
    """A small clip of each container, and animations."""
    folder.mkdir(parents=True)
    for suffix, codec in CONTAINERS.items():
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        write(folder / f"a.{suffix}", Track(noise(10), codec, pixels=pixels))
    pictures = [Image.fromarray(image) for image in noise(4)]
    for suffix in ANIMATIONS:
        path = folder / f"a.{suffix}"
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    return {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}


def trials(
    scene: Scene, draw: random.Random, count: int, texts: int | None = None
) -> Iterator[Trial]:
    """Open `count` mutants, and a quarter as many texts, under strace."""
    strace = shutil.which("strace")
    if strace is None:
        yield Trial("media", "all", SKIPPED, "needs strace")
        return
    folder = scene.place("media")
    left = lay(folder, draw, count, count // 4 if texts is None else texts)
    while left:
        before = len(left)
        yield from watched_run([strace, __name__], folder, left, _kind)
        assert len(left) < before, "no file was opened"


def watched_run(
    command: Sequence[str], folder: Path, left: list[Path], kind: Callable[[Path], str]
) -> Iterator[Trial]:
    """Open files until the process dies; remove those that it opened from `left`.

    Args:
        command: strace, and the module that opens the files whose names it is given.
        kind: the row of a file in the table.
    """
    strace, module = command
    group = module.rpartition(".")[2]
    log = folder / "strace.log"
    listed = "\n".join(map(str, left))
    words = [strace, "-f", "--seccomp-bpf", "-o", str(log), "-e", f"trace={_TRACED}"]
    done = subprocess.run(
        [*words, sys.executable, "-m", module],
        cwd=ROOT, input=listed, capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    ends = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    for name, why in ends:
        left.remove(folder / name)
        lost = why.startswith("traceback")
        yield Trial(kind(folder / name), name, "traceback" if lost else "survived", why)
    peaks = [int(s.split()[1]) for s in done.stdout.splitlines() if s.startswith("peak ")]
    peak = max(peaks, default=0)
    if left:  # the process died of the next one, as a worker would: that costs its clip
        died = left.pop(0)
        hung = done.returncode in (-signal.SIGALRM, 128 + signal.SIGALRM)
        why = f"exit code {done.returncode}: {done.stderr[-200:]!a}"
        yield Trial(kind(died), died.name, "hang" if hung else "survived", why)
    seen = watched(log, folder)
    for what, calls in vars(seen).items():
        end = "outside" if calls else "survived"
        yield Trial(f"{group} {what}", f"{len(ends):,} files", end, "; ".join(calls[:3]))
    end = "survived" if peak < MEMORY else "lost"
    yield Trial(f"{group} memory", f"{len(ends):,} files", end, f"{peak >> 20:,} MB at most")


def _kind(path: Path) -> str:
    name = path.stem.partition("-")[2]
    return f"media {'text' if name in TEXTS or name.replace('-', ' ') in TEXTS else path.suffix}"


def watched(log: Path, folder: Path) -> Watched:
    """Read what strace saw after the mark."""
    seen, begun = Watched(), False
    for line in log.read_text(errors="replace").splitlines():
        begun = begun or MARK in line
        call = line.partition(" ")[2].lstrip().partition("(")[0]
        if not begun or MARK in line or not call.isidentifier():
            continue
        if call in ("socket", "connect", "bind", "sendto"):
            seen.sockets.append(line)
        elif call in ("execve", "fork", "vfork") or call.startswith("clone"):
            if "CLONE_THREAD" not in line:
                seen.programs.append(line)
        elif not _allowed(line, folder):
            seen.files.append(line)
    return seen


def _allowed(line: str, folder: Path) -> bool:
    """Whether a file is a hostile one, or Python's own, and only read."""
    writes = any(flag in line for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    opens = re.search(r"\bopen(at)?\(", line)
    own = (str(folder), str(ROOT), sys.prefix, sys.base_prefix, *map(os.path.realpath, sys.path))
    names = _NAMED.findall(line)
    return bool(opens and not writes and names and all(n.startswith(own) for n in names))


def open_all(files: list[Path]) -> None:
    """Open each file by every door of the project, and say how it ended; a child's main."""
    from dfdc_prep.errors import ClipError
    from dfdc_prep.video.reader import clip_length, open_clip
    from manifests.pictures.images import ImageError, open_image, to_rgb
    from manifests.pictures.thumbnails import thumbnail

    def attempt(path: Path) -> str:
        found = []
        for door in ("clip", "length", "image", "thumbnail"):
            try:
                if door == "clip":
                    with open_clip(path) as clip:
                        count = clip.timeline.count
                        frames = list(clip.frames(sorted({0, count // 2, count - 1})))
                        found.append(f"{sum(f.rgb().size > 0 for f in frames)} frames")
                elif door == "length":
                    clip_length(path)
                elif door == "image":
                    with open_image(path) as image:
                        to_rgb(image)
                else:
                    thumbnail(path.read_bytes())
            except (ClipError, ImageError):
                found.append(f"no {door}")
            except MemoryError:
                found.append(f"{door}: no memory")
            except Exception as error:
                return f"traceback of {door}: {type(error).__name__}: {str(error)!a}"
        return ", ".join(found)

    for path in sorted(files[0].parent.joinpath("whole").iterdir()):
        attempt(path)  # what is imported late is imported now
    with suppress(FileNotFoundError):
        os.close(os.open(MARK, os.O_RDONLY))
    for path in files:
        signal.alarm(PATIENCE)
        click.echo(f"{path.name}\t{attempt(path)}")
        click.echo(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}")
    signal.alarm(0)


if __name__ == "__main__":
    np.seterr(all="ignore")
    open_all([Path(line) for line in sys.stdin.read().splitlines()])
