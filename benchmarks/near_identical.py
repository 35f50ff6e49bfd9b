"""Near-identical crops: how many changed copies are found, and pairs of different families.

Of crops of a faces folder drawn at random, copies are mirrored, cut by 10 %, moved by 4 pixels,
and encoded as JPEG of quality 50. Then all crops are compared, as `shard` does.

    python -m benchmarks.near_identical faces --copies 2000
"""

import io
import resource
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from PIL import Image

from dfdc_prep.writing.sources import read_pictures
from manifests.pictures.images import open_image
from manifests.pictures.near_identical import MIN_LIKENESS, NearIdentical, find_near_identical
from manifests.pictures.thumbnails import Pictures, Thumbnails, thumbnail
from manifests.tables.codes import Codes
from manifests.tables.families import connected_families
from manifests.tables.parquet import read_manifest


def moved(image: Image.Image) -> Image.Image:
    """Move the picture 4 pixels to the right and down; its edge is repeated."""
    padded = np.pad(np.asarray(image), ((4, 0), (4, 0), (0, 0)), mode="edge")
    return Image.fromarray(padded[:-4, :-4])


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cut by 10 %": lambda image: image.crop((11, 11, 213, 213)).resize((224, 224)),
    "moved by 4 pixels": moved,
    "JPEG of quality 50": lambda image: image,
}


def share_found(crops: list[Image.Image], name: str) -> float:
    """The share of the changed copies that are near-identical to their crops; blank ones count."""
    quality = 50 if "JPEG" in name else 90
    copies = [encoded(CHANGES[name](crop), quality) for crop in crops]
    shown = small([*(encoded(crop, 90) for crop in crops), *copies])
    found = find_near_identical(shown, np.arange(len(shown)))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    both = zip(*np.sort(found.picture.reshape(2, -1), axis=0).tolist(), strict=True)
    return float(
        np.mean([low >= 0 and (low == high or (low, high) in pairs) for low, high in both])
    )


def encoded(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def small(images: list[bytes]) -> Thumbnails:
    found = [thumbnail(image) for image in images]
    return np.stack([each for each in found if each is not None])


def pairs_of_families(found: NearIdentical, group: Codes) -> tuple[int, float]:
    """Pairs of crops of different families that were found, and how many per million there are."""
    rows = [np.flatnonzero(found.picture == at) for at in range(int(found.picture.max()) + 1)]
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    pairs += [(at, at) for at in range(len(rows)) if len(rows[at]) > 1]
    count = 0
    for first, second in pairs:
        differ = group[rows[first]][:, None] != group[rows[second]][None, :]
        count += int(differ.sum()) // (2 if first == second else 1)
    sizes = np.bincount(group)
    total = (len(group) ** 2 - int((sizes**2).sum())) // 2
    return count, 1e6 * count / total


def compare(table: pa.Table, pictures: Pictures) -> None:
    """Compare all crops, and print what is found, the time and the memory."""
    group = connected_families(table).family[pictures.rows]
    start = time.process_time()
    found = find_near_identical(pictures.thumbnails, group)
    seconds = time.process_time() - start
    count, rate = pairs_of_families(found, group)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{len(group):,} crops, {int((found.picture < 0).sum()):,} blank")
    print(f"pairs of different families: {count:,}, {rate:.1f} per million")
    print(f"likeness: {MIN_LIKENESS} to 1, median {np.median(found.likeness):.3f}")
    print(f"{seconds:.0f} s of processor time, {peak:.1f} GB")


@click.command()
@click.argument("faces", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--copies", default=2000, show_default=True, help="Crops that are changed.")
@click.option("--seed", default=42, show_default=True)
def main(faces: Path, copies: int, seed: int) -> None:
    """Measure the search for near-identical crops on the faces folder FACES."""
    table = read_manifest(faces / "balanced.parquet", "dfdc-prep balance")
    drawn = np.random.default_rng(seed).choice(table.num_rows, copies, replace=False)
    paths = [table["path"][int(row)].as_py() for row in drawn]
    crops = []
    for path in paths:
        with open_image((faces / path).read_bytes()) as image:
            crops.append(image.convert("RGB"))
    for name in CHANGES:
        print(f"{name}: {share_found(crops, name):.4f} found of {copies:,}")
    compare(table, read_pictures(table, lambda path: str(faces / path)))


if __name__ == "__main__":
    main()
