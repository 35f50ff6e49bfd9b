"""Compares extraction with the paper's method on any folder of clips, in one run.

    python -m benchmarks.extract dfdc --model face_detection_yunet_2026may.onnx

`--truth faces_truth.csv` (video, frame, x, y, w, h) also counts true and false boxes.
Each line is a whole process including its start-up, timed from outside: wall seconds, and the
CPU seconds of the process and its workers.

- paper: the paper's method, one process with `face_recognition.face_locations` on full frames,
  read in order by OpenCV up to the last wanted one. For a single frame it takes the first one
  of the clip, which costs least.
- decode: decoding alone, of the frames this extractor samples, by its own decoder.
- decode all: the same frames with OpenCV, which decodes every frame before them.

`--clips 1000` measures the cost per clip of a large run instead: see benchmarks/scale.py.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import scale

#: From linux/prctl.h.
PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Timing:
    """One process: wall and CPU seconds, peak memory of the largest process in MB, its output."""

    wall: float
    cpu: float
    peak_mb: float
    said: str


def timed(*command: str) -> Timing:
    """Run this Python with arguments; return the resource usage of it and its workers."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as said:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], env=environment, stdout=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        usages = [usage, *orphans()]
        if process.returncode not in (0, 3):
            raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}")
        said.seek(0)
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return Timing(wall, cpu, max(usage.ru_maxrss for usage in usages) / 1024, said.read())


def orphans() -> Iterator[resource.struct_rusage]:
    """Resource usage of processes that outlive a command: workers belong to the fork server."""
    while True:
        try:
            yield os.wait4(-1, 0)[2]
        except ChildProcessError:
            return


