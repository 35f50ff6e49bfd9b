"""What a command takes on its line: kinds of values beside click's own, held to their bounds."""

import math
import os
from pathlib import Path
from typing import Any

import click

#: The largest count: that of a column of int32.
MOST = 2**31 - 1
#: The seeds that NumPy, Keras and scikit-learn all take.
SEED = click.IntRange(0, 2**32 - 1)
#: The files a table can be written to.
TABLES = (".csv", ".parquet")


class Number(click.FloatRange):
    """A finite float within bounds; click's own lets "nan" and "inf" through."""

    name = "float range"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class Count(click.IntRange):
    """A whole number from `min` to MOST, of which help tells the lower bound alone."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = int(super().convert(value, param, ctx))
        if found > MOST:
            self.fail(f"expected {MOST} at most, found a number of {len(str(value))} digits.")
        return found


class Text(click.types.StringParamType):
    """Text that tables and JSON can hold too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(super().convert(value, param, ctx))
        if not _is_text(text):
            self.fail(f"expected text in UTF-8, found {text!a}.", param, ctx)
        return text


class Place(click.Path):
    """A path that tables, JSON and terminals can hold too: text, and not empty."""

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
            self.fail("expected a path, found nothing.", param, ctx)
        if "\0" in name or not _is_text(name):
            self.fail(f"expected a path in UTF-8, found {name!a}; rename it.", param, ctx)
        return Path(name)


class TableFile(Place):
    """A file that a table is to be written to, as CSV or parquet."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        path = super().convert(value, param, ctx)
        if path.suffix not in TABLES or path.is_dir():
            self.fail(
                f"expected a file that ends in {' or '.join(TABLES)}, found {os.fspath(value)!a}.",
                param,
                ctx,
            )
        return path


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
