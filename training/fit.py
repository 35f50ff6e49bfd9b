"""`python -m training.fit SHARDS`: train a recipe, test it, leave a run folder.

Nothing heavy is imported before the options are read.
"""

from pathlib import Path
from typing import Any

import click

from manifests.cli.error_handling import TrainingCommand
from manifests.cli.param_types import SEED, CountParam, FloatParam, PathParam, TextParam
from training.recipes import AUGMENTATIONS, BACKBONES, PRECISIONS, RECIPES

#: The options that stand in for a value of the recipe.
OVERRIDES = (
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "patience",
    "augmentation",
    "backbone",
)


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shards", type=PathParam())
@click.option(
    "--recipe", type=click.Choice(list(RECIPES)), default="v1.3", show_default=True,
    help="Epochs, batch, optimizer, augmentation; the paper's five and one of ours.",
)  # fmt: skip
@click.option("--epochs", type=CountParam(1), help="In place of the recipe's.")
@click.option("--batch-size", type=CountParam(1), help="In place of the recipe's.")
@click.option(
    "--learning-rate", type=FloatParam(0, min_open=True), help="In place of the recipe's."
)
@click.option("--momentum", type=FloatParam(0, 1), help="In place of the recipe's.")
@click.option("--patience", type=CountParam(0), help="In place of the recipe's; 0 never stops.")
@click.option("--augmentation", type=click.Choice(AUGMENTATIONS), help="In place of the recipe's.")
@click.option("--backbone", type=click.Choice(BACKBONES), help="In place of the recipe's.")
@click.option(
    "--weights", type=TextParam(), default="imagenet", show_default=True,
    help="Where the backbone starts: imagenet, none, or a file.",
)  # fmt: skip
@click.option(
    "--steps-per-epoch", type=CountParam(1),
    help="Batches an epoch, in place of one pass over the training split.",
)  # fmt: skip
@click.option("--out", type=PathParam(), help="Run folder. [default: runs/RECIPE]")
@click.option("--seed", type=SEED, default=42, show_default=True)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True,
    help="Input scale and output stay float32.",
)  # fmt: skip
@click.option("--require-gpu", is_flag=True, help="Stop where there is no GPU.")
@click.option("--fresh", is_flag=True, help="Start over where the run folder holds another run.")
def main(shards: Path, recipe: str, out: Path | None, **options: Any) -> None:
    """Train a recipe on a shards folder, test it on the test split, write the run folder.

    Killed at any moment, the same command goes on from the last good epoch.

    \b
    Example:
      python -m training.fit shards/ --recipe v1.3
    """
    from training.runs import experiment

    given = {name: value for name in OVERRIDES if (value := options.pop(name)) is not None}
    wanted = experiment.Session(shards, recipe, given, out or Path("runs") / recipe, **options)
    click.echo(experiment.fit(wanted, say=click.echo))


if __name__ == "__main__":
    main()
