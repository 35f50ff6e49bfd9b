"""Types of the commands' options, shared by the command line and the Python API.

Importing this module must stay cheap, because `dfdc-prep --help` waits for it. Choices whose
constants live in modules that import NumPy or PyArrow are repeated here; a test compares them.
"""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import click

from dfdc_prep.commands.param_types import (
    SEED,
    CountParam,
    FloatParam,
    LocationParam,
    NamePairParam,
    PageFileParam,
    PathParam,
    TableFileParam,
    TextParam,
)
from dfdc_prep.extraction.slices import Slice
from dfdc_prep.parallel.engine import ENGINES
from dfdc_prep.storage.urls import Location, Url
from dfdc_prep.video.timeline import SAMPLINGS

P = ParamSpec("P")
R = TypeVar("R")

#: Types of the options of one function, by the name of the parameter.
Types = Mapping[str, "click.ParamType[Any]"]

AUTO = "auto"
#: The layouts of `catalog.reader`.
LAYOUTS = ("dfdc", "dfdc-flat", "dfdc-preview", "faceforensics", "celeb-df", "table")


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
        return tuple(FACES.convert(each, param, ctx) for each in given)


#: The argument FACES of several commands.
FACES = LocationParam()
#: The same of the commands that take several folders.
FACES_FOLDERS = FacesFolders()


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


#: How to read a table from elsewhere; `manifests.tables.external.Reading`.
READING: Types = {"clips_from": TextParam(), "real_is": click.IntRange(0, 1)}
EXTRACT: Types = {
    "source": LocationParam(),
    "out": LocationParam(writes=True),
    "layout": click.Choice([AUTO, *LAYOUTS]),
    "dataset": TextParam(),
    "compression": click.Choice(["raw", "c23", "c40"]),
    "table": PathParam(),
    "real_is": READING["real_is"],
    "preset": click.Choice(["paper", "deepfakebench", "selimsef"]),
    "frames": click.IntRange(1, 10_000),
    "sampling": click.Choice(SAMPLINGS),
    "detector": click.Choice([AUTO, "yunet", "hog", "cnn", "hog+cnn"]),
    "detector_model": PathParam(),
    "faces": click.Choice(["largest", "all"]),
    "align": click.Choice(["none", "eyes", "five-point"]),
    "margin": FloatParam(0, 4),
    "size": click.IntRange(16, 4096),
    "format": click.Choice(["png", "jpg"]),
    "share_boxes": click.BOOL,
    "compare": click.BOOL,
    "masks": click.BOOL,
    "workers": click.IntRange(1, 1024),
    "timeout": FloatParam(1),
    "limit": CountParam(1),
    "slice": SliceParam(),
    "engine": click.Choice(ENGINES),
    "address": TextParam(),
    "insecure_cluster": click.BOOL,
    "retry_failed": click.BOOL,
    "overwrite": click.BOOL,
}
GATHER: Types = {"out": LocationParam(writes=True), "source": LocationParam()}
IMPORT: Types = {
    "crops_dir": LocationParam(),
    "metadata_csv": LocationParam(),
    "out": LocationParam(writes=True),
    **READING,
    "overwrite": click.BOOL,
}
#: Pairs of clips, "A,B".
PAIR = NamePairParam()
SUMMARY: Types = {"faces": FACES, **READING}
IDENTIFY: Types = {
    "faces": FACES,
    "threshold": FloatParam(0.1, 1),
    "same": PAIR,
    "different": PAIR,
    "pairs": LocationParam(),
    "workers": click.IntRange(1, 1024),
    "forget": click.BOOL,
}
LABEL_BY: "click.ParamType[Any]" = click.Choice(["clip", "face"])
BALANCE: Types = {
    "faces": FACES,
    "per_class": CountParam(1),
    "strategy": click.Choice(["random", "spread", "pairs"]),
    "seed": SEED,
    "frames_per_clip": CountParam(1),
    "label_by": LABEL_BY,
    **READING,
    "out": TableFileParam(),
}
SPLIT: Types = {
    "faces": FACES,
    "split": TextParam(),
    "group_by": TextParam(),
    "seed": SEED,
    "join_duplicates": click.BOOL,
    "label_by": LABEL_BY,
    "official": click.BOOL,
    **READING,
    "out": TableFileParam(),
}
#: Options of the commands that put the crops of faces folders into splits.
CROPS: Types = {
    "faces": FACES_FOLDERS,
    "out": LocationParam(writes=True),
    "split": SPLIT["split"],
    "group_by": SPLIT["group_by"],
    "seed": SEED,
    "join_duplicates": click.BOOL,
    "label_by": LABEL_BY,
    "crops": click.Choice(["balanced", "all", "split"]),
    "test_only": click.BOOL,
}
SHARD: Types = {
    **CROPS,
    "shards": ShardCount(),
    "image_format": click.Choice(["as-is", "jpeg"]),
    "quality": click.IntRange(1, 100),
    "overwrite": click.BOOL,
}
EXPORT_SHARDS = SHARD
EXPORT_DEEPFAKEBENCH: Types = {
    **CROPS,
    "name": TextParam(),
    "crops_per_clip": CountParam(1),
    "overwrite": click.BOOL,
}
AUDIT: Types = {"path": LocationParam(), "identities": LocationParam(), **READING}
VERIFY: Types = {"shards": LocationParam()}
REPORT: Types = {"path": LocationParam(), "out": PageFileParam()}


def checked(types: Types) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check and convert the arguments of a function as its command does.

    The decorated function raises ValueError with the command's message where a value is not
    allowed. None is passed on where it is the parameter's default.

    Args:
        types: the type of each parameter.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = signature(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = parameters.bind(*args, **kwargs)
            for name, value in given.arguments.items():
                if value is None and parameters.parameters[name].default is None:
                    continue
                given.arguments[name] = _converted(name, value, types[name])
            return function(*given.args, **given.kwargs)

        return call

    return decorate


def _converted(name: str, value: Any, kind: "click.ParamType[Any]") -> Any:
    try:
        converted = kind.convert(value, None, None)
    except click.BadParameter as error:
        raise ValueError(f"{name}: {error.message}") from None
    except TypeError:
        raise ValueError(_mistyped(name, value, kind)) from None
    # click turns 2.5 into the integer 2, and 5 into the text "5".
    if isinstance(value, int | float) and converted != value:
        raise ValueError(_mistyped(name, value, kind))
    return converted


def _mistyped(name: str, value: Any, kind: "click.ParamType[Any]") -> str:
    return f"{name}: expected {kind.name}, found {value!r} of type {type(value).__name__}"
