"""Every column of every table with every change, every JSON value with every odd value.

Nothing is random: the trials, some thousands, are the same for every seed.
"""

import json
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfdc_prep.writing.writer import write_sums
from tests.torture import bench, mutate, tables
from tests.torture.bench import End, Job
from tests.torture.scene import CLIPS, Scene
from tests.torture.trial import Trial

#: Path of a value in a document: keys and indices, outermost first.
Place = tuple[str | int, ...]
_GONE = object()
#: What stands there instead; _GONE takes the key away.
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**31, 2**63, 10**30, float("nan"), float("inf"), "", [], {}, [[[]]],
    {"label": "REAL"}, "\ud800", "x" * 10_000, *mutate.HOSTILE, _GONE,
)  # fmt: skip
#: Of lists and of the clips of metadata.json, so many: the others are of the same kind.
_FIRST = 3


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Yield all trials; with --short, every hundredth."""
    jobs = [*_columns(scene), *_values(scene)]
    yield from bench.trials(scene, jobs[:: 100 if short else 1])


def _columns(scene: Scene) -> Iterator[Job]:
    homes = {name: scene.imported / f"{name}.parquet" for name in tables.FACES_TABLES}
    homes |= {"shards": scene.shards / "manifest.parquet", "bare": _bare(scene)}
    for home, path in homes.items():
        for column in pq.read_schema(path).names:
            for change in range(len(mutate.COLUMNS) + 1):
                attempt = partial(_column, home=home, column=column, change=change)
                yield f"each column of {home}", attempt, f"{column} {change}"


def _bare(scene: Scene) -> Path:
    path = scene.root / "bare.parquet"
    pq.write_table(tables.wide((scene.crops / "crops.csv").read_text()), path)
    return path


def _column(
    scene: Scene, folder: Path, draw: random.Random, home: str, column: str, change: int
) -> End:
    """Change one column; drop it if the change does not apply or is None."""
    if home == "bare":
        path = Path(shutil.copy(scene.root / "bare.parquet", folder))
    elif home == "shards":
        path = Path(shutil.copytree(scene.root / "shards", folder / "shards")) / "manifest.parquet"
    else:
        path = tables.linked(scene, folder) / f"{home}.parquet"
    whole = pq.read_table(path)
    at = whole.column_names.index(column)
    try:
        values = mutate.COLUMNS[change](whole.column(at), draw)
        whole = whole.set_column(at, column, values)
    except (IndexError, pa.ArrowException, TypeError, ValueError, OverflowError):
        whole = whole.remove_column(at)
    pq.write_table(whole, path)
    if home == "shards":
        write_sums(path.parent, {})
        end = tables.read_shards(path.parent)
    elif home == "bare":
        end = tables.read_bare(scene, path, folder / "out")
    else:
        end = tables.read_faces(home, path.parent, folder / "out")
    shutil.rmtree(folder)
    return end


def _values(scene: Scene) -> Iterator[Job]:
    entries = json.loads((CLIPS / "metadata.json").read_text())
    documents = {
        "metadata.json": dict(list(entries.items())[:_FIRST]),
        "run.json": json.loads((scene.noted / "run.json").read_text()),
        "journal.jsonl": _first_line(scene.noted / "journal.jsonl"),
    }
    documents |= {
        f"shards/{path.name}": json.loads(path.read_text())
        for path in sorted(scene.shards.glob("*.json"))
        if path.name != "croissant.json"  # nothing of ours reads it
    }
    for home, document in documents.items():
        for place in _places(document):
            for odd in range(len(ODD)):
                if place or ODD[odd] is not _GONE:
                    attempt = partial(_value, home=home, place=place, odd=odd)
                    yield f"each value of {Path(home).name}", attempt, f"{home} {place} {odd}"


def _first_line(path: Path) -> Any:
    return json.loads(path.read_text().splitlines()[0])


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))[:_FIRST]
    for key, under in inner:
        yield from _places(under, (*place, key))


def _put(value: Any, place: Place, odd: Any) -> Any:
    """The document with another value at one position."""
    if not place:
        return odd
    key, *deeper = place
    changed = value.copy()
    if deeper or odd is not _GONE:
        changed[key] = _put(value[key], tuple(deeper), odd)
    else:
        del changed[key]
    return changed


def _value(
    scene: Scene, folder: Path, draw: random.Random, home: str, place: Place, odd: int
) -> End:
    entries = (CLIPS / "metadata.json").read_bytes()
    if home == "metadata.json":
        end = tables.extract(folder, _text(json.loads(entries), place, odd))
    elif home.startswith("shards/"):
        path = Path(shutil.copytree(scene.root / "shards", folder / "shards")) / Path(home).name
        path.write_bytes(_text(json.loads(path.read_text()), place, odd))
        write_sums(path.parent, {})
        end = tables.read_shards(path.parent)
    else:
        path = Path(shutil.copytree(scene.root / "noted", folder / "out")) / home
        first, *others = path.read_bytes().splitlines() if home == "journal.jsonl" else [b""]
        document = json.loads(first or path.read_bytes())
        path.write_bytes(b"\n".join([_text(document, place, odd), *others, b""]))
        end = tables.extract(folder, entries)
    shutil.rmtree(folder)
    return end


def _text(document: Any, place: Place, odd: int) -> bytes:
    return json.dumps(_put(document, place, ODD[odd])).encode()
