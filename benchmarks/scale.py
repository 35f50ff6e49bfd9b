"""Cost per clip of extracting many clips, compared with bare decoding and with detection alone.

Used by `python -m benchmarks.extract SOURCE --clips 1000`. Start-up is negligible at this size.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2

#: Sampling, frames a clip, and the share of --clips it is measured on.
MODES = (("even", 1, 1.0), ("keyframes", 10, 0.2), ("even", 10, 0.2), ("even", 32, 0.2))


@contextmanager
def linked(source: Path, count: int) -> Iterator[Path]:
    """Make a data set of `count` links to the clips of a source in turn, each its own family."""
    clips = sorted(source.glob("**/*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "dfdc_train_part_0"
        part.mkdir()
        entries = {}
        for number, clip in enumerate(islice(cycle(clips), count)):
            name = f"{number:06d}.mp4"
            (part / name).symlink_to(clip.resolve())
            entries[name] = {"label": "REAL"}
        (part / "metadata.json").write_text(json.dumps(entries))
        yield Path(folder)


@dataclass
class Looks:
    """CPU seconds of three ways to detect the faces of the same frames."""

    frames: int = 0
    opencv: float = 0.0
    full: float = 0.0
    followed: float = 0.0


def looks(paths: list[str], sampling: str, frames: int, model: Path) -> Looks:
    """Measure detection alone: OpenCV at 640 pixels, our full search, our tracking."""
    from dfdc_prep.detectors.yunet import YuNet
    from dfdc_prep.video.reader import open_clip
    from dfdc_prep.video.timeline import choose_frames

    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    detector, opencv = YuNet(model), OpenCv(model)
    spent = Looks()

    def cpu(look: Callable[[], list]) -> tuple[float, list]:
        began = time.process_time()
        found = look()
        return time.process_time() - began, found

    for path in paths:
        with open_clip(Path(path)) as video:
            before: list = []
            for frame in video.frames(choose_frames(sampling, frames, video.timeline)):
                spent.frames += 1
                spent.opencv += cpu(lambda: opencv.detect(frame))[0]  # noqa: B023
                seconds, full = cpu(lambda: detector.detect(frame))  # noqa: B023
                spent.full += seconds
                again_s, again = cpu(lambda: detector.detect_fast(frame, before))  # noqa: B023
                spent.followed += again_s + (seconds if again is None else 0)
                before = full if again is None else again
    return spent


class OpenCv:
    """YuNet as OpenCV runs it, on a frame scaled and converted in one step by FFmpeg."""

    def __init__(self, model: Path) -> None:
        self._model = str(model)
        self._networks: dict = {}

    def detect(self, frame) -> list:
        for long_side in (640, 1280):
            scale = min(1, long_side / max(frame.width, frame.height))
            size = round(frame.width * scale), round(frame.height * scale)
            scaled = frame.decoded.reformat(*size, format="rgb24", interpolation="AREA")
            image = cv2.cvtColor(scaled.to_ndarray(), cv2.COLOR_RGB2BGR)
            if size not in self._networks:
                self._networks[size] = cv2.FaceDetectorYN.create(self._model, "", size, 0.7)
            _, rows = self._networks[size].detect(image)
            if rows is not None:
                return list(rows)
        return []


def report(clips: int, source: Path, measure: Callable[..., tuple]) -> None:
    """Print one row per mode: the result of `measure` for a source, a sampling and a count."""
    print(f"{'':24}{'clips':>7}{'ours':>16}{'decoding':>16}{'CPU':>8}{'detection, ms a frame':>38}")
    print(f"{'':31}{'wall':>8}{'CPU':>8}{'wall':>8}{'CPU':>8}{'ratio':>8}", end="")
    print(f"{'OpenCV':>14}{'full':>8}{'followed':>10}{'ratio':>6}")
    walls = {}
    for sampling, frames, share in MODES:
        count = max(1, round(clips * share))
        with linked(source, count) as folder:
            ours, bare, found = measure(folder, sampling, frames)
        walls[sampling, frames] = ours.wall / count
        a_clip = [1000 * s / count for s in (ours.wall, ours.cpu, bare.wall, bare.cpu)]
        a_frame = [1000 * s / found.frames for s in (found.opencv, found.full, found.followed)]
        print(
            f"{frames:3} frames, {sampling:12}{count:7}"
            + "".join(f"{ms:8.1f}" for ms in a_clip)
            + f"{ours.cpu / bare.cpu:8.2f}      "
            + "".join(f"{ms:8.1f}" for ms in a_frame)
            + f"{found.followed / found.opencv:8.2f}",
            flush=True,
        )
    ratio = walls["keyframes", 10] / walls["even", 10]
    print(f"10 keyframes / 10 even frames, wall: {ratio:.2f}")


def print_looks(paths: list[str], sampling: str, frames: int, model: Path) -> None:
    json.dump(vars(looks(paths, sampling, frames, model)), sys.stdout)
