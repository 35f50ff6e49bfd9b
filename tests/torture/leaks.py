"""Many clips in one process: open files and memory before and after."""

import gc
import os
import random
from collections.abc import Iterator
from contextlib import suppress

import psutil

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors.registry import choose_detector, make_detector
from dfdc_prep.extraction.clip import ClipExtractor
from tests.crop_sets import crop_options
from tests.torture import clips
from tests.torture.scene import CLIPS, MODEL, Scene
from tests.torture.trial import Trial

#: Clips, and how many of them come before anything is counted: memory grows until every
#: kind of clip has been met, and was flat from the nine hundredth on.
CLIPS_SEEN, WARM = 1_400, 900
#: Bytes the process may grow by between the first clips and the last.
GROWTH = 40 << 20


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Intact and damaged clips in turn, processed as in a worker."""
    count, warm = (CLIPS_SEEN // 14, WARM // 14) if short else (CLIPS_SEEN, WARM)
    folder = scene.place("leaks")
    (folder / "out" / "crops").mkdir(parents=True)
    detector = make_detector(choose_detector("yunet", MODEL))
    extractor = ClipExtractor(crop_options(), detector)
    known = clips.bases()
    process = psutil.Process()
    files = memory = 0
    for number in range(count):
        if number == warm:
            files, memory = _held(process)
        path = folder / f"{number}.mp4"
        whole = (CLIPS / "004.mp4").read_bytes()
        change = draw.choice(clips.MUTATIONS)
        path.write_bytes(whole if number % 2 else change(draw.choice(known), draw))
        clip = Clip("part", path.name, "REAL", None, path.name, path.stem, str(path), 1)
        with suppress(MemoryError):  # a header that asks for too much; a worker's clip is crashed
            extractor.extract(clip, folder / "out")
        path.unlink()
    files_after, memory_after = _held(process)
    grown = f"{memory >> 20} MB, then {memory_after >> 20} MB"
    said = f"{files} open files, then {files_after}; {grown}"
    lost = files_after > files or memory_after - memory > GROWTH
    yield Trial("leaks", f"{count} clips in one process", "lost" if lost else "survived", said)


def _held(process: psutil.Process) -> tuple[int, int]:
    gc.collect()
    return len(os.listdir("/proc/self/fd")), process.memory_info().rss
