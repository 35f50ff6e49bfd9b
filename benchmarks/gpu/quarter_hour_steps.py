"""Single measurements for `python -m benchmarks.gpu.quarter_hour`; each prints one JSON line.

The arguments are `first SHARDS BACKBONE BATCH FOLDER`, `profile SHARDS BACKBONE BATCH` or
`stream SHARDS BACKBONE SECONDS`.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any


def print_found(found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def first(shards: Path, backbone: str, batch: str, folder: str) -> None:
    """Seconds from STARTED until `dfdc-prep fit` has done its first step; ends the process."""
    started = float(os.environ.get("STARTED", time.time()))
    from training.fit import main
    from training.runs import trainer

    imports = time.time() - started

    class Stop(trainer.ProgressBar):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            float(logs["loss"])  # waits for the step
            print_found({"seconds": time.time() - started, "imports": imports})
            shutil.rmtree(run)
            os._exit(0)

    trainer.ProgressBar = Stop  # type: ignore[misc]
    with tempfile.TemporaryDirectory(dir=folder) as run:
        options = ["--weights", "none", "--backbone", backbone, "--batch-size", batch]
        main([str(shards), *options, "--out", f"{run}/run"])


def profile(shards: Path, backbone: str, batch: str) -> None:
    """The share of ten steps in which no kernel runs, the longest kernels and the longest gaps."""
    from benchmarks.gpu.keras_steps import batches, set_float32
    from training.models import classifier, devices
    from training.recipes import choose_recipe
    from training.runs.trainer import PROFILED_STEPS, Profiler

    recipe = choose_recipe("v1.3", {"backbone": backbone, "batch_size": int(batch)})
    on_gpu = bool(devices.find_devices().gpus)
    precision = "mixed_bfloat16" if on_gpu else "float32"
    model = classifier.build_model(recipe, precision=set_float32(precision))
    classifier.compile_model(model, recipe, head_only=False, steps=1)
    steps = PROFILED_STEPS.stop if on_gpu else 2
    data = batches(str(shards), int(batch), "none")
    with tempfile.TemporaryDirectory() as folder:
        model.fit(data, steps_per_epoch=2, verbose=0, shuffle=False)
        tracer = Profiler(Path(folder), steps)
        model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[tracer])
        (trace,) = Path(folder).rglob("*.xplane.pb")
        print_found({"text": describe(trace.read_bytes())})


def describe(trace: bytes) -> str:
    """The work that a trace shows on its first GPU, or on the host if it shows no GPU."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(trace)
    planes = {plane.name: plane for plane in space.planes}
    name = next((n for n in sorted(planes) if n.startswith("/device:GPU")), "/host:CPU")
    plane = planes[name]
    spans, totals = [], Counter[str]()
    for line in plane.lines:
        # Other lines of a GPU repeat the kernels of its streams by step, module or source line.
        if name.startswith("/device") and not line.name.startswith("Stream"):
            continue
        for event in line.events:
            begin = line.timestamp_ns * 1000 + event.offset_ps
            kernel = plane.event_metadata[event.metadata_id].name
            spans.append((begin, begin + event.duration_ps, kernel))
            totals[kernel] += event.duration_ps
    if not spans:
        return f"{name}: nothing was traced"
    spans.sort()
    gaps, (start, end, before) = [], spans[0]
    for begin, until, kernel in spans:
        if begin > end:
            gaps.append((begin - end, before, kernel))
        if until > end:
            end, before = until, kernel
    waiting = sum(gap for gap, *_ in gaps) / max(1, end - start)
    longest = "; ".join(
        f"{gap / 1e9:.2f} ms from {a[:30]} to {b[:30]}" for gap, a, b in sorted(gaps)[-3:][::-1]
    )
    most = "; ".join(f"{k[:40]} {v / sum(totals.values()):.0%}" for k, v in totals.most_common(4))
    text = f"{name}: waits {waiting:.1%} of the time; longest: {longest or 'none'}; most in: {most}"
    return text.replace("|", "/").replace("\n", " ")


def stream(shards: Path, backbone: str, seconds: str) -> None:
    """Images per second that the shuffled stream gives when nothing else runs."""
    from training.data import input_pipeline
    from training.data.shards import Shards

    data = input_pipeline.make_dataset(Shards(shards), "train", 64, seed=1, repeat=True)
    iterator = iter(data)
    for _ in range(20):
        next(iterator)
    images, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < float(seconds):
        images += len(next(iterator)[1])
    print_found({"rate": images / passed})


if __name__ == "__main__":
    what, shards, *further = sys.argv[1:]
    {"first": first, "profile": profile, "stream": stream}[what](Path(shards), *further)
