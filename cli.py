"""The command line: options in, one library call, one sentence where it fails. No logic.

Libraries are imported inside the commands, so that `dfdc-prep --help` answers at once.
"""

from pathlib import Path
from typing import Any

import click

from dfdc_prep import __version__
from manifests.console import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """From Deepfake Detection Challenge clips to face crops, manifests and shards.

    \b
    The four commands, run in one working folder:
      dfdc-prep extract              ./dfdc  -> ./faces
      dfdc-prep balance              ./faces -> ./faces/balanced.parquet
      dfdc-prep shard                ./faces -> ./shards
      python -m training.fit shards/         -> ./runs/v1.3
    """


class ShardCount(click.ParamType):
    """A number of train shards, or auto."""

    name = "integer or auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        return None if value == "auto" else click.IntRange(1, 9999).convert(value, param, ctx)


@main.command()
@click.argument("faces", type=click.Path(path_type=Path), default="faces")
@click.argument("shards", type=click.Path(path_type=Path), default="shards")
@click.option("--split", default="56/24/20", show_default=True, help="Train/validation/test.")
@click.option(
    "--group-by",
    default="original",
    show_default=True,
    help="What stays in one split: original (a family), a column, or none (and tell the leak).",
)
@click.option("--seed", default=42, show_default=True, help="Of the split and of the shuffle.")
@click.option(
    "--shards",
    "count",
    type=ShardCount(),
    default="auto",
    show_default=True,
    help="Train shards; auto: 16 or more of 20 to 200 MB where the data allow.",
)
@click.option(
    "--image-format",
    type=click.Choice(["as-is", "jpeg"]),
    default="as-is",
    show_default=True,
    help="Copy the crops, or encode them anew: smaller, and some traces of fakes are lost.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace shards of another manifest or options.")
def shard(
    faces: Path,
    shards: Path,
    split: str,
    group_by: str,
    seed: int,
    count: int | None,
    image_format: str,
    quality: int,
    overwrite: bool,
) -> None:
    """Split the balanced crops of FACES and write them to SHARDS as TFRecords.

    No family stands in two splits. The folder appears when it is whole, and the same
    crops and options give the same bytes. TensorFlow Datasets, Croissant, pandas and
    DuckDB read it without this project.

    \b
    Example:
      dfdc-prep shard
      dfdc-prep shard faces shards-jpeg --image-format jpeg --quality 95
    """
    from dfdc_prep.shards import ShardOptions, write_shards
    from manifests.split import SplitPlan

    plan = SplitPlan.parse(split, group_by, seed)
    options = ShardOptions(plan, count, image_format, quality, overwrite)
    click.echo(write_shards(faces, shards, options).text())


@main.command()
@click.argument("shards", type=click.Path(path_type=Path), default="shards")
@click.pass_context
def verify(ctx: click.Context, shards: Path) -> None:
    """Read SHARDS back whole: checksums, counts, images, labels and families.

    Names the shard, the record and the fault, and ends with exit code 1 where there is one.

    \b
    Example:
      dfdc-prep verify shards
    """
    from dfdc_prep.verify import verify as read_back

    report = read_back(shards)
    click.echo(report.text())
    ctx.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
