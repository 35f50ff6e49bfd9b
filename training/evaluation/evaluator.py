"""A run's model over a split, every image once: predictions, figures, pictures, report."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit
from tqdm import tqdm

from manifests.io.atomic import atomic_file
from manifests.io.json_files import write_json, write_text
from manifests.labels import LABELS
from manifests.schema import SHARD_MANIFEST_SCHEMA
from manifests.tables.parquet import read_manifest, write_table
from training.data import input_pipeline
from training.data.shard_info import manifest_hash
from training.errors import TrainingError
from training.evaluation import metrics, model_card, plots, text_report
from training.models.classifier import logit_model
from training.runs import checkpoints
from training.runs.folder import Run

Images = npt.NDArray[np.uint8]
Change = Callable[[Images], Images]

#: How many images Fig. 8 shows.
SHOWN = 20


@dataclass(frozen=True)
class Predictions:
    """One split as the model sees it, in the order of the shards' manifest.

    Attributes:
        rows: the split's rows of the manifest.
        labels: int64, 0 REAL and 1 FAKE.
        logits: float64, before the sigmoid and any temperature.
    """

    rows: pa.Table
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]

    @property
    def clips(self) -> list[str]:
        """The clip of each image, part and file name: names recur across parts."""
        parts, videos = self.rows["part"].to_pylist(), self.rows["video"].to_pylist()
        return [f"{part}/{video}" for part, video in zip(parts, videos, strict=True)]

    @property
    def families(self) -> list[str]:
        """The family of each image."""
        return list(self.rows["family"].to_pylist())

    def table(self, temperature: float) -> pa.Table:
        """predictions.parquet: who the image is, `target`, `logit`, `score`, `calibrated`.

        `score` is P(FAKE); `calibrated` is the same after the temperature.
        """
        names = ["video", "part", "label", "family", "frame", "face", "path"]
        columns = {name: self.rows[name] for name in names}
        columns["target"] = pa.array(self.labels)
        columns["logit"] = pa.array(self.logits)
        columns["score"] = pa.array(expit(self.logits))
        columns["calibrated"] = pa.array(expit(self.logits / temperature))
        return pa.table(columns)


def load_model(run: Run) -> Any:
    """The run's model, not compiled.

    Raises:
        TrainingError: there is none, or it cannot be read.
    """
    if checkpoints.intact(run.model_file):
        model = checkpoints.loaded(run.model_file, compile=False)
        if model is not None:
            return model
    found = "a broken one" if run.model_file.exists() else "none"
    raise TrainingError(
        f"expected a model.keras in {run.folder}, found {found}; finish the run with "
        "python -m training.fit"
    )


def split_rows(shards: Path, split: str) -> pa.Table:
    """The rows of the shards' manifest that are the records of a split, in their order."""
    table = read_manifest(shards / "manifest.parquet", "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
    return table.filter(pc.equal(table["split"], split))


def batches(shards: Path, split: str, batch: int, what: str) -> Iterator[tuple[Images, Any]]:
    """The images and labels of a split as NumPy arrays, behind a progress bar."""
    total = input_pipeline.count(shards, split)
    with (
        tqdm(total=total, desc=what, unit="img", disable=None) as bar,
        input_pipeline.readable(shards),
    ):
        for images, labels in input_pipeline.dataset(shards, split, batch):
            yield np.asarray(images), np.asarray(labels)
            bar.update(len(labels))


def predict(
    model: Any, shards: Path, split: str, batch: int, change: Change | None = None
) -> Predictions:
    """The model's logit for every image of a split.

    Args:
        model: of `training.model.logit_model`.
        change: what is done to a batch of images (uint8 [B, H, W, 3]) first.

    Raises:
        TrainingError: the split is empty, or the shards and their manifest disagree.
    """
    rows = split_rows(shards, split)
    logits, labels = [], []
    for images, batch_labels in batches(shards, split, batch, split):
        seen = change(images) if change else images
        logits.append(np.asarray(model.predict_on_batch(seen), np.float64)[:, 0])
        labels.append(batch_labels.astype(np.int64))
    wanted = [LABELS.index(label) for label in rows["label"].to_pylist()]
    if not logits:
        raise TrainingError(
            f"expected images in the {split} split of {shards}, found none; shard more crops, or "
            "with another --split"
        )
    found = np.concatenate(labels)
    if found.tolist() != wanted:
        raise TrainingError(
            f"expected the {split} records of {shards} in the order of its manifest.parquet, "
            "found other labels; run dfdc-prep shard --overwrite"
        )
    return Predictions(rows, found, np.concatenate(logits))


def pictures_of(shards: Path, split: str, batch: int, seed: int) -> tuple[list[int], list[Images]]:
    """Up to 20 random places of a split and the images there, in the split's order."""
    rng = np.random.default_rng(seed)
    total = input_pipeline.count(shards, split)
    places = sorted(rng.choice(total, min(SHOWN, total), replace=False).tolist())
    found, start = [], 0
    with input_pipeline.readable(shards):
        for images, _ in input_pipeline.dataset(shards, split, batch):
            end = start + len(images)
            found += [np.asarray(images[at - start]) for at in places if start <= at < end]
            start = end
            if len(found) == len(places):
                break
    return places, found


def evaluate(run: Run, shards: Path, split: str, out: Path, batch: int) -> dict[str, Any]:
    """Measure a run's model on a split and write what was found.

    The temperature is fitted on the validation split of the run's own shards; elsewhere the
    one found there is used, so that nothing is ever fitted on what is being judged.

    Args:
        out: the folder for metrics.json, report.txt, predictions.parquet and the pictures;
            the run's own folder gets the training curves and the model card too.

    Returns:
        What metrics.json holds.
    """
    model = logit_model(load_model(run))
    found = predict(model, shards, split, batch)
    t = _temperature(run, model, shards, batch)
    said = {"split": split, "shards": str(shards)} | metrics.report(
        found.labels, found.logits, found.clips, found.families, t
    )
    if out != run.folder:  # which, where somebody removed it, is not made anew
        out.mkdir(parents=True, exist_ok=True)
    write_table(found.table(t), out / "predictions.parquet")
    write_text(out / "report.txt", text_report.text(said))
    _draw(run, found, said, shards, split, out, batch)
    write_json(out / "metrics.json", said)
    if out == run.folder:
        with run.understood():
            model_card.write(run)
    return said


def _temperature(run: Run, model: Any, shards: Path, batch: int) -> float:
    if own_shards(run, shards):
        validation = predict(model, shards, "validation", batch)
        return metrics.temperature(validation.labels, validation.logits)
    with run.understood():
        return float(run.metrics()["temperature"])


def own_shards(run: Run, shards: Path) -> bool:
    """Whether these are the shards the run was trained on, by their manifest."""
    with run.understood():
        return bool(run.config()["data"]["manifest"] == manifest_hash(shards))


def place(run: Run, shards: Path, split: str) -> Path:
    """Where figures go by default: the run's folder for its own test, else one beside them."""
    if split == "test" and own_shards(run, shards):
        return run.folder
    return run.folder / "evaluations" / f"{shards.resolve().name}-{split}"


def _draw(
    run: Run,
    found: Predictions,
    said: dict[str, Any],
    shards: Path,
    split: str,
    out: Path,
    batch: int,
) -> None:
    with run.understood():
        seed = int(run.config()["options"]["seed"])
    places, images = pictures_of(shards, split, batch, seed)
    scores = expit(found.logits[places])
    with atomic_file(out / "samples.png") as half:
        plots.samples(images, found.labels[places].tolist(), scores.tolist(), half)
    with atomic_file(out / "confusion.png") as half:
        plots.confusion(said["image"]["confusion"], half)
    history = run.history()
    if out == run.folder and history:
        with atomic_file(out / "curves.png") as half:
            plots.curves(history, half, checkpoints.best(history))
