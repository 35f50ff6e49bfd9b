"""The types of options and arguments, and those that several commands share.

The types reject values that tables, JSON or the file system cannot hold.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import click
from click.shell_completion import CompletionItem

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


class FloatParam(click.FloatRange):
    """A finite float within bounds; `click.FloatRange` accepts "nan" and "inf"."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class CountParam(click.IntRange):
    """An integer from `min` to MAX_COUNT; the help text shows only the lower bound."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = int(super().convert(value, param, ctx))
        if number > MAX_COUNT:
            self.fail(f"expected at most {MAX_COUNT}, found a number of {len(str(value))} digits.")
        return number


class FramesParam(click.IntRange):
    """A number of frames, or one for each label: real=20,fake=5; also as a mapping."""

    name = "integer"

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
        converted = {label: convert(counts[label], param, ctx) for label in LABELS}
        # click turns 2.5 into 2.
        if any(isinstance(count, float) and count != converted[n] for n, count in counts.items()):
            self.fail(f"expected whole numbers of frames, found {value!a}.", param, ctx)
        return converted


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no ParamType[...]
    """A type whose values a function makes; the message of its ValueError is the usage error."""

    def __init__(self, name: str, parse: Callable[[Any], Any]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(f"{str(error).removesuffix('.')}.", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names of files, where the value is one."""
        return [CompletionItem(incomplete, type="file")] if self.name.startswith("path") else []


def _is_utf8(text: str) -> bool:
    """Whether text contains no surrogate escapes of undecodable bytes."""
    return text.encode(errors="ignore").decode() == text


def _text(value: Any) -> str:
    text = str(value)
    if not _is_utf8(text):
        raise ValueError(f"expected text in UTF-8, found {text!a}")
    return text


def _name_pair(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else list(value)
    pair = tuple(name.strip() for name in names if isinstance(name, str))
    valid = len(names) == len(pair) == 2 and all(pair) and all(map(_is_utf8, pair))
    if not valid or "," in "".join(pair):
        raise ValueError(f"expected two names of clips as in a.mp4,b.mp4, found {value!a}")
    return pair


def _column(value: Any) -> tuple[str, ...]:
    pair = tuple(value.split("=", 1)) if isinstance(value, str) else tuple(value)
    keys = ("clip", "part", "score", "logit", "family", "person")
    if len(pair) != 2 or pair[0] not in keys or not pair[1]:
        raise ValueError(
            f"expected KEY=NAME as in clip=filename, the KEY one of {', '.join(keys)}, found "
            f"{value!a}"
        )
    return pair


def _path(value: Any) -> Path:
    name = os.fspath(value)
    if not name:
        raise ValueError("expected a path, found an empty string")
    if "\0" in name or not _is_utf8(name):
        raise ValueError(f"expected a path in UTF-8, found {name!a}; rename it")
    if is_url(name):
        raise ValueError("expected a path on this machine, found a URL")
    return Path(name)


def _location(value: Any) -> Location:
    text = str(value)
    if not is_url(text):
        return _path(text if isinstance(value, Url) else value)
    if "\0" in text or not _is_utf8(text):
        raise ValueError(f"expected a URL in UTF-8, found {text!a}; rename it")
    return parse_url(text)


def _writable(value: Any) -> Location:
    location = _location(value)
    if isinstance(location, Url) and location.scheme in READ_ONLY:
        raise ValueError(
            f"expected a place that can be written, found {location.scheme}://, which is only "
            "read; write to a folder and upload it"
        )
    return location


def _file(suffixes: tuple[str, ...]) -> Callable[[Any], Location]:
    def parse(value: Any) -> Location:
        path = _writable(value)
        is_folder = isinstance(path, Path) and path.is_dir()
        suffix = path.suffix.lower() if suffixes == PAGE_SUFFIXES else path.suffix
        if suffix not in suffixes or is_folder:
            raise ValueError(
                f"expected a file name ending in {' or '.join(suffixes)}, found {str(value)!a}"
            )
        return path

    return parse


def _shard_count(value: Any) -> int | str:
    if value == AUTO or (str(value).isdecimal() and 1 <= int(value) <= 9999):
        return AUTO if value == AUTO else int(value)
    raise ValueError(f"expected {AUTO} or a number from 1 to 9999, found {value!a}")


#: Text that can be encoded as UTF-8, as tables and JSON require.
TEXT = _Parsed("text", _text)
#: A local path that can be encoded as UTF-8.
PATH = _Parsed("path", _path)
#: Such a path, or the URL of a folder or object in a bucket.
LOCATION = _Parsed("path or url", _location)
#: The same, but no URL that this project only reads.
WRITABLE = _Parsed("path or url", _writable)
#: The path or URL of a file to write.
PAGE_FILE, TABLE_FILE = (
    _Parsed("path or url", _file(suffixes)) for suffixes in (PAGE_SUFFIXES, TABLE_SUFFIXES)
)
#: Two names separated by a comma, or a sequence of them.
NAME_PAIR = _Parsed("A,B", _name_pair)
#: What a column of a table is, and its name.
COLUMN = _Parsed("KEY=NAME", _column)
#: One of N slices, as 3/8.
SLICE = _Parsed("I/N", lambda value: Slice.parse(str(value)))
#: A number of train shards, or auto.
SHARD_COUNT = _Parsed(
    "integer or auto",
    _shard_count,
)
#: Seeds that NumPy, Keras and scikit-learn all accept.
SEED = click.IntRange(0, 2**32 - 1)

#: A path, or the URL of a bucket as text: "s3://bucket/faces".
StrPath = str | os.PathLike[str]
#: One folder, or several.
Folders = StrPath | Iterable[StrPath]

Faces = Annotated[
    StrPath,
    Option(
        LOCATION,
        "A faces folder, or a CSV or parquet table with the columns video (or videoname, or path), "
        "label and, if known, original.",
    ),
]
FacesOut = Annotated[StrPath, Option(WRITABLE, "The faces folder to write.")]
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
        TEXT,
        "How the clips are found in a table that does not name them: folder or name of the images, "
        "a column, or a regular expression with a group (?P<clip>...), searched in the paths.",
        metavar="HOW",
        none="the column video or videoname, else what the paths show",
    ),
]
LabelBy = Annotated[
    str,
    Option(click.Choice(["clip", "face"]), "face: a face of a fake that was not changed is REAL."),
]
Split = Annotated[str, Option(TEXT, "Train/validation/test, or named as in fit=70/dev=20/test=10.")]
GroupBy = Annotated[
    str,
    Option(
        TEXT,
        "What stays in one split: original (a family), identity (an estimated person), a column, "
        "or none (reports the leak).",
    ),
]
JoinDuplicates = Annotated[
    bool, flag("Put families whose crops are the same or nearly so into one split.")
]
Workers = Annotated[int | None, Option(click.IntRange(1, 1024), "Worker processes.", none="cores")]
DetectorModel = Annotated[
    StrPath | None,
    Option(
        PATH,
        "YuNet's weights; also DFDC_PREP_YUNET. Default: the cache, or a download whose hash is "
        "checked.",
    ),
]
CacheGb = Annotated[float, Option(FloatParam(0), "Size of the local cache of SHARDS in a bucket.")]
