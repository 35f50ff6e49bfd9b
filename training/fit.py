"""`dfdc-prep fit SHARDS` or `python -m training.fit SHARDS`: train a recipe, write a run folder.

TensorFlow is imported after the options are parsed, so that --help and usage errors are fast.
"""

from pathlib import Path
from typing import Any

import click

from dfdc_prep.commands.declaration import TrainingCommand
from dfdc_prep.commands.options import (
    SEED,
    CountParam,
    FloatParam,
    LocationParam,
    PathParam,
    TextParam,
)
from dfdc_prep.commands.terminal import echo_parts, report_hint
from dfdc_prep.storage.urls import Location
from training.recipes import AUGMENTATIONS, BACKBONES, PRECISIONS, RECIPES

#: Options that override a value of the recipe.
RECIPE_OPTIONS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "patience",
    "augmentation",
    "backbone",
)


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shards", type=LocationParam())
@click.option(
    "--recipe", type=click.Choice(list(RECIPES)), default="v1.3", show_default=True,
    help="Preset of epochs, batch size, optimizer and augmentation: five of the paper, one ours.",
)  # fmt: skip
@click.option("--epochs", type=CountParam(1), help="Overrides the recipe.")
@click.option("--batch-size", type=CountParam(1), help="Overrides the recipe.")
@click.option("--learning-rate", type=FloatParam(0, min_open=True), help="Overrides the recipe.")
@click.option("--momentum", type=FloatParam(0, 1), help="Overrides the recipe.")
@click.option(
    "--patience", type=CountParam(0), help="Overrides the recipe; 0 disables early stopping."
)
@click.option("--augmentation", type=click.Choice(AUGMENTATIONS), help="Overrides the recipe.")
@click.option("--backbone", type=click.Choice(BACKBONES), help="Overrides the recipe.")
@click.option(
    "--weights", type=TextParam(), default="imagenet", show_default=True,
    help="Initial weights of the backbone: imagenet, none, or a file.",
)  # fmt: skip
@click.option(
    "--steps-per-epoch", type=CountParam(1),
    help="Batches per epoch. [default: one pass over the training split]",
)  # fmt: skip
@click.option("--out", type=LocationParam(writes=True), help="Run folder. [default: runs/RECIPE]")
@click.option("--seed", type=SEED, default=42, show_default=True)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True,
    help="Compute precision; input scaling and output stay float32.",
)  # fmt: skip
@click.option("--require-gpu", is_flag=True, help="Fail if no GPU is found.")
@click.option(
    "--cache", type=click.Choice(["none", "memory", "disk"]), default="none", show_default=True,
    help="Where to keep decoded crops after the first pass: 150 kB each.",
)  # fmt: skip
@click.option(
    "--cache-gb", type=FloatParam(0), default=50, show_default=True,
    help="Size of the local cache of SHARDS in a bucket.",
)  # fmt: skip
@click.option(
    "--profile", type=PathParam(), metavar="DIR",
    help="Write a trace of ten steps, for TensorBoard's profiler.",
)  # fmt: skip
@click.option("--fresh", is_flag=True, help="Delete the run in the run folder and start over.")
def main(shards: Location, recipe: str, out: Location | None, **options: Any) -> None:
    """Train a recipe on a shards folder, evaluate it on the test split, write the run folder.

    After an interruption, the same command resumes from the last intact checkpoint.

    \b
    Example:
      dfdc-prep fit shards/ --recipe v1.3
      dfdc-prep fit s3://bucket/shards --out s3://bucket/runs/v1.3
    """
    from training.runs import experiment

    overrides = {n: value for n in RECIPE_OPTIONS if (value := options.pop(n)) is not None}
    folder = out or Path("runs") / recipe
    fit_options = experiment.FitOptions(shards, recipe, overrides, folder, **options)
    metrics = experiment.fit(fit_options, log=click.echo)

    from training.evaluation import text

    echo_parts(text.report_text(metrics), text.report_parts(metrics))
    click.echo(f"run written to {folder}: model.keras, report.txt, README.md")
    click.echo(report_hint(folder), err=True)


if __name__ == "__main__":
    main()
