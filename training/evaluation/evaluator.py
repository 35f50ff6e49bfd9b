"""Evaluates the model of a run on a split: predictions, metrics, plots, report."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
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
from training.data.shard_cache import shown
from training.data.shard_info import manifest_hash
from training.errors import TrainingError
from training.evaluation import localization, metrics, mistakes, model_card, plots, text_report
from training.evaluation.predictions import Predictions
from training.models.classifier import logit_model
from training.runs import checkpoints
from training.runs.folder import Run
from training.schemas import SplitMetrics

Images = npt.NDArray[np.uint8]
Transform = Callable[[Images], Images]

#: Largest number of images in samples.png (Fig. 8 of the paper).
MAX_SAMPLES = 20


def load_model(run: Run) -> Any:
    """Load model.keras of a run, not compiled.

    Raises:
        TrainingError: model.keras is missing or broken.
    """
    if checkpoints.is_intact(run.model_file):
        model = checkpoints.load_classifier(run.model_file, compile=False)
        if model is not None:
            return model
    found = "a broken one" if run.model_file.exists() else "none"
    raise TrainingError(
        f"expected a model.keras in {run.folder}, found {found}; finish the run with "
        "python -m training.fit"
    )


def split_rows(shards: Path, split: str) -> pa.Table:
    """The manifest rows of a split, in the order of its records."""
    table = read_manifest(shards / "manifest.parquet", "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
    return table.filter(pc.equal(table["split"], split))


def iterate_batches(shards: Path, split: str, batch_size: int) -> Iterator[tuple[Images, Any]]:
    """Yield images and labels of a split as NumPy arrays, with a progress bar."""
    total = input_pipeline.count_records(shards, split)
    with (
        tqdm(total=total, desc=split, unit="img", disable=None) as bar,
        input_pipeline.report_read_errors(shards),
    ):
        for images, labels in input_pipeline.make_dataset(shards, split, batch_size):
            yield np.asarray(images), np.asarray(labels)
            bar.update(len(labels))


def predict(
    model: Any, shards: Path, split: str, batch_size: int, transform: Transform | None = None
) -> Predictions:
    """Compute the logit of every image of a split.

    Args:
        model: a model from `training.models.classifier.logit_model`.
        transform: applied to each batch of RGB images, uint8 [B, H, W, 3], before the model.

    Raises:
        TrainingError: the split is empty, or the labels in shards and manifest differ.
    """
    rows = split_rows(shards, split)
    logits, labels = [], []
    for images, batch_labels in iterate_batches(shards, split, batch_size):
        inputs = transform(images) if transform else images
        logits.append(np.asarray(model.predict_on_batch(inputs), np.float64)[:, 0])
        labels.append(batch_labels.astype(np.int64))
    expected = [LABELS.index(label) for label in rows["label"].to_pylist()]
    if not logits:
        raise TrainingError(
            f"expected images in the {split} split of {shards}, found none; shard more crops "
            "or use another --split"
        )
    found = np.concatenate(labels)
    if found.tolist() != expected:
        raise TrainingError(
            f"expected the {split} records of {shards} in the order of its manifest.parquet, "
            "found other labels; run dfdc-prep shard --overwrite"
        )
    return Predictions(rows, found, np.concatenate(logits))


def sample_images(
    shards: Path, split: str, batch_size: int, seed: int
) -> tuple[list[int], list[Images]]:
    """Draw up to `MAX_SAMPLES` random images of a split.

    Returns:
        The sorted positions of the images in the split, and the images, uint8 [H, W, 3].
    """
    positions = sample_positions(input_pipeline.count_records(shards, split), seed)
    images = read_images(shards, split, batch_size, positions)
    return positions, [images[at] for at in positions]


def sample_positions(total: int, seed: int) -> list[int]:
    """Draw the positions of up to `MAX_SAMPLES` random images of `total`, ascending."""
    rng = np.random.default_rng(seed)
    return sorted(rng.choice(total, min(MAX_SAMPLES, total), replace=False).tolist())


def read_images(
    shards: Path, split: str, batch_size: int, positions: Iterable[int]
) -> dict[int, Images]:
    """Return images of a split, uint8 [H, W, 3], by their position in it."""
    wanted, found, start = set(positions), dict[int, Images](), 0
    if not wanted:
        return found
    with input_pipeline.report_read_errors(shards):
        for images, _ in input_pipeline.make_dataset(shards, split, batch_size):
            end = start + len(images)
            found |= {at: np.asarray(images[at - start]) for at in wanted if start <= at < end}
            start = end
            if len(found) == len(wanted):
                break
    return found


def evaluate(run: Run, shards: Path, split: str, out: Path, batch_size: int) -> SplitMetrics:
    """Evaluate the model of a run on a split and write the results.

    On the run's training shards the temperature is fitted on their validation split; on other
    shards the temperature recorded in the run is used. It is never fitted on other shards.

    Args:
        out: the folder for metrics.json, report.txt, predictions.parquet, the plots and the
            worst mistakes; the run folder also gets the training curves and the model card.

    Returns:
        The metrics written to metrics.json.
    """
    classifier = load_model(run)
    model = logit_model(classifier)
    predictions = predict(model, shards, split, batch_size)
    t = _temperature(run, model, shards, batch_size)
    report = metrics.split_metrics(split, shown(shards), predictions, t)
    if predictions.has_masks:
        found = localization.measure(classifier, shards, split, batch_size)
        report = replace(report, localization=found)
    if out != run.folder:  # a run folder that was removed must not be created again
        out.mkdir(parents=True, exist_ok=True)
    write_table(predictions.table(t), out / "predictions.parquet")
    write_text(out / "report.txt", text_report.report_text(report))
    samples = sample_positions(len(predictions.labels), run.config().options.seed)
    worst = mistakes.worst_mistakes(predictions)
    images = read_images(shards, split, batch_size, [*samples, *worst])
    _plot_samples(predictions, samples, [images[at] for at in samples], out)
    mistakes.write_mistakes(
        out / mistakes.FOLDER,
        classifier,
        predictions,
        {at: images[at] for at in worst},
        input_pipeline.read_masks(shards, split, worst if predictions.has_masks else ()),
    )
    with atomic_file(out / "confusion.png") as partial:
        plots.plot_confusion(report.image.confusion, partial)
    history = run.history()
    if out == run.folder and history:
        with atomic_file(out / "curves.png") as partial:
            plots.plot_curves(history, partial, checkpoints.best_epoch(history))
    write_json(out / "metrics.json", asdict(report))
    if out == run.folder:
        model_card.write_card(run)
    return report


def _temperature(run: Run, model: Any, shards: Path, batch_size: int) -> float:
    """The temperature fitted on the run's validation split, or the recorded one."""
    if is_trained_on(run, shards):
        validation = predict(model, shards, "validation", batch_size)
        return metrics.fit_temperature(validation.labels, validation.logits)
    return run.metrics().temperature


def is_trained_on(run: Run, shards: Path) -> bool:
    """Whether the run was trained on these shards, compared by manifest hash."""
    return run.config().data.manifest == manifest_hash(shards)


def default_output(run: Run, shards: Path, split: str) -> Path:
    """The run folder for the test split of its training shards, else a subfolder of it."""
    if split == "test" and is_trained_on(run, shards):
        return run.folder
    return run.folder / "evaluations" / f"{shards.resolve().name}-{split}"


def _plot_samples(
    predictions: Predictions, positions: list[int], images: list[Images], out: Path
) -> None:
    labels = predictions.labels[positions].tolist()
    scores = expit(predictions.logits[positions]).tolist()
    with atomic_file(out / "samples.png") as partial:
        plots.plot_samples(images, labels, scores, partial)
