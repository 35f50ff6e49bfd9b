"""Recipes that were damaged or made to do harm: one line of error each, and nothing written."""

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

from cli import main
from dfdc_prep.recipe.file import write_recipe
from manifests.arrow import RECIPE_SCHEMA
from tests.recipe import rows

#: Mutants of each kind; python -m tests.recipe.test_hostile makes 1,000 of each.
FEW, MANY = 60, 1000
_NAMES = ["..", "../x", "/etc/passwd", "a/b", "a\\b", "", "a\0b", "a\n\x1b[2J", "C:x", "x" * 300]
_NUMBERS = [-1, 0, 10**9, -(10**9), 2**31 - 1, float("nan"), float("inf"), -(2**31), 10_001]
_BYTES = [b"", b"x" * 31, b"x" * 32, None]
_OTHERS: list[Any] = [None, True, [], {}, "text", 1.5, 10**9, "\x1b[2J", ["../x"], {"../x": "y"}]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The file with bytes flipped, cut off, doubled or put in."""
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 3, 30])):
        at = rng.randrange(max(1, len(content) - 1))
        kind = rng.randrange(5)
        if kind < 2:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del content[at + 1 : at + rng.randrange(2, 200)]
        elif kind == 3:
            content[at:at] = rng.randbytes(rng.randrange(1, 50))
        else:
            content = content[: max(2, at)]
    # Half of them signed again, so that parquet's own reader sees the damage.
    return signed(bytes(content)) if rng.random() < 0.5 else bytes(content)


def signed(data: bytes) -> bytes:
    """The file with the hash that it has, where it has a place for one."""
    blank = re.sub(rb"(dfdc_prep\.sha256..)[0-9a-f]{64}", rb"\g<1>" + b"0" * 64, data, flags=re.S)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return re.sub(rb"(dfdc_prep\.sha256..)0{64}", rb"\g<1>" + digest, blank, flags=re.S)


def hostile(path: Path, rng: random.Random) -> None:
    """Write a recipe with its right hash, and with values or a header that none has."""
    table, header = rows.small(), json.loads(json.dumps(rows.HEADER))
    kind = rng.randrange(6)
    if kind < 3:  # a value, in one row or in all of a clip
        name = rng.choice(RECIPE_SCHEMA.names)
        field = RECIPE_SCHEMA.field(name).type
        of = _NAMES if field == pa.string() else _BYTES if "binary" in str(field) else _NUMBERS
        found, value = table.to_pylist(), rng.choice(of)
        if pa.types.is_list(field):
            value = [value] * rng.choice([1, 10, 11])
        for row in found[: rng.choice([1, 2, len(found)])]:
            row[name] = value
        columns = [[row[each] for row in found] for each in table.column_names]
        try:
            table = pa.table(
                [pa.array(c, f.type) for c, f in zip(columns, table.schema, strict=True)],
                RECIPE_SCHEMA,
            )
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            written(
                path,
                table.set_column(table.column_names.index(name), name, pa.array([str(value)] * 6)),
                header,
            )
            return
    elif kind == 3:  # rows twice, in another order, or other columns
        change: Callable[[pa.Table], pa.Table] = rng.choice(
            [
                lambda t: pa.concat_tables([t, t]),
                lambda t: t.take([5, 4, 3, 2, 1, 0]),
                lambda t: t.drop_columns([rng.choice(t.column_names)]),
                lambda t: t.append_column("more", pa.array([1] * 6)),
                lambda t: t.slice(0, 0),
                lambda t: t.set_column(0, "part", pa.array(list(range(6)))),
                lambda t: t.set_column(20, t.column_names[20], pa.array([["x"]] * 6)),
            ]
        )
        written(path, change(table), header)
        return
    else:  # the header
        place = header["crops"] if kind == 4 else header
        name = rng.choice([*place, "more"])
        if rng.random() < 0.2:
            place.pop(name, None)
        elif isinstance(place.get(name), dict) and rng.random() < 0.5:
            place[name] = {
                **place[name],
                rng.choice(["..", "x", "manifest.parquet"]): rng.choice(_OTHERS),
            }
        else:
            place[name] = rng.choice(_OTHERS)
        if rng.random() < 0.05:
            written(path, table, header, "[" * 100_000)
            return
    written(path, table, header)


def written(path: Path, table: pa.Table, header: Any, text: str | None = None) -> None:
    """Write a recipe of any columns and header, in the order of the rows, with its right hash."""
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(
            {"dfdc_prep.recipe": text or json.dumps(header), "dfdc_prep.sha256": "0" * 64}
        )
    path.write_bytes(signed(path.read_bytes()))


def mutants(folder: Path, count: int) -> Iterator[Path]:
    """Yield so many damaged and as many hostile recipes."""
    path = folder / "a.recipe"
    write_recipe(path, rows.HEADER, rows.small())
    whole = path.read_bytes()
    for number in range(count):
        path.write_bytes(damaged(whole, random.Random(number)))
        yield path
    for number in range(count):
        hostile(path, random.Random(number))
        yield path


def check(folder: Path, count: int) -> tuple[int, int]:
    """Show and rebuild each mutant; return how many were refused, and how many were read."""
    refused = read = 0
    (folder / "source").mkdir()
    for path in mutants(folder, count):
        done = CliRunner().invoke(main, ["recipe", str(path), "--show"])
        if done.exit_code == 0:  # a value that another recipe may have
            read += 1
            continue
        refused += 1
        words = ["rebuild", path, folder / "source", folder / "faces"]
        for each in (done, CliRunner().invoke(main, [str(word) for word in words])):
            # `rebuild` says first that it reads the recipe.
            lines = [line for line in each.stderr.splitlines() if line[:8] != "reading "]
            assert each.exit_code == 1, (path, each.output, each.exception)
            assert len(lines) == 1, lines
            assert lines[0].startswith("error: expected "), lines
            assert "; " in lines[0]
            assert lines[0].isprintable()
            assert len(lines[0]) < 1000
        assert sorted(each.name for each in folder.iterdir()) == ["a.recipe", "source"]
    return refused, read


def test_hostile_recipes_are_refused_in_one_line(tmp_path: Path) -> None:
    refused, read = check(tmp_path, FEW)
    assert refused > 1.5 * FEW
    assert refused + read == 2 * FEW


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    table = rows.table([rows.crop(rows.clip("aaa.mp4"), 0)] * 3)
    text = pa.array(["x" * 50_000_000] * 3)
    written(tmp_path / "a.recipe", table.set_column(1, "video", text), rows.HEADER)
    assert (tmp_path / "a.recipe").stat().st_size < 100_000
    done = CliRunner().invoke(main, ["recipe", str(tmp_path / "a.recipe"), "--show"])
    assert done.exit_code == 1
    assert "a valid video" in done.stderr


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        print(*check(Path(scratch), MANY))  # noqa: T201
