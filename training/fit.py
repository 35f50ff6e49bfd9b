"""`dfdc-prep fit SHARDS` or `python -m training.fit SHARDS`: train a recipe, write a run folder.

TensorFlow is imported after the options are parsed, so that --help and usage errors are fast.
"""

from pathlib import Path
from typing import Annotated

import click

from dfdc_prep.commands.declaration import Option, TrainingCommand, command, command_of
from dfdc_prep.commands.options import (
    LOCATION,
    PATH,
    SEED,
    TEXT,
    WRITABLE,
    CacheGb,
    CountParam,
    FloatParam,
    StrPath,
)
from dfdc_prep.commands.terminal import echo_parts, report_hint
from dfdc_prep.storage.urls import as_location
from training.recipes import AUGMENTATIONS, BACKBONES, PRECISIONS, RECIPES

_OVERRIDES = "Overrides the recipe."


@command(cls=TrainingCommand)
def fit(
    shards: Annotated[StrPath, LOCATION],
    *,
    recipe: Annotated[str, click.Choice(list(RECIPES))] = "v1.3",
    epochs: Annotated[int | None, CountParam(1)] = None,
    batch_size: Annotated[int | None, CountParam(1)] = None,
    learning_rate: Annotated[float | None, FloatParam(0, min_open=True)] = None,
    momentum: Annotated[float | None, FloatParam(0, 1)] = None,
    patience: Annotated[int | None, CountParam(0)] = None,
    augmentation: Annotated[str | None, click.Choice(AUGMENTATIONS)] = None,
    backbone: Annotated[str | None, click.Choice(BACKBONES)] = None,
    weights: Annotated[str, TEXT] = "imagenet",
    steps_per_epoch: Annotated[int | None, CountParam(1)] = None,
    out: Annotated[StrPath | None, WRITABLE] = None,
    seed: Annotated[int, SEED] = 42,
    precision: Annotated[str, click.Choice(PRECISIONS)] = "float32",
    require_gpu: bool = False,
    cache: Annotated[str, click.Choice(["none", "memory", "disk"])] = "none",
    cache_gb: CacheGb = 50,
    profile: Annotated[StrPath | None, Option(PATH, metavar="DIR")] = None,
    fresh: bool = False,
) -> None:
    """Train a recipe on a shards folder, evaluate it on the test split, write the run folder.

    After an interruption, the same command resumes from the last intact checkpoint.

    \b
    Example:
      dfdc-prep fit shards/ --recipe v1.3
      dfdc-prep fit s3://bucket/shards --out s3://bucket/runs/v1.3

    Args:
        shards: A shards folder.
        recipe: Preset of epochs, batch size, optimizer, augmentation: five of the paper, one ours.
        epochs: Overrides the recipe.
        batch_size: Overrides the recipe.
        learning_rate: Overrides the recipe.
        momentum: Overrides the recipe.
        patience: Overrides the recipe; 0 disables early stopping.
        augmentation: Overrides the recipe.
        backbone: Overrides the recipe.
        weights: Initial weights of the backbone: imagenet, none, or a file.
        steps_per_epoch: Batches per epoch. None: one pass over the training split.
        out: Run folder. None: runs/RECIPE.
        precision: Compute precision; input scaling and output stay float32.
        require_gpu: Fail if no GPU is found.
        cache: Where to keep decoded crops after the first pass: 150 kB each.
        profile: Write a trace of ten steps, for TensorBoard's profiler.
        fresh: Delete the run in the run folder and start over.

    Raises:
        TrainingError: shards, weights, device or run folder cannot be used, or training fails.
    """
    from training.runs import experiment

    replaced = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "patience": patience,
        "augmentation": augmentation,
        "backbone": backbone,
    }
    folder = as_location(Path("runs") / recipe if out is None else out)
    options = experiment.FitOptions(
        as_location(shards),
        recipe,
        {name: value for name, value in replaced.items() if value is not None},
        folder,
        weights,
        steps_per_epoch,
        seed,
        precision,
        require_gpu,
        fresh,
        None if profile is None else Path(profile),
        cache,
        cache_gb,
    )
    metrics = experiment.fit(options, log=click.echo)

    from training.evaluation import text

    echo_parts(text.report_text(metrics), text.report_parts(metrics))
    click.echo(f"run written to {folder}: model.keras, report.txt, README.md")
    click.echo(report_hint(folder), err=True)


main = command_of(fit)

if __name__ == "__main__":
    main()
