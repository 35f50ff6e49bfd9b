"""Whether `dfdc-prep probe` finds planted shortcuts, and finds nothing in sets without any.

Sets are cut from the REAL crops of a faces folder, and half of each is called FAKE at random, so
nothing tells the labels apart but what is planted in the FAKE half: JPEG of lower quality,
brightness, or JPEG of lower quality around the middle. All files are lossless.

    python -m benchmarks.probes faces --seeds 20
"""

import csv
import io
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from PIL import Image

import dfdc_prep
from manifests.tables.parquet import read_manifest
from training.probing.probes import Keep, probe_shards

Pixels = npt.NDArray[np.uint8]
#: The part of a side that is left alone where the rest is planted in.
INNER = slice(22, 202)


def encoded_again(image: Pixels, quality: int = 60) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def around(image: Pixels) -> Pixels:
    planted = encoded_again(image).copy()
    planted[INNER, INNER] = image[INNER, INNER]
    return planted


PLANTS = {
    "none": lambda image: image,
    "JPEG quality": encoded_again,
    "brightness": lambda image: np.clip(image.astype(int) + 20, 0, 255).astype(np.uint8),
    "face covered": around,
}


def write_set(folder: Path, crops: dict[str, tuple[Pixels, str]]) -> Path:
    """Write crops, {name: picture and label}, as shards without known relatives."""
    images = folder / "images"
    images.mkdir(parents=True)
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("videoname", "label"))
        for name, (image, label) in crops.items():
            Image.fromarray(image).save(images / f"{name}.png", compress_level=1)
            writer.writerow((f"{name}.mp4", label))
    dfdc_prep.import_crops(images, folder / "table.csv", folder / "faces")
    dfdc_prep.shard(
        folder / "faces", folder / "shards", crops="all", join_duplicates=False, shards=1
    )
    return folder / "shards"


def planted(pool: list[Pixels], kind: str, size: int, seed: int) -> dict[str, tuple[Pixels, str]]:
    """A set of `size` crops of the pool, half of them called FAKE at random and planted in."""
    drawn = np.random.default_rng(seed).permutation(len(pool))[:size].tolist()
    crops = {}
    for number, at in enumerate(drawn):
        image, label = pool[at], "FAKE" if number % 2 else "REAL"
        crops[f"crop{at:05d}"] = (PLANTS[kind](image) if label == "FAKE" else image, label)
    return crops


@click.command()
@click.argument("faces", type=click.Path(exists=True, path_type=Path))
@click.option("--seeds", default=20)
@click.option("--pool", default=600, help="REAL crops that the sets are drawn from.")
@click.option("--size", default=400, help="Crops of a set.")
def main(faces: Path, seeds: int, pool: int, size: int) -> None:
    table = read_manifest(faces / "manifest.parquet")
    paths = table.filter(pc.equal(table["label"], "REAL"))["path"].to_pylist()
    chosen = np.random.default_rng(0).permutation(len(paths))[:pool].tolist()
    images = [np.asarray(Image.open(faces / paths[at]).convert("RGB")) for at in chosen]
    started, used = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in PLANTS:
            found, by, aucs = 0, Counter[str](), []
            for seed in range(seeds):
                folder = Path(scratch, f"{kind}{seed}".replace(" ", ""))
                shards = write_set(folder, planted(images, kind, size, seed))
                report = probe_shards(shards, 0, None, Keep(Path(scratch, "cache")))
                found += bool(report.found)
                by.update(each.name for each in report.found)
                aucs.append(max(each.clip.auc for each in report.probes))
            best = f"highest ROC-AUC of a set {min(aucs):.2f} to {max(aucs):.2f}"
            print(f"{kind}: found in {found} of {seeds}; {best}")
            for name, count in by.most_common():
                print(f"  {name}: {count}", flush=True)
    print(f"{time.monotonic() - started:.0f} s, {time.process_time() - used:.0f} s of CPU here")


if __name__ == "__main__":
    main()
