"""Writes the model card of a run, README.md: data, recipe, metrics, limits."""

import csv

from dfdc_prep.run_files import Recipe, RunConfig, SplitMetrics
from manifests.files import write_text
from manifests.labels import FAKE, REAL
from manifests.wording import counted
from training.evaluation import text_report
from training.runs.folder import Run

_LIMITS = """\
- The results apply to crops cut the same way from the same kind of data. Accuracy within one
  data set does not transfer: expect much less on other forgeries, cameras and compressions.
- Splits by original keep known families apart. A fake that names no original may have relatives in
  another split, and actors recur: `dfdc-prep audit SHARDS` says what is known.
- The score describes pixels. It proves nothing about a person; do not use it to accuse anyone.
- Blur, small faces, strong compression, very dark or bright scenes and extreme poses lower the
  accuracy; `dfdc-prep evaluate RUN --robustness` measures by how much.
"""


def write_card(run: Run) -> None:
    """Write README.md from config.json, metrics.json, history.csv and robustness.csv."""
    write_text(run.folder / "README.md", card_text(run))


def card_text(run: Run) -> str:
    """The model card as Markdown."""
    config, metrics = run.config(), run.metrics()
    recipe = config.recipe
    return "\n\n".join(
        [
            f"# {recipe.name}: {recipe.backbone}, REAL or FAKE",
            "Input: a face crop of 224 x 224 pixels, RGB, 0 to 255. Output: P(FAKE). Load "
            "`model.keras` with `keras.saving.load_model`, or use `dfdc-prep predict`.",
            f"## Data\n\n{_data_section(config)}",
            f"## Recipe\n\n{_recipe_section(config, len(run.history()))}",
            f"## Results\n\nOn the {metrics.split} split, which influenced no choice:\n\n"
            f"{_metrics_section(metrics, recipe)}",
            *_robustness_section(run),
            f"## Limits\n\n{_LIMITS}",
        ]
    )


def _data_section(config: RunConfig) -> str:
    rows = [
        f"| {split} | {counts.get(REAL, 0):,} | {counts.get(FAKE, 0):,} |"
        for split, counts in config.data.counts.items()
    ]
    metadata = config.data.metadata
    grouped = metadata.get("group_by", "unknown")
    lines = [
        "| split | REAL | FAKE |",
        "|---|---|---|",
        *rows,
        "",
        f"Shards in `{config.shards}`, split by {grouped}, seed {metadata.get('seed')}; "
        f"manifest SHA-256 `{config.data.manifest}`.",
    ]
    if grouped in ("none", "given", "unknown"):
        lines += ["", "Nothing kept the families of these splits apart: relatives may be in two."]
    return "\n".join(lines)


def _recipe_section(config: RunConfig, trained: int) -> str:
    recipe, options = config.recipe, config.options
    lines = [
        f"{trained} of {recipe.epochs} epochs, batch size {recipe.batch_size}, "
        f"SGD({recipe.learning_rate}, momentum {recipe.momentum}), "
        f"augmentation {recipe.augmentation}, weights {options.weights}, "
        f"{options.precision}, seed {options.seed}. The model is that of the epoch with the "
        "lowest validation loss. All values are in `config.json`.",
    ]
    if config.differences:
        lines += ["", "Differences from the published recipe:", ""]
        lines += [f"- {each}" for each in config.differences]
    return "\n".join(lines)


def _metrics_section(metrics: SplitMetrics, recipe: Recipe) -> str:
    published, band = recipe.published, metrics.undecided
    paper = {"accuracy": published.accuracy, "log_loss": published.loss} if published else {}
    lines = ["| | per image | 95 % | per clip | 95 % | the paper |", "|---|---|---|---|---|---|"]
    for name, title in (("accuracy", "accuracy"), ("log_loss", "log-loss"), ("auc", "ROC-AUC")):
        cells = [title]
        for level in (metrics.image, metrics.clip):
            cells += [text_report.format_value(getattr(level, name))]
            interval = getattr(level.interval, name)
            cells += [text_report.format_interval(interval, metrics.too_few)]
        cells.append(text_report.format_value(paper[name]) if name in paper else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Tested on {counted(metrics.clips, 'clip')} of "
            f"{counted(metrics.families, 'family')}; intervals are by family. "
            "The paper's results come from a split that shares families between training and test, "
            "so they are not comparable.",
            "",
            f"Temperature {metrics.temperature:.4f}, fitted on validation: expected calibration "
            f"error {metrics.calibration.ece:.4f} before, "
            f"{metrics.calibration.ece_calibrated:.4f} after.",
            "",
            f"Calibrated P(FAKE) from {band.low:.4f} to {band.high:.4f} is undecided: {band.why}.",
            "",
            *(line for remark in metrics.remarks for line in (remark, "")),
            "![curves](curves.png) ![confusion](confusion.png) ![samples](samples.png)",
        ]
    )


def _robustness_section(run: Run) -> list[str]:
    path = run.folder / "robustness.csv"
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["| disturbance | level | accuracy | ROC-AUC |", "|---|---|---|---|"]
    lines += [
        f"| {row['disturbance']} | {row['level']} | {float(row['accuracy']):.4f} | "
        f"{text_report.format_value(float(row['auc']) if row['auc'] else None)} |"
        for row in rows
    ]
    return ["## Robustness\n\n" + "\n".join(lines) + "\n\n![robustness](robustness.png)"]
