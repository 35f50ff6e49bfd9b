"""The types of options and arguments, and those that several commands share.

The types reject values that tables, JSON or the file system cannot hold.
"""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import click
from click.core import ParameterSource

from dfdc_prep.commands.declaration import Option, flag
from dfdc_prep.extraction.slices import Slice
from dfdc_prep.storage.urls import (
    PAGE_SUFFIXES,
    READ_ONLY,
    TABLE_SUFFIXES,
    Location,
    Url,
    is_url,
    parse_url,
)
from manifests.labels import LABELS

#: The value of options that choose by themselves.
AUTO = "auto"
#: Largest count: the largest int32, the type of the tables' integer columns.
MAX_COUNT = 2**31 - 1
#: Range of seeds that NumPy, Keras and scikit-learn all accept.
SEED = click.IntRange(0, 2**32 - 1)


class FloatParam(click.FloatRange):
    """A finite float within bounds; `click.FloatRange` accepts "nan" and "inf"."""

    name = "float range"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class CountParam(click.IntRange):
    """An integer from `min` to MAX_COUNT; the help text shows only the lower bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = int(super().convert(value, param, ctx))
        if number > MAX_COUNT:
            self.fail(f"expected at most {MAX_COUNT}, found a number of {len(str(value))} digits.")
        return number


class FramesParam(click.IntRange):
    """A number of frames, or one for each label: real=20,fake=5; also as a mapping."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "=" in value:
            given = [word.partition("=")[::2] for word in value.split(",")]
        elif isinstance(value, Mapping):
            given = list(value.items())
        else:
            return super().convert(value, param, ctx)
        counts: dict[str, Any] = {str(name).strip().upper(): count for name, count in given}
        if len(given) != 2 or counts.keys() != set(LABELS):
            self.fail(f"expected real=20,fake=5 or one number, found {value!a}.", param, ctx)
        convert = super().convert
        return {label: convert(counts[label], param, ctx) for label in LABELS}


class TextParam(click.types.StringParamType):
    """Text that can be encoded as UTF-8, as tables and JSON require."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(super().convert(value, param, ctx))
        if not _is_utf8(text):
            self.fail(f"expected text in UTF-8, found {text!a}.", param, ctx)
        return text


class NamePairParam(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no ParamType[...]
    """Two different names separated by a comma; also several such pairs in a sequence."""

    name = "A,B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, str):
            names = tuple(name.strip() for name in value.split(","))
        else:
            names = tuple(value)
            if not all(isinstance(name, str) for name in names) or any("," in n for n in names):
                return tuple(self.convert(pair, param, ctx) for pair in names)
            if not names:
                return ()
        if len(names) != 2 or not all(names) or not all(map(_is_utf8, names)):
            self.fail(
                f"expected two names of clips as in a.mp4,b.mp4, found {value!a}.", param, ctx
            )
        return names


class PathParam(click.Path):
    """A non-empty local path that can be encoded as UTF-8, as tables and JSON require."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        name = os.fspath(value)
        if not name:
            self.fail("expected a path, found an empty string.", param, ctx)
        if "\0" in name or not _is_utf8(name):
            self.fail(f"expected a path in UTF-8, found {name!a}; rename it.", param, ctx)
        if is_url(name):
            self.fail("expected a path on this machine, found a URL.", param, ctx)
        return Path(name)


class LocationParam(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no ParamType[...]
    """A path as for `PathParam`, or the URL of a folder or object in a bucket.

    Args:
        writes: refuse URLs that this project only reads.
    """

    name = "path or url"

    def __init__(self, writes: bool = False) -> None:
        self._writes = writes

    def convert(
        self,
        value: "str | os.PathLike[str] | Location",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Location:
        text = str(value)
        if not is_url(text):
            return PathParam().convert(text if isinstance(value, Url) else value, param, ctx)
        if "\0" in text or not _is_utf8(text):
            self.fail(f"expected a URL in UTF-8, found {text!a}; rename it.", param, ctx)
        try:
            url = parse_url(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._writes and url.scheme in READ_ONLY:
            self.fail(
                f"expected a place that can be written, found {url.scheme}://, which is only read; "
                "write to a folder and upload it.",
                param,
                ctx,
            )
        return url


class PageFileParam(LocationParam):
    """The path or URL of an HTML file to write."""

    def __init__(self) -> None:
        super().__init__(writes=True)

    def convert(
        self,
        value: "str | os.PathLike[str] | Location",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Location:
        path = super().convert(value, param, ctx)
        if path.suffix.lower() not in PAGE_SUFFIXES:
            self.fail(f"expected a file name that ends in .html, found {str(path)!r}.", param, ctx)
        return path


class TableFileParam(LocationParam):
    """The path or URL of a CSV or parquet file to write."""

    def __init__(self) -> None:
        super().__init__(writes=True)

    def convert(
        self,
        value: "str | os.PathLike[str] | Location",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Location:
        path = super().convert(value, param, ctx)
        is_folder = isinstance(path, Path) and path.is_dir()
        if path.suffix not in TABLE_SUFFIXES or is_folder:
            self.fail(
                f"expected a file name ending in {' or '.join(TABLE_SUFFIXES)}, "
                f"found {str(value)!a}.",
                param,
                ctx,
            )
        return path


class ShardCount(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no ParamType[int]
    """A number of train shards, or auto."""

    name = "integer or auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if value == AUTO:
            return AUTO
        return int(click.IntRange(1, 9999).convert(value, param, ctx))


class FacesFolders(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no ParamType[...]
    """One faces folder or several, as a tuple of paths or URLs."""

    name = "path or paths"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Location, ...]:
        given = [value] if isinstance(value, str | os.PathLike | Url) else list(value)
        if not given:
            self.fail("expected a faces folder, found none.", param, ctx)
        return tuple(LocationParam().convert(each, param, ctx) for each in given)


class SliceParam(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no ParamType[Slice]
    """One of N slices, as 3/8."""

    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Slice:
        if isinstance(value, Slice):
            return value
        try:
            return Slice.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def _is_utf8(text: str) -> bool:
    """Return whether text contains no surrogate escapes of undecodable bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
