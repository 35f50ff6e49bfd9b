"""Evaluates models on splits of shards: predictions, metrics, plots, report, and a table of all."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from scipy.special import expit

from dfdc_prep.reports.compared import Comparison
from dfdc_prep.run_files import (
    CROSS_COLUMNS,
    CrossRow,
    OperatingPoint,
    RunFiles,
    SplitMetrics,
    write_rows,
)
from manifests.files import atomic_file, write_json, write_text
from manifests.folders import RunFolder
from manifests.tables.parquet import write_table
from training.data.shards import Shards
from training.evaluation import cross, plots, text
from training.evaluation.comparison import Entry, Policy, compare
from training.evaluation.heatmaps import KeptImages, MaskScores, write_mistakes
from training.measures.metrics import best_threshold, fit_temperature, split_metrics
from training.measures.predictions import (
    Batch,
    Floats,
    Predictions,
    Source,
    Transforms,
    predict_each,
)
from training.measures.scores import clips_of_split, score_table, write_scores
from training.models.classifier import logit_model
from training.models.model_file import open_model
from training.models.settings import InputSettings
from training.runs.checkpoints import best_epoch, load_model
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

    def fitted(self, shards: Shards, batch_size: int) -> "TestedModel":
        """The same with temperature and threshold of the validation split of some shards."""
        source = Source(shards, "validation", batch_size)
        (found,) = predict_each(self.logits, source, self.transforms)
        temperature = fit_temperature(found.labels, found.logits)
        threshold = best_threshold(found.labels, expit(found.logits))
        return replace(self, point=OperatingPoint(temperature, threshold))


def is_trained_on(run: Run, shards: Shards) -> bool:
    """Whether the run was trained on these shards, compared by manifest hash."""
    return run.config().data.manifest == shards.manifest_hash()


def open_tested_run(run: Run, shards: Shards | None = None, batch_size: int = 32) -> TestedModel:
    """The model of a run, with the temperature and threshold that are recorded in it.

    They are fitted on the validation split of `shards`, those it was trained on, if these are
    given. TrainingError if the run has no usable model, or no results to take them from.
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
    """A model file, with temperature and threshold of the first validation split of `shards`."""
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


class OutputPlan(NamedTuple):
    """The folders of an evaluation."""

    shards: Sequence[Shards]  # what is evaluated
    folders: Sequence[Path]  # for the results on each
    base: Path  # for the table of all


def plan_for_run(run: Run, shards: Sequence[Shards], split: str, out: Path | None) -> OutputPlan:
    """One set goes into a folder of its own, several into the run's and its `evaluations`.

    The test split of the shards that the run was trained on goes into the run's folder. `out` takes
    the place of all these.
    """
    folders = [
        run.folder if not out and split == "test" and is_trained_on(run, each) else folder
        for each, folder in zip(
            shards, _folders(out or run.folder / RunFolder.EVALUATIONS, shards, split), strict=True
        )
    ]
    if len(shards) == 1:
        base = out or folders[0]
        return OutputPlan(shards, [base], base)
    return OutputPlan(shards, folders, out or run.folder)


def plan_for_file(path: Path, shards: Sequence[Shards], split: str, out: Path | None) -> OutputPlan:
    """A folder for each set, in `evaluations/NAME` of the working folder."""
    base = out or Path(RunFolder.EVALUATIONS) / path.resolve().stem
    return OutputPlan(shards, _folders(base, shards, split), base)


def _folders(base: Path, shards: Sequence[Shards], split: str) -> list[Path]:
    names = cross.numbered([f"{each.folder.resolve().name}-{split}" for each in shards])
    return [base / name for name in names]


