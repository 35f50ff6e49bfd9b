"""Click parameter types that reject values which tables, JSON or the file system cannot hold."""

import math
import os
from pathlib import Path
from typing import Any

import click

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
