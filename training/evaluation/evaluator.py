"""Evaluates a model on a split: predictions, metrics, plots, report."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from dfdc_prep.run_files import SplitMetrics
from manifests.files import atomic_file, write_json, write_text
from manifests.folders import RunFolder
from manifests.tables.parquet import write_table
from training.data import input_pipeline
from training.data.shard_cache import shown
from training.evaluation import metrics, model_card, plots, text_report
from training.evaluation.cross.table import read_rows
from training.evaluation.cross.text import cross_text
from training.evaluation.explanation import localization, mistakes
from training.evaluation.predictions import Images, Predictions
from training.evaluation.tested_model import TestedModel, is_trained_on, open_run
from training.runs import checkpoints
from training.runs.folder import Run

#: Largest number of images in samples.png (Fig. 8 of the paper).
MAX_SAMPLES = 20


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
    """Evaluate the model of a run on a split and write the results; see `evaluate_model`.

    On the run's training shards, temperature and threshold are fitted on their validation split;
    on other shards those recorded in the run are used. They are never fitted on other shards.
    """
    tested = open_run(run, batch_size, shards if is_trained_on(run, shards) else None)
    return evaluate_model(tested, shards, split, out, batch_size)[1]


def evaluate_model(
    tested: TestedModel, shards: Path, split: str, out: Path, batch_size: int
) -> tuple[Predictions, SplitMetrics]:
    """Evaluate a model on a split and write the results.

    Args:
        out: the folder for metrics.json, report.txt, predictions.parquet, the plots and, for the
            model of a run, the worst mistakes; a run folder also gets the training curves and the
            model card.

    Returns:
        The predictions, and the metrics written to metrics.json.
    """
    run = tested.run
    predictions = tested.predict(shards, split, batch_size)
    report = metrics.split_metrics(split, shown(shards), predictions, tested.point)
    if predictions.has_masks and tested.classifier is not None:
        found = localization.measure(tested.classifier, shards, split, batch_size)
        report = replace(report, localization=found)
    if run is None or out != run.folder:  # a run folder that was removed must not be created again
        out.mkdir(parents=True, exist_ok=True)
    write_table(predictions.table(tested.point.temperature), out / RunFolder.PREDICTIONS)
    others = cross_text(read_rows(out / RunFolder.CROSS))
    write_text(out / "report.txt", text_report.report_text(report) + (others and f"\n{others}\n"))
    _write_images(tested, predictions, ShardsSplit(shards, split, batch_size), out)
    with atomic_file(out / "confusion.png") as partial:
        plots.plot_confusion(report.image.confusion, partial)
    history = run.history() if run is not None and out == run.folder else []
    if history:
        with atomic_file(out / "curves.png") as partial:
            plots.plot_curves(history, partial, checkpoints.best_epoch(history))
    write_json(out / RunFolder.METRICS, asdict(report))
    if run is not None and out == run.folder:
        model_card.write_card(run)
    return predictions, report


class ShardsSplit(NamedTuple):
    """A split of a shards folder, and how many images are read at once."""

    shards: Path
    split: str
    batch_size: int


def _write_images(
    tested: TestedModel, predictions: Predictions, source: ShardsSplit, out: Path
) -> None:
    """Write random samples and, for the model of a run, the worst mistakes with heatmaps."""
    seed = tested.run.config().options.seed if tested.run else 42
    samples = sample_positions(len(predictions.labels), seed)
    worst = mistakes.worst_mistakes(predictions) if tested.classifier is not None else []
    images = read_images(*source, [*samples, *worst])
    _plot_samples(predictions, samples, [images[at] for at in samples], out)
    if tested.classifier is None:
        return
    masked = worst if predictions.has_masks else ()
    mistakes.write_mistakes(
        out / mistakes.FOLDER,
        tested.classifier,
        predictions,
        {at: images[at] for at in worst},
        input_pipeline.read_masks(source.shards, source.split, masked),
    )


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