def adopt() -> None:
    """Make this process the parent of its children's orphans (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def clips_of(source: Path) -> list[str]:
    from dfdc_prep.catalog.reader import read_catalog

    return [clip.path for clip in read_catalog(source).clips if clip.size]


def wanted_frames(path: str, frames: int, sampling: str = "even") -> list[int]:
    """The frames that the extractor samples from a clip."""
    from dfdc_prep.video.reader import open_clip
    from dfdc_prep.video.timeline import choose_frames

    with open_clip(Path(path)) as video:
        return choose_frames(sampling, frames, video.timeline)


def the_papers_way(source: Path, frames: int) -> None:
    """Print video, frame, x, y, w, h of every face."""
    import warnings

    warnings.simplefilter("ignore")
    import cv2
    import face_recognition

    for path in clips_of(source):
        wanted = [0] if frames == 1 else wanted_frames(path, frames)
        for index, image in read_in_turn(cv2.VideoCapture(path), wanted):
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            for top, right, bottom, left in face_recognition.face_locations(rgb):
                print(Path(path).name, index, left, top, right - left, bottom - top)


def read_in_turn(capture, wanted):
    for index in range(wanted[-1] + 1):
        if not capture.grab():
            return
        if index in wanted:
            yield index, capture.retrieve()[1]


def decode(source: Path, frames: int, sampling: str = "even") -> None:
    from dfdc_prep.video.reader import open_clip
    from dfdc_prep.video.timeline import choose_frames

    for path in clips_of(source):
        with open_clip(Path(path)) as video:
            wanted = choose_frames(sampling, frames, video.timeline)
            print(sum(1 for _ in video.frames(wanted)))


def decode_all(source: Path, frames: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    os.environ["OPENCV_FFMPEG_THREADS"] = "1"
    for path in clips_of(source):
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        print(sum(1 for _ in read_in_turn(capture, wanted_frames(path, frames))))


class Truth:
    """True boxes, and how many detected boxes match one within eight frames."""

    def __init__(self, path: Path | None) -> None:
        import pandas as pd

        self._boxes = pd.read_csv(path) if path else None

    def count(self, detected: list[tuple[str, int, int, int, int, int]]) -> str:
        if self._boxes is None:
            return f"{len(detected)} faces"
        hits = [self._hit(*face) for face in detected]
        frames = len({face[:2] for face, hit in zip(detected, hits, strict=True) if hit})
        return f"{frames} frames with the true face, {hits.count(False)} boxes elsewhere"

    def _hit(self, video: str, frame: int, x: int, y: int, w: int, h: int) -> bool:
        own = self._boxes[self._boxes["video"] == video]
        near = own.iloc[(own["frame"] - frame).abs().argsort()[:1]]
        for box in near.itertuples():
            middle = x + w / 2, y + h / 2
            inside = box.x < middle[0] < box.x + box.w and box.y < middle[1] < box.y + box.h
            if inside:
                return True
        return False


def faces_of(folder: Path) -> list[tuple[str, int, int, int, int, int]]:
    from manifests.tables.parquet import read_manifest

    columns = ("video", "frame", "x", "y", "w", "h")
    return [
        tuple(row[c] for c in columns)
        for row in read_manifest(folder / "manifest.parquet").to_pylist()
    ]


def ours(source: Path, out: Path, frames: int, detector: str, model: Path, *more: str) -> Timing:
    words = ["-m", "cli", "extract", str(source), str(out), "--frames", str(frames)]
    weights = ["--detector-model", str(model)] if detector == "yunet" else []
    return timed(*words, "--detector", detector, *weights, *more)


def line(name: str, timing: Timing, found: str = "") -> None:
    print(f"{name:38}{timing.wall:9.2f}{timing.cpu:9.2f}{timing.peak_mb:9.0f}  {found}", flush=True)


def run_part(source: Path, model: Path, kind: str, frames: str, sampling: str = "even") -> None:
    """Run a measured process that is not a command of the project."""
    if kind == "looks":
        scale.print_looks(clips_of(source), sampling, int(frames), model)
    elif kind == "decode":
        decode(source, int(frames), sampling)
    else:
        {"paper": the_papers_way, "decode-all": decode_all}[kind](source, int(frames))


def at_scale(model: Path, source: Path, sampling: str, frames: int):
    """Measure extraction, bare decoding and detection for one sampling mode."""
    me = ["-m", "benchmarks.extract", str(source), "--model", str(model), "--part"]
    with tempfile.TemporaryDirectory() as out:
        mine = ours(source, Path(out) / "faces", frames, "yunet", model, "--sampling", sampling)
    bare = timed(*me, f"decode:{frames}:{sampling}")
    found = json.loads(timed(*me, f"looks:{frames}:{sampling}").said)
    return mine, bare, scale.Looks(**found)


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--truth", type=click.Path(path_type=Path, exists=True))
@click.option("--frames", type=int, multiple=True, default=[1, 10, 32])
@click.option("--clips", type=int, help="Measure a clip of so many.")
@click.option("--part", hidden=True)
def main(
    source: Path,
    model: Path,
    truth: Path | None,
    frames: list[int],
    clips: int | None,
    part: str | None,
) -> None:
    if part:
        run_part(source, model, *part.split(":"))
        return
    adopt()
    if clips:
        scale.report(clips, source, lambda *mode: at_scale(model, *mode))
        return
    true = Truth(truth)
    me = ["-m", "benchmarks.extract", str(source), "--model", str(model), "--part"]
    seen: dict[tuple[str, int], Timing] = {}
    print(f"{'':38}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for count in frames:
            if count <= 10:
                timing = seen["paper", count] = timed(*me, f"paper:{count}")
                faces = [row.split() for row in timing.said.splitlines()]
                found = [(name, *map(int, rest)) for name, *rest in faces]
                line(f"the paper's way, {count} frames", timing, true.count(found))
            for kind in ("decode", "decode-all"):
                seen[kind, count] = timed(*me, f"{kind}:{count}")
                line(f"{kind.replace('-', ' ')}, {count} frames", seen[kind, count])
            for detector in ("yunet", "hog") if count <= 10 else ("yunet",):
                out = Path(folder) / f"{detector}{count}"
                seen[detector, count] = ours(source, out, count, detector, model)
                line(
                    f"extract, {detector}, {count} frames",
                    seen[detector, count],
                    true.count(faces_of(out)),
                )
        out = Path(folder) / "one"
        seen["one worker", 10] = ours(source, out, 10, "yunet", model, "--workers", "1")
        line("extract, yunet, 10 frames, one worker", seen["one worker", 10])
        part_0 = sorted(p for p in source.iterdir() if p.is_dir())[0]
        for sampling in ("even", "keyframes"):
            out = Path(folder) / sampling
            seen[sampling, 10] = ours(part_0, out, 10, "yunet", model, "--sampling", sampling)
            line(f"extract, first part, {sampling}, 10", seen[sampling, 10])
    print()
    for count in (c for c in (1, 10) if c in frames):
        for detector in ("yunet", "hog"):
            ratio = seen["paper", count].wall / seen[detector, count].wall
            print(f"paper's way / extract, wall, {count} frames, {detector}: {ratio:.1f}")
    for count in frames:
        ratio = seen["yunet", count].cpu / seen["decode", count].cpu
        print(f"extract, yunet / decode, CPU, {count} frames: {ratio:.2f}")
    print(f"one worker / two, wall: {seen['one worker', 10].wall / seen['yunet', 10].wall:.2f}")
    print(f"keyframes / even, wall: {seen['keyframes', 10].wall / seen['even', 10].wall:.2f}")


if __name__ == "__main__":
    main()
