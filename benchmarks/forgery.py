"""Which faces were forged, and where: against what is known, in one run.

    python -m benchmarks.forgery dfdc --model face_detection_yunet_2026may.onnx

SOURCE has parts with families whose originals are on disk. `--only cost` (or sample, real, encoded,
people, aligned) does one part; `--sheet FILE` draws the real families' crops and masks.
"""

import tempfile
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.extract import adopt, timed
from tests.forged_clips import make_two_people, reencode

FRAMES = 10
#: Clips of this many frames are re-encoded, since encoding is slow.
ENCODED_FRAMES = 60
CRFS = (23, 30, 40)


def extracted(source: Path, out: Path, model: Path, *words: str):
    """The manifest of an extraction, as pandas reads it."""
    import pandas as pd

    extraction(source, out, model, *words)
    return pd.read_parquet(out / "manifest.parquet")


def extraction(source: Path, out: Path, model: Path, *words: str):
    options = ["--detector", "yunet", "--detector-model", str(model)]
    return timed("-m", "cli", "extract", str(source), str(out), *options, *words)


def called(fakes) -> str:
    counts = fakes["forged"].value_counts(dropna=False).to_dict()
    return f"{counts.get(True, 0)} of {len(fakes)} crops forged, {counts.get(None, 0)} unknown"


def of_sample(folder: Path, model: Path, **_) -> None:
    from dfdc_prep.sample.builder import build_sample, plan_families

    build_sample(folder / "sample")
    words = ("--frames", "5", "--masks")
    rows = extracted(folder / "sample", folder / "faces", model, *words)
    fakes = rows[(rows["label"] == "FAKE") & rows["forged"].notna()]
    plans = {f.original: f for f in plan_families(12, 42)}
    overlaps = [
        overlap(
            cv2.imread(str(folder / "faces" / row.mask), 0), true_region(plans[row.family], row)
        )
        for row in fakes.itertuples()
    ]
    print(
        f"sample: {called(fakes)}; IoU of the masks at 0.5, least and median: "
        f"{min(overlaps):.3f}, {np.median(overlaps):.3f}"
    )


def true_region(family, row) -> np.ndarray:
    """Where a crop of the sample is swapped by half or more, bool [size, size]."""
    from dfdc_prep.sample.face_swap import portraits, swapped_region

    body, scene = portraits()[family.person], family.scene
    strength = dict(family.fakes)[row.video].strength
    to_crop = np.array(
        [
            [row.affine_xx, row.affine_xy, row.affine_x0],
            [row.affine_yx, row.affine_yy, row.affine_y0],
        ]
    )
    to_frame = np.vstack([scene.transform(body, row.frame), [0, 0, 1]])
    weight = cv2.warpAffine(strength * swapped_region(body), to_crop @ to_frame, (224, 224))
    return weight >= 0.5


def overlap(mask: np.ndarray, true: np.ndarray) -> float:
    found = mask >= 128
    return float((found & true).sum() / (found | true).sum())


def of_real(folder: Path, model: Path, source: Path, sheet: Path | None = None, **_) -> None:
    words = ("--frames", str(FRAMES), "--masks")
    rows = extracted(source, folder / "faces", model, *words)
    fakes = rows[(rows["label"] == "FAKE") & rows["forged"].notna()]
    for video, crops in fakes.groupby("video"):
        least, most = crops["difference"].min(), crops["difference"].max()
        shift = crops["aligned"].max()
        print(
            f"real, {video}: {called(crops)}, difference {least:.3f} to {most:.3f}, "
            f"shift at most {shift:.2f}"
        )
    if sheet:
        draw_sheet(folder / "faces", rows, fakes, sheet)


