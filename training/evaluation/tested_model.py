"""A model that is tested: that of a run, or a model file of somebody else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from dfdc_prep.run_files import OperatingPoint
from manifests.folders import ShardsFolder
from training.data.input_pipeline import read_shards_info
from training.data.shard_info import manifest_hash
from training.evaluation import metrics
from training.evaluation.predictions import Predictions, Transform, predict
from training.models.classifier import logit_model
from training.models.model_file import InputSettings, open_model
from training.runs.checkpoints import load_model
from training.runs.folder import Run


@dataclass(frozen=True)
class TestedModel:
    """A model, and what was learnt about its use from a validation split.

    Attributes:
        name: for tables.
        logits: what has `predict_on_batch`, from images to FAKE logits, [B, 1].
        point: temperature and threshold.
        run: the run it is from; None for a model file.
        classifier: the run's model with its sigmoid, for heatmaps.
        transform_for: the change of a split's images before the model, given its rows.
        notes: what its user has to know, one sentence each.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    name: str
    logits: Any
    point: OperatingPoint
    run: Run | None = None
    classifier: Any = None
    transform_for: Callable[[pa.Table], Transform | None] = lambda rows: None
    notes: list[str] = field(default_factory=list)

    def predict(self, shards: Path, split: str, batch_size: int) -> Predictions:
        """The logits of a split; see `training.evaluation.predictions.predict`."""
        return predict(self.logits, shards, split, batch_size, self.transform_for)


def is_trained_on(run: Run, shards: Path) -> bool:
    """Whether the run was trained on these shards, compared by manifest hash."""
    return run.config().data.manifest == manifest_hash(shards)


def training_shards(run: Run) -> Path | None:
    """The shards that the run was trained on; None if they are gone or have changed."""
    shards = Path(run.config().shards)
    there = (shards / ShardsFolder.MANIFEST).is_file() and is_trained_on(run, shards)
    return shards if there else None


def open_run(run: Run, batch_size: int, shards: Path | None = None) -> TestedModel:
    """The model of a run, with temperature and threshold of its own validation split.

    They are fitted if the run has no results yet, or results of an earlier version without a
    threshold whose training shards are still there; else they are those recorded.

    Args:
        shards: the shards it was trained on, to fit them in any case.
    """
    classifier = load_model(run)
    logits = logit_model(classifier)
    if shards is None and run.metrics().threshold is None:
        shards = training_shards(run)
    if shards is not None:
        validation = predict(logits, shards, "validation", batch_size)
        point = metrics.operating_point(validation.labels, validation.logits)
    else:
        recorded = run.metrics()
        point = OperatingPoint(recorded.temperature, recorded.threshold)
    return TestedModel(run.folder.resolve().name, logits, point, run, classifier)


def open_file(
    path: Path, settings: InputSettings, shards: Sequence[Path], batch_size: int
) -> TestedModel:
    """A model file, with temperature and threshold of the first validation split of `shards`.

    Raises:
        TrainingError: the file cannot be used.
    """
    model = open_model(path, settings)
    tested = TestedModel(
        path.resolve().name,
        model,
        OperatingPoint(),
        transform_for=model.margin_cutter,
        notes=[f"read as {model.described()}", *model.notes],
    )
    for source in shards:
        if sum(read_shards_info(source).lengths.get("validation", ())):
            validation = tested.predict(source, "validation", batch_size)
            point = metrics.operating_point(validation.labels, validation.logits)
            if point.threshold is not None:
                fitted = f"threshold and temperature are from the validation split of {source}"
                return replace(tested, point=point, notes=[*tested.notes, fitted])
    lacking = "no validation split with both labels, so no threshold but 0.5, and no calibration"
    return replace(tested, notes=[*tested.notes, lacking])
