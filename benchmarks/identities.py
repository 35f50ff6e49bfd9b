"""How well the faces of known people are grouped, what it costs, and what a split by person does.

Known people are a folder of photographs, one subfolder a person, and the REAL clips of a DFDC
tree, each taken for one person. Copies of all pictures are degraded: JPEG of quality 20, light
x 0.15 with noise, the face at 40 and at 28 pixels.

    python -m benchmarks.identities --people PHOTOS --clips DFDC --table metadata.csv
    python -m benchmarks.identities --scale 120000

Grouping runs in a process of its own, so that the peak of its memory is its own.
"""

import io
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from PIL import Image
from scipy.spatial.distance import pdist, squareform

from benchmarks.identity_split import simulate
from dfdc_prep.identities.encoder import MAX_CANDIDATES, MAX_FACES, MIDDLE, Box, Encoder
from manifests.arrow import ENCODING_SCHEMA
from manifests.identities.doubts import close_pairs
from manifests.identities.evidence import compare_pictures, flaws
from manifests.identities.linkage import group_by_average_linkage
from manifests.identities.people import assign_identities
from manifests.pictures.thumbnails import Pictures, thumbnail

Picture = np.ndarray
NO_PAIRS = np.empty((0, 2), np.int64)
THRESHOLD = 0.5


def jpeg20(picture: Picture, box: Box) -> Picture:
    """The picture as a JPEG of quality 20."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=20)
    return np.asarray(Image.open(file).convert("RGB"))


def dark(picture: Picture, box: Box) -> Picture:
    """The picture at 0.15 of its light, with noise of a standard deviation of 3 levels."""
    noise = np.random.default_rng(7).normal(0, 3, picture.shape)
    return (picture * 0.15 + noise).round().clip(0, 255).astype(np.uint8)


def shrunk(pixels: int) -> Callable[[Picture, Box], Picture]:
    """Scale the picture so that the longer side of the box has so many pixels, and back."""

    def shrink(picture: Picture, box: Box) -> Picture:
        height, width = picture.shape[:2]
        scale = pixels / max((box[2] - box[0]) * width, (box[3] - box[1]) * height)
        small = max(1, round(width * scale)), max(1, round(height * scale))
        image = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))

    return shrink


DEGRADED = {"JPEG 20": jpeg20, "dark": dark, "40 pixels": shrunk(40), "28 pixels": shrunk(28)}


def photographs(folder: Path) -> Iterator[tuple[str, Picture, Box]]:
    """Person, picture and box of every photograph; the face is in the middle."""
    for path in sorted(folder.glob("*/*.jpg")):
        yield path.parent.name, np.asarray(Image.open(path).convert("RGB")), MIDDLE


def real_clips(source: Path) -> Iterator[tuple[str, Picture, Box]]:
    """Clip, crop and box of ten frames of every REAL clip."""
    from dfdc_prep import extract
    from dfdc_prep.identities.encoder import choose_candidates
    from manifests.tables.parquet import read_manifest

    with tempfile.TemporaryDirectory() as folder:
        extract(source, folder, frames=10)
        manifest = read_manifest(Path(folder, "manifest.parquet"))
        for clip in choose_candidates(manifest):
            for crop in clip.crops:
                with Image.open(Path(folder, crop.path)) as image:
                    yield clip.video, np.asarray(image.convert("RGB")), crop.box


def report_accuracy(pictures: list[tuple[str, Picture, Box]]) -> None:
    """Print what is missed and falsely joined, for the pictures and each kind of copy."""
    encoder = Encoder()
    who = np.array([name for name, *_ in pictures])
    plain, flaws_found, _ = encode(encoder, pictures)
    print(f"\n{len(who)} pictures of {len(set(who))} people")
    for threshold in (0.45, 0.5, 0.55, 0.6):
        group = group_by_average_linkage(plain, threshold, NO_PAIRS, NO_PAIRS)[0]
        mixed = sum(len(set(who[group == each])) > 1 for each in range(group.max() + 1))
        print(f"average linkage at {threshold}: {group.max() + 1} groups, {mixed} mixed")
    same, other = pairs_of(who)
    distance = squareform(pdist(plain))
    print(f"closest strangers: {distance[other].min():.2f}")
    print(f"{'pairs at ' + str(THRESHOLD):28}{'missed':>9}{'false':>9}{'flagged':>9}")
    print_errors("as they are", distance, same, other, 0.0)
    everything, names, rows = [plain], [who], [*flaws_found]
    shown = [picture for _, picture, _ in pictures]
    for kind, degrade in DEGRADED.items():
        copies = [(name, degrade(picture, box), box) for name, picture, box in pictures]
        sizes = {"40 pixels": 40.0, "28 pixels": 28.0}
        encoded, flaws_found, flagged = encode(encoder, copies, sizes.get(kind))
        rows += flaws_found
        shown += [picture for _, picture, _ in copies]
        joint = squareform(pdist(np.concatenate([plain, encoded])))[: len(plain), len(plain) :]
        print_errors(f"{kind} beside as they are", joint, same, other, flagged)
        within = squareform(pdist(encoded))
        print_errors(f"{kind} beside {kind}", within, same, other, flagged)
        everything.append(encoded)
        names.append(who)
    for name, parts in (("as they are", 1), ("all copies", len(everything))):
        every, known = np.concatenate(everything[:parts]), np.concatenate(names[:parts])
        linked = group_by_average_linkage(every, THRESHOLD, NO_PAIRS, NO_PAIRS)[0]
        print_grouping(f"{name}, average linkage", linked, known)
        print_grouping(f"{name}, identify", identified(every, rows, shown[: len(every)]), known)


def pairs_of(who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the pairs of one person and of two, bool [n, n]; no picture with itself."""
    same = who[:, None] == who
    return same & ~np.eye(len(who), dtype=bool), ~same


