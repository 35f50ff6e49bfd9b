"""Reading speed of shards and exports: TFRecord without TensorFlow, webdataset, datasets.

`python -m benchmarks.exports [CROPS]` writes the same crops in every format and reads the train
split, in one process and, where PyTorch is installed, through its DataLoader with two workers. It
prints CPU seconds and crops per second; compare the ratios of one run.
"""

import importlib.util
import io
import itertools
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import dfdc_prep
from dfdc_prep.writing.tfrecord import read_records
from tests.crop_sets import make_crops

CROPS, RUNS, SHARDS = 4000, 3, 8
Pair = tuple[bytes, int]


def main() -> None:
    """Write the crops in every format, read each of them, print the figures."""
    crops = int(sys.argv[1]) if len(sys.argv) > 1 else CROPS
    folder = Path(tempfile.mkdtemp())
    try:
        faces = make_crops(folder / "faces", list(_rows(crops)))
        dfdc_prep.shard(faces, folder / "shards", shards=SHARDS)
        dfdc_prep.export_webdataset(faces, folder / "webdataset", shards=SHARDS)
        dfdc_prep.export_huggingface(faces, folder / "huggingface", shards=SHARDS)
        for name, read in _readers(folder).items():
            _measure(name, read)
    finally:
        shutil.rmtree(folder)


def _rows(crops: int) -> Iterator[dict[str, Any]]:
    for at in range(crops):
        label = ("REAL", "FAKE")[at % 2]
        yield {"video": f"{at:06d}.mp4", "label": label, "pixels": 112}


def _readers(folder: Path) -> dict[str, Callable[[], Iterable[object]]]:
    """Ways to read the train split; a bare name is undecoded bytes."""
    shards = sorted((folder / "shards").glob("*-train.tfrecord-*"))
    found: dict[str, Callable[[], Iterable[object]]] = {
        "tfrecord, recipe": lambda: _tfrecords(shards),
        "tfrecord, dfdc_prep": lambda: itertools.chain.from_iterable(map(read_records, shards)),
        "tfrecord, recipe, decoded": lambda: map(_decoded, _tfrecords(shards)),
    }
    if importlib.util.find_spec("webdataset"):
        found["webdataset"] = lambda: _webdataset(folder, decode=False)
        found["webdataset, decoded"] = lambda: _webdataset(folder, decode=True)
    if importlib.util.find_spec("datasets"):
        found["datasets, decoded"] = lambda: _huggingface(folder)
    if importlib.util.find_spec("torch"):
        found["torch, 2 workers: tfrecord, decoded"] = lambda: _torch_tfrecords(shards)
        found["torch, 2 workers: webdataset, decoded"] = lambda: _torch_webdataset(folder)
    return found


def _measure(name: str, read: Callable[[], Iterable[object]]) -> None:
    best_cpu, best_wall, count = float("inf"), float("inf"), 0
    for _ in range(RUNS):
        wall, cpu = time.perf_counter(), _cpu_seconds()
        count = sum(1 for _ in read())
        best_cpu = min(best_cpu, _cpu_seconds() - cpu)
        best_wall = min(best_wall, time.perf_counter() - wall)
    print(
        f"{name:40} {count:6,} crops {best_cpu:6.2f} CPU s {count / best_cpu:9,.0f} crops/CPU s "
        f"{count / best_wall:9,.0f} crops/s",
        flush=True,
    )


def _cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def _decoded(pair: Pair) -> tuple[np.ndarray[Any, Any], int]:
    image, label = pair
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB")), label


def _tfrecords(shards: Iterable[Path]) -> Iterator[Pair]:
    """The recipe of docs/shards.md, taken from the page itself."""
    page = Path(__file__).resolve().parents[1] / "docs" / "shards.md"
    code = page.read_text(encoding="utf-8").split("## No TensorFlow at all")[1]
    names: dict[str, Any] = {}
    exec(code.split("```python\n")[1].split("\nlabels = []")[0], names)
    for shard in shards:
        for record in names["records"](shard):
            crop = names["example"](record)
            yield bytes(crop["image"]), crop["label"]


def _webdataset(folder: Path, decode: bool) -> Iterable[object]:
    import webdataset as wds

    files = [str(path) for path in sorted((folder / "webdataset").glob("*-train-*.tar"))]
    data = wds.WebDataset(files, shardshuffle=False)
    return (data.decode("rgb8") if decode else data).to_tuple("png", "cls")


def _huggingface(folder: Path) -> Iterable[object]:
    import datasets

    datasets.disable_progress_bars()
    cache = str(folder / "cache")
    data = datasets.load_dataset(str(folder / "huggingface"), split="train", cache_dir=cache)
    return ((np.asarray(each["image"]), each["label"]) for each in data)


def _torch_tfrecords(shards: list[Path]) -> Iterable[object]:
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Crops(IterableDataset):  # type: ignore[misc,type-arg]
        def __iter__(self) -> Iterator[object]:
            worker = get_worker_info()
            files = shards[worker.id :: worker.num_workers] if worker else shards
            return map(_decoded, _tfrecords(files))

    return itertools.chain.from_iterable(
        batch[1] for batch in DataLoader(Crops(), batch_size=32, num_workers=2)
    )


def _torch_webdataset(folder: Path) -> Iterable[object]:
    from torch.utils.data import DataLoader

    data = _webdataset(folder, decode=True)
    return itertools.chain.from_iterable(
        batch[1] for batch in DataLoader(data, batch_size=32, num_workers=2)
    )


if __name__ == "__main__":
    main()
