"""Writes the model card of a run, README.md: data, recipe, metrics, limits."""

import csv
from typing import Any

from manifests.io.json_files import write_text
from training.evaluation import text_report
from training.recipes import RECIPES
from training.runs.folder import Run

_LIMITS = """\
- The figures hold for crops cut the same way from the same kind of data. Accuracy within one
  data set does not transfer: on other forgeries, cameras and compressions expect much less.
- Splits keep families apart, not actors: DFDC does not tell who is in a clip.
- The score is evidence about pixels, no proof about a person. It is not fit to accuse anyone.
- Blur, small faces, strong compression, very dark or bright scenes and strong poses lower it;
  `python -m training.evaluate RUN --robustness` measures how much.
"""


def write_card(run: Run) -> None:
    """Write README.md from config.json, metrics.json, history.csv and robustness.csv."""
    write_text(run.folder / "README.md", card_text(run))


def card_text(run: Run) -> str:
    """The model card as Markdown."""
    config, metrics = run.config(), run.metrics()
    recipe = config["recipe"]
    return "\n\n".join(
        [
            f"# {recipe['name']}: {recipe['backbone']}, REAL or FAKE",
            "Takes a face crop of 224 x 224, RGB, 0 to 255; gives P(FAKE). Load `model.keras` with "
            "`keras.saving.load_model`, or use `python -m training.predict`.",
            f"## Data\n\n{_data_section(config)}",
            f"## Recipe\n\n{_recipe_section(config, len(run.history()))}",
            f"## Figures\n\nOn the {metrics['split']} split, which no choice was made on:\n\n"
            f"{_metrics_section(metrics, recipe)}",
            *_robustness_section(run),
            f"## Limits\n\n{_LIMITS}",
        ]
    )


def _data_section(config: dict[str, Any]) -> str:
    rows = [
        f"| {split} | {counts['REAL']:,} | {counts['FAKE']:,} |"
        for split, counts in config["data"]["counts"].items()
    ]
    metadata = config["data"]["metadata"]
    grouped = metadata.get("group_by", "unknown")
    lines = [
        "| split | REAL | FAKE |",
        "|---|---|---|",
        *rows,
        "",
        f"Shards of `{config['shards']}`, split by {grouped}, seed {metadata.get('seed')}; "
        f"manifest SHA-256 `{config['data']['manifest']}`.",
    ]
    return "\n".join(lines)


def _recipe_section(config: dict[str, Any], trained: int) -> str:
    recipe, options = config["recipe"], config["options"]
    lines = [
        f"{trained} of {recipe['epochs']} epochs, batch {recipe['batch_size']}, "
        f"SGD({recipe['learning_rate']}, momentum {recipe['momentum']}), "
        f"augmentation {recipe['augmentation']}, weights {options['weights']}, "
        f"{options['precision']}, seed {options['seed']}. Kept is the epoch of the lowest "
        "validation loss. All values are in `config.json`.",
    ]
    if config["differences"]:
        lines += ["", "What differs from the published recipe:", ""]
        lines += [f"- {each}" for each in config["differences"]]
    return "\n".join(lines)


def _metrics_section(metrics: dict[str, Any], recipe: dict[str, Any]) -> str:
    published = RECIPES[recipe["name"]].published
    paper = {"accuracy": published.accuracy, "log_loss": published.loss} if published else {}
    lines = ["| | per image | 95 % | per clip | 95 % | the paper's |", "|---|---|---|---|---|---|"]
    for name, title in (("accuracy", "accuracy"), ("log_loss", "log-loss"), ("auc", "ROC-AUC")):
        cells = [title]
        for level in ("image", "clip"):
            low, high = metrics[level]["interval"][name]
            cells += [text_report.format_value(metrics[level][name])]
            cells += [f"{text_report.format_value(low)} to {text_report.format_value(high)}"]
        cells.append(text_report.format_value(paper[name]) if name in paper else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Intervals: families drawn anew 1,000 times. The paper's figures are from a split in "
            "which families recur, so they are not held to the same test.",
            "",
            f"Temperature {metrics['temperature']:.4f}, fitted on validation: expected calibration "
            f"error {metrics['calibration']['ece']:.4f} before, "
            f"{metrics['calibration']['ece_calibrated']:.4f} after.",
            "",
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
