"""Evaluates models on several data sets and writes one table about all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.storage.mirror import local_file
from dfdc_prep.storage.urls import as_location
from manifests.errors import StorageError
from manifests.files import file_sha256, write_text
from manifests.folders import ShardsFolder
from training.evaluation import text_report
from training.evaluation.cross import table
from training.evaluation.cross.outputs import OutputPlan
from training.evaluation.cross.overlap import TrainingCrops
from training.evaluation.cross.sets import NamedSet, datasets_of, name_sets, numbered
from training.evaluation.cross.table import CrossRow, Labelled
from training.evaluation.cross.text import cross_text
from training.evaluation.evaluator import evaluate_model
from training.evaluation.tested_model import TestedModel
from training.runs.folder import Run


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        rows: those of cross.csv.
        notes: what else is known of the models, one sentence each.
    """

    rows: list[CrossRow]
    notes: list[str]


def compare(
    models: Sequence[TestedModel], plan: OutputPlan, split: str, batch_size: int
) -> Comparison:
    """Evaluate each model on each set; write their results, cross.csv and report.txt.

    Args:
        models: the first is the one the plan is made for; the results of the others go beside.
    """
    rows: list[CrossRow] = []
    named: list[NamedSet] = []
    names = numbered([each.name for each in models])
    for number, (model, name) in enumerate(zip(models, names, strict=True)):
        folders = (plan.beside(name) if number else plan).folders
        found = [
            evaluate_model(model, shards, split, out, batch_size)[0]
            for shards, out in zip(plan.shards, folders, strict=True)
        ]
        if not named:
            named = name_sets(
                [(at, datasets_of(each)) for at, each in zip(plan.shards, found, strict=True)]
            )
        crops = _training_crops(model)
        for each in named:
            predictions = each.of(found[each.position])
            known = crops.known(predictions.rows) if crops else None
            labels = Labelled(name, each.name, split)
            rows += table.set_rows(labels, predictions, model.point, known)
    notes = [f"{name}: {note}." for m, name in zip(models, names, strict=True) for note in m.notes]
    table.write_rows(rows, Run(plan.base).cross_file)
    _write_report(plan.base, rows, notes)
    return Comparison(rows, notes)


def _training_crops(model: TestedModel) -> TrainingCrops | None:
    """The crops that a run was trained on, wherever its shards are.

    None for a model file, and if the shards are gone, have changed, or cannot be reached from here.
    """
    if model.run is None:
        return None
    config = model.run.config()
    try:
        shards = as_location(config.shards)
    except ValueError:  # the bucket's package is not installed here
        return None
    try:
        with local_file(shards / ShardsFolder.MANIFEST) as manifest:
            if manifest.is_file() and file_sha256(manifest) == config.data.manifest:
                return TrainingCrops.read(manifest)
    except StorageError:
        pass
    return None


def _write_report(folder: Path, rows: Sequence[CrossRow], notes: Sequence[str]) -> None:
    """Write report.txt: the results on one split, if the folder has some, and the table."""
    run = Run(folder)
    own = text_report.report_text(run.metrics()) + "\n" if run.metrics_file.is_file() else ""
    write_text(folder / "report.txt", f"{own}{cross_text(rows, notes)}\n")
