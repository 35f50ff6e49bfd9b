"""Options and arguments that several commands share."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import click
from click.core import ParameterSource

from dfdc_prep.commands.declaration import Option, flag
from dfdc_prep.commands.param_types import (
    AUTO,
    SEED,
    FacesFolders,
    LocationParam,
    ShardCount,
    TextParam,
)

#: A path, or the URL of a bucket as text: "s3://bucket/faces".
StrPath = str | os.PathLike[str]
#: One folder, or several.
Folders = StrPath | Iterable[StrPath]

Faces = Annotated[
    StrPath,
    Option(
        LocationParam(),
        "A faces folder, or a CSV or parquet table with the columns video (or videoname, or path), "
        "label and, if known, original.",
    ),
]
FacesOut = Annotated[StrPath, Option(LocationParam(writes=True), "The faces folder to write.")]
Out = Annotated[
    StrPath,
    Option(
        LocationParam(writes=True),
        "The folder to write; it appears when it is complete.",
        metavar="[OUT]",
    ),
]
SeveralFaces = Annotated[
    Folders,
    Option(
        FacesFolders(),
        "A faces folder with balanced.parquet, or several, of different data sets.",
        metavar="[FACES]...",
        nargs=-1,
    ),
]
Seed = Annotated[int, Option(SEED, "The same seed gives the same bytes.")]
RealIs = Annotated[
    int | None,
    Option(
        click.IntRange(0, 1),
        "The number that stands for REAL among the labels of a table.",
        metavar="[0|1]",
        none="0, unless words in the table contradict it",
    ),
]
ClipsFrom = Annotated[
    str | None,
    Option(
        TextParam(),
        "How the clips are found in a table that does not name them: folder or name of the images, "
        "a column, or a regular expression with a group (?P<clip>...), searched in the paths.",
        metavar="HOW",
        none="the column video or videoname, else what the paths show",
    ),
]
LabelBy = Annotated[
    str,
    Option(
        click.Choice(["clip", "face"]),
        "face: a face of a fake that was not changed is REAL.",
    ),
]
Split = Annotated[
    str,
    Option(TextParam(), "Train/validation/test, or named as in fit=70/dev=20/test=10."),
]
GroupBy = Annotated[
    str,
    Option(
        TextParam(),
        "What stays in one split: original (a family), identity (an estimated person), a column, "
        "or none (reports the leak).",
    ),
]
JoinDuplicates = Annotated[
    bool,
    flag("Put families whose crops are the same or nearly so into one split."),
]
Crops = Annotated[
    str,
    Option(
        click.Choice(["balanced", "all", "split"]),
        "Those of balanced.parquet; all of manifest.parquet; or those of split.parquet, with the "
        "splits it gives for --split.",
    ),
]
TestOnly = Annotated[bool, flag("Put all crops into the split test, for --split.")]
Shards = Annotated[
    int | str,
    Option(ShardCount(), "Train shards; auto: 16 or more of 20 to 200 MB, given enough data."),
]
ImageFormat = Annotated[
    str,
    Option(
        click.Choice(["as-is", "jpeg"]),
        "Copy the crops, or re-encode them: smaller, but some traces of fakes are lost.",
    ),
]
Quality = Annotated[int, Option(click.IntRange(1, 100), "Quality of the JPEGs.")]
Workers = Annotated[int | None, Option(click.IntRange(1, 1024), "Worker processes.", none="cores")]
OverwriteExport = Annotated[bool, flag("Replace an export of other crops or options.")]


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


def shard_count(shards: Any) -> int | None:
    """The number of train shards that was given; None for auto."""
    return None if shards == AUTO else int(shards)


def as_paths(faces: Folders) -> tuple[Path, ...]:
    """The folders that `FacesFolders` made of one path or several."""
    given = [faces] if isinstance(faces, str | os.PathLike) else faces
    return tuple(Path(folder) for folder in given)