def encode(
    encoder: Encoder, pictures: list[tuple[str, Picture, Box]], size: float | None = None
) -> tuple[np.ndarray, list[dict[str, float | None]], float]:
    """Encodings, the light, asymmetry and size of each, and the share that is weak evidence."""
    looks = [encoder.look(picture, box) for _, picture, box in pictures]
    rows = [{"light": look.light, "asymmetry": look.asymmetry, "size": size} for look in looks]
    weak = [bool(flaws(look.light, look.asymmetry, size)) for look in looks]
    encodings = [encoder.encode(look) for look in looks]
    return np.array(encodings, np.float64), rows, float(np.mean(weak))


def identified(
    encodings: np.ndarray, rows: list[dict[str, float | None]], shown: list[Picture]
) -> np.ndarray:
    """The groups that `identify` makes of pictures, each taken for a clip of its own."""
    names = [f"{at:05d}.mp4" for at in range(len(encodings))]
    own = {"part": "", "rank": 0, "label": "REAL", "path": "", "key": ""}
    faces = [
        own | row | {"video": name, "family": name, "encoding": encoding}
        for row, name, encoding in zip(rows, names, encodings.tolist(), strict=False)
    ]
    small = []
    for picture in shown:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        small.append(thumbnail(file.getvalue()))
    table = pa.Table.from_pylist(faces, ENCODING_SCHEMA)
    alike = compare_pictures(table, Pictures(np.arange(len(small)), np.array(small)))
    return assign_identities(table, table, [], THRESHOLD, alike).identity


def print_errors(
    name: str, distance: np.ndarray, same: np.ndarray, other: np.ndarray, flagged: float
) -> None:
    """Print the share of pairs of one person beyond the threshold, and of two within it."""
    missed, false = (distance[same] > THRESHOLD).mean(), (distance[other] <= THRESHOLD).mean()
    print(f"{name:36}{100 * missed:7.1f} %{100 * false:7.2f} %{100 * flagged:7.0f} %")


