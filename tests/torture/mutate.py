"""Mutations that keep a file's format: JSON mostly stays JSON, Parquet stays Parquet."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.torture import clips

#: Names that want to be somewhere else, or break a line, a terminal or a file system.
HOSTILE = (
    "../../x.mp4", "/etc/passwd", "C:\\x", "a\0b.mp4", "n" * 300 + ".mp4", "", ".", "..", "~root",
    "a/b.mp4", "-rf", "new\nline.mp4", "\x1b[31mred.mp4", "\u202etfel.mp4", "ünïcödé.mp4",
    "名前.mp4", "con", "a" * 255, "x.mp4\n", " ", "$(reboot).mp4", "😀.mp4",
)  # fmt: skip
_BYTES = (clips.flipped, clips.cut, clips.headless, clips.spliced, clips.stretched)


def any_bytes(data: bytes, draw: random.Random) -> bytes:
    """Mutate bytes without regard to the format, or replace the whole file."""
    choice = draw.randrange(len(_BYTES) + 2)
    if choice == len(_BYTES) or len(data) < 64:
        return draw.choice(
            (b"", b"\0", b"PK\x05\x06", b"PAR1PAR1", b"{}", b"[]", b"\xff\xfe", b"\n")
        )
    if choice == len(_BYTES) + 1:
        return draw.randbytes(draw.randint(1, 10_000))
    return _BYTES[choice](data, draw)


def odd_value(draw: random.Random) -> Any:
    """A value of an unexpected type."""
    return draw.choice(
        (
            None, True, 0, -1, 1.5, 10**30, float("nan"), float("inf"), "", [], {}, [[[]]],
            {"label": "REAL"}, "\ud800", "x" * 10_000, *HOSTILE,
        )
    )  # fmt: skip


def json_text(value: Any, draw: random.Random) -> bytes:
    """Change a value in one to three positions, or its text so that it may not be JSON."""
    choice = draw.randrange(12)
    if choice == 0:
        return b"[" * 200_000
    if choice == 1:
        return b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    if choice == 2:
        return json.dumps({"x" * 10_000_000: value}).encode()
    if choice == 3:
        return json.dumps(value).encode().replace(b"{", b'{"label": 1, "label": 2, ', 1)
    if choice == 4:
        return json.dumps(odd_value(draw)).encode()
    if choice == 5:
        return any_bytes(json.dumps(value, indent=1).encode(), draw)
    if choice == 6:
        return json.dumps(value).encode(draw.choice(("utf-16", "utf-32", "utf-8-sig")))
    for _ in range(draw.randint(1, 3)):
        value = _changed(value, draw)
    return json.dumps(value).encode()


def _changed(value: Any, draw: random.Random, depth: int = 0) -> Any:
    """The value with one position changed."""
    if not value or not isinstance(value, (dict, list)) or (depth and draw.random() < 0.3):
        return odd_value(draw)
    if isinstance(value, list):
        at = draw.randrange(len(value))
        return [*value[:at], _changed(value[at], draw, depth + 1), *value[at + 1 :]]
    key = draw.choice(list(value))
    choice = draw.randrange(5)
    rest = {name: kept for name, kept in value.items() if name != key}
    if choice == 0:
        return rest
    if choice == 1:
        return rest | {draw.choice(HOSTILE): value[key]}
    if choice == 2:
        return value | {"x" * draw.randrange(1_000_000): value[key]}
    return value | {key: _changed(value[key], draw, depth + 1)}


Column = Callable[[pa.ChunkedArray, random.Random], Any]


def _some(make: Callable[[random.Random], Any]) -> Column:
    """A column with some values replaced."""

    def change(column: pa.ChunkedArray, draw: random.Random) -> Any:
        values = column.to_pylist()
        for _ in range(draw.randint(1, 5)):
            values[draw.randrange(len(values))] = make(draw)
        return pa.array(values, column.type)

    return change


def _all(kind: Callable[[int], Any]) -> Column:
    return lambda column, draw: kind(len(column))


COLUMNS: tuple[Column, ...] = (
    _some(lambda draw: None),
    _some(lambda draw: draw.choice(HOSTILE)),
    _some(lambda draw: draw.choice((-1, 2**31 - 1, -(2**31), 0))),
    _some(lambda draw: "x" * 10_000_000),
    _all(lambda rows: pa.nulls(rows)),
    _all(lambda rows: pa.nulls(rows, pa.string())),
    _all(lambda rows: pa.array(range(rows))),
    _all(lambda rows: pa.array([float("nan")] * rows)),
    _all(lambda rows: pa.array([float("inf")] * rows)),
    _all(lambda rows: pa.array([2**62] * rows)),
    _all(lambda rows: pa.array([True] * rows)),
    _all(lambda rows: pa.array([["a"]] * rows)),
    _all(lambda rows: pa.array([{"a": 1}] * rows)),
    _all(lambda rows: pa.array([b"\xff\xfe"] * rows)),
    _all(
        lambda rows: pa.array([b"\xff\xfe"] * rows).view(pa.binary()).cast(pa.string(), safe=False)
    ),
    _all(lambda rows: pa.array(["same"] * rows)),
    _all(lambda rows: pa.array(["same"] * rows).dictionary_encode()),
    _all(lambda rows: pa.array([0] * rows, pa.timestamp("s"))),
    _all(lambda rows: pa.array([str(n) for n in range(rows)], pa.large_string())),
)


def table(whole: pa.Table, draw: random.Random) -> pa.Table:
    """A table with one to three of its columns or its rows changed."""
    for _ in range(draw.randint(1, 3)):
        whole = _table(whole, draw)
    return whole


def _table(whole: pa.Table, draw: random.Random) -> pa.Table:
    names = whole.column_names
    if not names:
        return whole
    at = draw.randrange(len(names))
    choice = draw.randrange(12)
    if choice == 0:
        return whole.remove_column(at)
    if choice == 1:
        return whole.append_column(names[at], whole.column(at))
    if choice == 2:
        return whole.slice(0, draw.choice((0, 1, 2)))
    if choice == 3:
        return pa.concat_tables([whole] * 3)
    if choice == 4:
        order = list(range(whole.num_rows))
        draw.shuffle(order)
        return whole.take(pa.array(order, pa.int64()))
    if not whole.num_rows:
        return whole
    change = draw.choice(COLUMNS)
    try:
        return whole.set_column(at, names[at], change(whole.column(at), draw))
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return whole.remove_column(at)


def parquet(path: Path, draw: random.Random) -> None:
    """Change a parquet file: its rows and columns, or every fourth time its bytes."""
    if draw.random() < 0.25:
        path.write_bytes(any_bytes(path.read_bytes(), draw))
    else:
        pq.write_table(table(pq.read_table(path), draw), path)


def csv_text(text: str, draw: random.Random) -> bytes:
    """A CSV with cells, rows, its header or its encoding changed."""
    lines = [line.split(",") for line in text.splitlines()]
    for _ in range(draw.randint(1, 4)):
        row = draw.choice(lines) if draw.random() < 0.7 else lines[0]
        at = draw.randrange(len(row)) if row else 0
        choice = draw.randrange(7)
        if choice == 0 and row:
            del row[at]
        elif choice == 1:
            row.insert(at, draw.choice(HOSTILE))
        elif choice == 2 and row:
            row[at] = '"'
        elif choice == 3 and row:
            row[at] = draw.choice(("NaN", "1e999", "-1", "\0", "x" * 2_000_000, "0", ",,,", "REAL"))
        elif choice == 4:
            lines.append(list(row))
        elif row:
            row[at] = draw.choice(HOSTILE)
    data = "\n".join(",".join(line) for line in lines).encode("utf-8", "surrogatepass")
    if draw.random() < 0.2:
        return any_bytes(data, draw)
    return data
