"""Options and arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path

import click
from click.core import ParameterSource

from dfdc_prep import options

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def faces_argument(function: Callable[..., None]) -> Callable[..., None]:
    """The argument FACES of the commands that read a faces folder."""
    return click.argument("faces", type=options.FACES, default="faces")(function)


def json_option(function: Callable[..., None]) -> Callable[..., None]:
    """The option --json of the commands that report numbers."""
    return click.option("--json", "as_json", is_flag=True, help="Print the same numbers as JSON.")(
        function
    )


def split_options(seed_help: str) -> Decorator:
    """The options --split, --group-by and --seed."""
    decorators = (
        click.option(
            "--split",
            type=options.SPLIT["split"],
            default="56/24/20",
            help="Train/validation/test, or named as in fit=70/dev=20/test=10.",
        ),
        click.option(
            "--group-by",
            type=options.SPLIT["group_by"],
            default="original",
            help="What stays in one split: original (a family), identity (an estimated person), a "
            "column, or none (reports the leak).",
        ),
        click.option("--seed", type=options.SPLIT["seed"], default=42, help=seed_help),
        click.option(
            "--join-duplicates/--no-join-duplicates",
            default=True,
            help="Put families whose crops are the same or nearly so into one split.",
        ),
    )

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def real_is_option(function: Callable[..., None]) -> Callable[..., None]:
    """The option --real-is of the commands that read labels from elsewhere."""
    return click.option(
        "--real-is",
        type=options.READING["real_is"],
        metavar="[0|1]",
        show_default="0, unless words in the table contradict it",
        help="The number that stands for REAL among the labels of a table.",
    )(function)


def reading_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of the commands that read tables from elsewhere."""
    return click.option(
        "--clips-from",
        type=options.READING["clips_from"],
        metavar="HOW",
        show_default="the column video or videoname, else what the paths show",
        help="Of a table that does not name the clips: folder or name of the images, a column, or "
        "a regular expression with a group (?P<clip>...), searched in the paths.",
    )(real_is_option(function))


def label_by_option(function: Callable[..., None]) -> Callable[..., None]:
    """The option --label-by of the commands that count labels."""
    return click.option(
        "--label-by",
        type=options.LABEL_BY,
        default="clip",
        help="face: a face of a fake that was not changed is REAL.",
    )(function)


class FoldersCommand(click.Command):
    """A command with the arguments [FACES]... [OUT]; a single one is FACES."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        faces = [path for paths in ctx.params["faces"] for path in paths]
        named = ctx.get_parameter_source("out") is ParameterSource.COMMANDLINE
        if not faces and named:
            default = next(each for each in self.params if each.name == "out").get_default(ctx)
            faces, ctx.params["out"] = [ctx.params["out"]], Path(str(default))
        ctx.params["faces"] = tuple(faces) or Path("faces")
        _check_split_options(ctx)
        return rest


def _check_split_options(ctx: click.Context) -> None:
    """Refuse an option that another one would leave without effect."""
    without_effect = []
    if ctx.params["crops"] == "split":
        without_effect = [("--crops split", name) for name in ("split", "group_by", "test_only")]
    elif ctx.params["test_only"]:
        without_effect = [("--test-only", "split")]
    for decisive, name in without_effect:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} has no effect with {decisive}; omit it.", ctx)


def folders_arguments(metavar: str, out: str) -> Decorator:
    """The arguments FACES, one or several, and the folder to write; for `FoldersCommand`."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function = click.argument(
            "out", metavar=f"[{metavar}]", type=options.SHARD["out"], default=out
        )(function)
        return click.argument("faces", metavar="[FACES]...", type=options.SHARD["faces"], nargs=-1)(
            function
        )

    return decorate


def crop_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that choose crops and their splits."""
    for decorator in (
        click.option(
            "--test-only", is_flag=True, help="Put all crops into the split test, for --split."
        ),
        click.option(
            "--crops",
            type=options.SHARD["crops"],
            default="balanced",
            help="Those of balanced.parquet; all of manifest.parquet; or those of split.parquet, "
            "with the splits it gives for --split.",
        ),
        label_by_option,
        split_options(seed_help="Of the split and of the shuffle."),
    ):
        function = decorator(function)
    return function


def shard_file_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of formats that store the crops in shards."""
    for decorator in (
        click.option("--quality", type=options.SHARD["quality"], default=95, help="Of the JPEGs."),
        click.option(
            "--image-format",
            type=options.SHARD["image_format"],
            default="as-is",
            help="Copy the crops, or re-encode them: smaller, but some traces of fakes are lost.",
        ),
        click.option(
            "--shards",
            type=options.SHARD["shards"],
            default="auto",
            help="Train shards; auto: 16 or more of 20 to 200 MB, given enough data.",
        ),
    ):
        function = decorator(function)
    return function