def print_grouping(name: str, group: np.ndarray, who: np.ndarray) -> None:
    """Print pair precision and recall of a grouping."""
    joined = (group[:, None] == group) & ~np.eye(len(who), dtype=bool)
    same, _ = pairs_of(who)
    precision = (joined & same).sum() / max(1, joined.sum())
    recall = (joined & same).sum() / same.sum()
    print(
        f"{name}: {len(who)} pictures, {len(set(group.tolist()))} groups, pair precision "
        f"{precision:.3f}, recall {recall:.3f}"
    )


def report_cost(pictures: list[tuple[str, Picture, Box]], repeats: int = 20) -> None:
    """Print CPU seconds of a clip of three faces: five crops looked at, three encoded."""
    from dfdc_prep.identities.encoder import decode

    encoder, (_, picture, box) = Encoder(), pictures[0]
    file = io.BytesIO()
    Image.fromarray(picture).resize((224, 224)).save(file, "PNG")
    encoder.encode(encoder.look(picture, box))
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        images = [decode(file.getvalue()) for _ in range(MAX_CANDIDATES)]
        looks = [encoder.look(image, box) for image in images if image is not None]
        for look in looks[:MAX_FACES]:
            encoder.encode(look)
        spent.append(time.process_time() - began)
    low, middle, high = np.quantile(spent, [0, 0.5, 1])
    print(f"\nCPU a clip of three faces: {middle:.3f} s ({low:.3f} to {high:.3f})")


def made_up(count: int, people: int) -> np.ndarray:
    """Encodings of made-up people, float64 [count, 128]: strangers 0.8 apart, faces 0.33."""
    random, dims = np.random.default_rng(0), 32
    who = random.integers(0, people, count)
    found = np.zeros((count, 128))
    centres = random.normal(size=(people, dims)) * 0.8 / np.sqrt(2 * dims)
    found[:, :dims] = centres[who] + random.normal(size=(count, dims)) * 0.33 / np.sqrt(2 * dims)
    return found


def print_scale(count: int) -> None:
    """Group so many encodings, 39 of each person, and print what that took."""
    encodings = made_up(count, max(1, count // 39))
    began = time.process_time()
    group = group_by_average_linkage(encodings, THRESHOLD, NO_PAIRS, NO_PAIRS)[0]
    grouped = time.process_time()
    pairs = close_pairs(encodings, group, THRESHOLD + 0.1)
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{count:,} encodings: {group.max() + 1:,} groups of {count // 39:,} people in "
        f"{grouped - began:.0f} s CPU, {len(pairs):,} close pairs in {done - grouped:.0f} s, "
        f"{peak:.2f} GB"
    )


@click.command()
@click.option("--people", type=click.Path(path_type=Path, exists=True), help="Photographs.")
@click.option("--clips", type=click.Path(path_type=Path, exists=True), help="A DFDC tree.")
@click.option("--table", type=click.Path(path_type=Path, exists=True), help="Kaggle's table.")
@click.option("--scale", type=int, multiple=True, help="Group so many made-up encodings.")
@click.option("--only-scale", type=int, hidden=True)
def main(
    people: Path | None, clips: Path | None, table: Path | None, scale: tuple[int, ...],
    only_scale: int | None,
) -> None:  # fmt: skip
    """Print accuracy, cost, the simulated splits and the cost of grouping."""
    if only_scale:
        print_scale(only_scale)
        return
    known = [list(photographs(people))] if people else []
    known += [list(real_clips(clips))] if clips else []
    for pictures in known:
        report_accuracy(pictures)
    if len(known) > 1:
        report_accuracy([*known[0], *known[1]])
    if known:
        report_cost(known[0])
    if table:
        from manifests.tables.external import read_bare_table

        simulate(read_bare_table(table).rows)
    for count in scale:
        command = [sys.executable, "-m", "benchmarks.identities", "--only-scale", str(count)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