def evaluate_all(
    models: Sequence[TestedModel], plan: OutputPlan, split: str, batch_size: int
) -> tuple[list[CrossRow], list[str], Comparison]:
    """Evaluate each model on each set; write their results, cross.csv and report.txt.

    Several models are also compared on each set, per clip (`comparison.compare`). The results of a
    run on its own split go into its folder, whose table they do not replace.

    Args:
        models: the first is the one the plan is made for; the results of the others go beside.

    Returns:
        The rows of cross.csv, what else is known of the models, one sentence each, and the
        comparison, which is empty for one model.
    """
    sources = [Source(each, split, batch_size) for each in plan.shards]
    first = models[0]
    if len(models) == len(sources) == 1 and first.run and plan.base == first.run.folder:
        evaluate_model(first, sources[0], plan.base)
        return [], [], Comparison()
    sets = cross.name_sets([(source.shards.folder, source.rows) for source in sources])
    rows: list[CrossRow] = []
    entries: list[list[Entry]] = [[] for _ in sources]
    names = cross.numbered([model.name for model in models])
    below = cross.numbered([folder.name for folder in plan.folders])
    for model, name in zip(models, names, strict=True):
        beside = [plan.base / RunFolder.BESIDE / name / each for each in below]
        folders = plan.folders if model is first else beside
        found = [evaluate_model(model, *each) for each in zip(sources, folders, strict=True)]
        config = model.run.config() if model.run else None
        for given, predictions in zip(entries, found, strict=True):
            given.append(Entry(name, clip_scores(predictions), model.point, config))
        trained = cross.training_crops(model.run) if model.run else None
        for each in sets:
            predictions = each.of(found[each.position])
            known = None if trained is None else cross.known_images(trained, predictions.rows)
            shared = {"model": name, "set": each.name, "split": split}
            rows += cross.set_rows(shared, predictions, model.point, known)
    notes = [f"{name}: {note}." for m, name in zip(models, names, strict=True) for note in m.notes]
    base = RunFiles(plan.base)
    compared = Comparison()
    titles = cross.numbered([each.folder.resolve().name for each in plan.shards])
    for given, title in zip(entries, titles, strict=True) if len(models) > 1 else ():
        compared += compare(given, {"set": title, "split": split}, Policy())
    if len(models) > 1:
        compared.write(plan.base)
    write_rows(base.cross_file, CROSS_COLUMNS, rows)
    own = text.report_text(base.metrics()) + "\n" if base.metrics_file.is_file() else ""
    whole = f"{own}{text.cross_text(rows, notes)}\n"
    if len(models) > 1:
        whole += f"\n{compared.text()}\n"
    write_text(plan.base / "report.txt", whole)
    return rows, notes, compared


def clip_scores(predictions: Predictions) -> pa.Table:
    """The score table of a model of which every clip has a score."""
    return score_table(clips_of_split(predictions.rows), predictions.levels()["clip"].logits)


def evaluate(run: Run, shards: Shards, batch_size: int) -> SplitMetrics:
    """Evaluate a run on the test split of its training shards, fitted on their validation split."""
    tested = open_tested_run(run, shards, batch_size)
    evaluate_model(tested, Source(shards, "test", batch_size), run.folder)
    return run.metrics()


def evaluate_model(tested: TestedModel, source: Source, out: Path) -> Predictions:
    """Evaluate a model on a split, which is read once, and write the results.

    Args:
        out: the folder for metrics.json, report.txt, predictions.parquet, the score table of the
            clips, the plots and, for the model of a run, the worst mistakes; a run folder also gets
            the training curves and the model card.
    """
    run, classifier = tested.run, tested.classifier
    seed = run.config().options.seed if run else 42
    kept = KeptImages(source.rows, seed, mistakes=classifier is not None)
    masks = source.rows["mask"].null_count < source.rows.num_rows and classifier is not None
    on_masks = MaskScores(classifier, source.batch_size) if masks else None

    def watch(batch: Batch, logits: Floats) -> None:
        kept.add(batch, logits)
        if on_masks and batch.masks:
            on_masks.add(batch.images, batch.masks)

    (predictions,) = predict_each(tested.logits, source, tested.transforms, watch, masks=masks)
    report = split_metrics(source.split, str(source.shards), predictions, tested.point)
    if on_masks:
        report = replace(report, localization=on_masks.localization())
    files = RunFiles(out)
    in_run = run is not None and out == run.folder
    if not in_run:  # a run folder that was removed must not be created again
        out.mkdir(parents=True, exist_ok=True)
    write_table(predictions.table(tested.point.temperature), files.predictions_file)
    write_scores(clip_scores(predictions), files.scores_file)
    others = text.cross_text(files.cross())
    write_text(out / "report.txt", text.report_text(report) + (others and f"\n{others}\n"))
    images = [kept.images[position] for position in kept.samples]
    scores = expit(predictions.logits[kept.samples])
    with atomic_file(out / "samples.png") as partial:
        plots.plot_samples(images, predictions.labels[kept.samples], scores, partial)
    if classifier is not None:
        write_mistakes(files.mistakes, classifier, predictions, kept)
    with atomic_file(out / "confusion.png") as partial:
        plots.plot_confusion(report.image.confusion, partial)
    if in_run and (history := files.history()):
        with atomic_file(out / "curves.png") as partial:
            plots.plot_curves(history, partial, best_epoch(history))
    write_json(files.metrics_file, asdict(report))
    if in_run:
        text.write_card(files)
    return predictions
