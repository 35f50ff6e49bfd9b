"""Writes the model card of a run, README.md: data, recipe, metrics, limits."""

from dfdc_prep.recipe import Recipe
from dfdc_prep.run_files import LIMITS, TITLES, RunConfig, RunFiles, SplitMetrics
from manifests.files import write_text
from manifests.labels import FAKE, REAL
from manifests.wording import counted
from training.evaluation.text import format_value


def write_card(run: RunFiles) -> None:
    """Write README.md from config.json, metrics.json, history.csv and robustness.csv."""
    write_text(run.card_file, card_text(run))


def card_text(run: RunFiles) -> str:
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
            "## Limits\n\n" + "".join(f"- {limit}\n" for limit in LIMITS),
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
        *("| split | REAL | FAKE |", "|---|---|---|", *rows, ""),
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
    for name, title in TITLES.items():
        cells = [title]
        for level in metrics.levels.values():
            cells += [format_value(getattr(level, name))]
            cells += [getattr(level.interval, name).text(metrics.too_few)]
        cells.append(format_value(paper[name]) if name in paper else "")
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


def _robustness_section(run: RunFiles) -> list[str]:
    rows = [
        f"| {row.disturbance} | {row.level} | {row.accuracy:.4f} | {format_value(row.auc)} |"
        for row in run.robustness()
    ]
    if not rows:
        return []
    lines = ["| disturbance | level | accuracy | ROC-AUC |", "|---|---|---|---|", *rows]
    return ["## Robustness\n\n" + "\n".join(lines) + "\n\n![robustness](robustness.png)"]