def draw_sheet(faces: Path, rows, fakes, sheet: Path) -> None:
    """Original, fake and mask of each crop, ten crops a row of triples."""
    originals = rows[rows["label"] == "REAL"].set_index(["video", "frame", "face"])["path"]
    triples = []
    for row in fakes.itertuples():
        real = cv2.imread(str(faces / originals[row.original, row.frame, row.face]))
        fake, mask = cv2.imread(str(faces / row.path)), cv2.imread(str(faces / row.mask))
        triples.append(np.vstack([real, fake, mask]))
    lines = [np.hstack(triples[at : at + FRAMES]) for at in range(0, len(triples), FRAMES)]
    width = min(line.shape[1] for line in lines)
    picture = np.vstack([line[:, :width] for line in lines])
    cv2.imwrite(str(sheet), cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def of_encoded(folder: Path, model: Path, source: Path, **_) -> None:
    for crf in CRFS:
        part = folder / f"crf{crf}" / "dfdc_train_part_0"
        for clip in sorted(source.glob("*/*.mp4")):
            reencode(clip, part, crf, ENCODED_FRAMES)
        words = ("--frames", "5", "--compare")
        rows = extracted(part.parent, folder / f"faces{crf}", model, *words)
        fakes = rows[rows["label"] == "FAKE"]
        print(f"re-encoded at CRF {crf}, no forgery: {called(fakes)}", flush=True)


def of_people(folder: Path, model: Path, **_) -> None:
    swapped: dict[str, int] = {}
    for seed in range(6):
        swapped |= make_two_people(folder / "two" / "dfdc_train_part_0", seed)[1]
    words = ("--frames", "4", "--faces", "all", "--compare")
    rows = extracted(folder / "two", folder / "faces", model, *words)
    fakes = rows[rows["label"] == "FAKE"]
    who = (fakes["x"] + fakes["w"] / 2 > fakes["width"] / 2).astype(int)
    right = (fakes["video"].map(swapped) == who) == fakes["forged"]
    print(
        f"two people, one swapped: {right.sum()} of {len(fakes)} faces right, {len(swapped)} clips"
    )


def of_aligned(folder: Path, model: Path, source: Path, **_) -> None:
    from dfdc_prep.crops.placement import template_points
    from dfdc_prep.detectors.yunet import YuNet
    from dfdc_prep.video.picture import Still

    detector = YuNet(model)
    template = template_points(0.3, 224)[:2]
    for align in ("eyes", "five-point"):
        out = folder / align
        rows = extracted(source, out, model, "--frames", str(FRAMES), "--align", align)
        mapped, again = [], []
        for row in rows.itertuples():
            eyes = np.array([[row.left_eye_x, row.left_eye_y], [row.right_eye_x, row.right_eye_y]])
            linear = np.array([[row.affine_xx, row.affine_xy], [row.affine_yx, row.affine_yy]])
            mapped.append(eyes @ linear.T + [row.affine_x0, row.affine_y0])
            crop = cv2.cvtColor(cv2.imread(str(out / row.path)), cv2.COLOR_BGR2RGB)
            faces = detector.detect(Still(crop))
            if faces:
                largest = max(faces, key=lambda face: face.area)
                again.append(np.array(largest.landmarks[:2]))
        print(
            f"{align}, {len(rows)} crops, eyes within 1 px of the template: "
            f"{near(mapped, template)}; found again in the crop: {near(again, template)}"
        )


def near(eyes: list[np.ndarray], template: np.ndarray) -> str:
    distance = np.linalg.norm(np.array(eyes) - template, axis=2).max(axis=1)
    return f"{100 * (distance <= 1).mean():.1f} % (median {np.median(distance):.2f} px)"


def of_cost(folder: Path, model: Path, source: Path, rounds: int = 5, **_) -> None:
    kinds = {"off": (), "compare": ("--compare",), "masks": ("--masks",)}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind, words in kinds.items():
            out = folder / f"{kind}{number}"
            timing = extraction(source, out, model, "--frames", str(FRAMES), *words)
            seconds[kind].append(timing.cpu)
    for kind in ("compare", "masks"):
        ratios = [
            more / plain - 1 for more, plain in zip(seconds[kind], seconds["off"], strict=True)
        ]
        print(
            f"CPU of {kind} beside neither, {rounds} pairs: median "
            f"{100 * np.median(ratios):+.1f} %, {100 * min(ratios):+.1f} to "
            f"{100 * max(ratios):+.1f} %"
        )


PARTS = {
    "sample": of_sample,
    "real": of_real,
    "encoded": of_encoded,
    "people": of_people,
    "aligned": of_aligned,
    "cost": of_cost,
}


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--only", type=click.Choice(list(PARTS)), multiple=True)
@click.option("--sheet", type=click.Path(path_type=Path))
@click.option("--rounds", type=int, default=5, help="Pairs of runs whose CPU time is compared.")
def main(source: Path, model: Path, only: tuple[str, ...], sheet: Path | None, rounds: int) -> None:
    adopt()
    for name in only or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder), model, source=source, sheet=sheet, rounds=rounds)


if __name__ == "__main__":
    main()
