"""A model that is tested: that of a run, or a model file of somebody else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scipy.special import expit

from dfdc_prep.run_files import OperatingPoint
from training.data.shards import Shards
from training.evaluation.intervals import Floats
from training.evaluation.metrics import best_threshold, fit_temperature
from training.evaluation.predictions import Batch, Predictions, Source, Transforms, predict_each
from training.models.classifier import logit_model
from training.models.model_file import InputSettings, open_model
from training.runs.checkpoints import load_model
from training.runs.folder import Run


@dataclass(frozen=True)
class TestedModel:
    """A model, and what was learnt about its use from a validation split."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    name: str  # for tables
    logits: Any  # what has `predict_on_batch`, from images to FAKE logits, [B, 1]
    point: OperatingPoint
    run: Run | None = None  # None for a model file
    classifier: Any = None  # the run's model with its sigmoid, for heatmaps
    transforms: Transforms = lambda rows: [None]
    notes: list[str] = field(default_factory=list)  # what its user has to know, one sentence each

    def predict(
        self,
        source: Source,
        watch: Callable[[Batch, Floats], None] | None = None,
        *,
        masks: bool = False,
    ) -> Predictions:
        """The logits of a split; see `predict_each`."""
        return predict_each(self.logits, source, self.transforms, watch, masks=masks)[0]

    def fitted(self, shards: Shards, batch_size: int) -> "TestedModel":
        """The same with temperature and threshold of the validation split of some shards."""
        found = self.predict(Source(shards, "validation", batch_size))
        temperature = fit_temperature(found.labels, found.logits)
        threshold = best_threshold(found.labels, expit(found.logits))
        return replace(self, point=OperatingPoint(temperature, threshold))


def is_trained_on(run: Run, shards: Shards) -> bool:
    """Whether the run was trained on these shards, compared by manifest hash."""
    return run.config().data.manifest == shards.manifest_hash()


def open_tested_run(run: Run, shards: Shards | None = None, batch_size: int = 32) -> TestedModel:
    """The model of a run, with the temperature and threshold that are recorded in it.

    Args:
        shards: the shards it was trained on, to fit them on their validation split instead.

    Raises:
        TrainingError: the run has no usable model, or no results to take them from.
    """
    classifier = load_model(run)
    name, logits = run.folder.resolve().name, logit_model(classifier)
    tested = TestedModel(name, logits, OperatingPoint(), run, classifier)
    if shards:
        return tested.fitted(shards, batch_size)
    recorded = run.metrics()
    return replace(tested, point=OperatingPoint(recorded.temperature, recorded.threshold))


def open_file(
    path: Path, settings: InputSettings, shards: Sequence[Shards], batch_size: int
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
        transforms=lambda rows: [model.margin_cutter(rows)],
        notes=[f"read as {model.described()}", *model.notes],
    )
    for source in shards:
        if sum(source.lengths.get("validation", ())):
            fitted = tested.fitted(source, batch_size)
            if fitted.point.threshold is not None:
                note = f"threshold and temperature are from the validation split of {source}"
                return replace(fitted, notes=[*tested.notes, note])
    lacking = "no validation split with both labels, so no threshold but 0.5, and no calibration"
    return replace(tested, notes=[*tested.notes, lacking])
