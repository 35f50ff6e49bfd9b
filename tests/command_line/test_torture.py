"""The short form of `scripts/torture`: every kind of harm a few times, nothing lost."""

import random
from pathlib import Path

import pytest

from tests.torture import (
    buckets,
    clips,
    code,
    disk,
    each,
    kills,
    leaks,
    limits,
    names,
    source,
    tables,
    twice,
)
from tests.torture.__main__ import SHORT
from tests.torture.scene import Scene
from tests.torture.trial import SURVIVED, Table, Trial

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("torture"))


def held(trials: object) -> None:
    """Go through the trials, and fail with the table where anything was lost."""
    table = Table()
    for trial in trials:  # type: ignore[attr-defined]
        table.add(trial)
    assert not table.lost, table.text()


@pytest.mark.parametrize(("kind", "count"), [(kills, 4), (disk, 3), (limits, 2)])
def test_kills_bad_disks_and_limits(scene: Scene, kind: object, count: int) -> None:
    held(kind.trials(scene, random.Random(2), count, SHORT))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "count"), [(clips, 60), (tables, 60), (source, 8)])
def test_mutants(scene: Scene, kind: object, count: int) -> None:
    held(kind.trials(scene, random.Random(2), count))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [names, twice, code, leaks, each, buckets])
def test_what_is_done_once(scene: Scene, kind: object) -> None:
    held(kind.trials(scene, random.Random(2), True))  # type: ignore[attr-defined]


def test_a_loss_is_named_and_counted() -> None:
    table = Table()
    table.add(Trial("kill extract", "one"))
    table.add(Trial("kill extract", "two", "lost", "manifest.parquet differs"))
    lines = table.text().splitlines()
    assert lines[1].split() == ["kill", "extract", "2", "1", "1", "0", "0", "0"]
    assert "lost: kill extract, two: manifest.parquet differs" in lines
    assert lines[-1] == "2 trials, 1 survived: 1 lost, 0 traceback, 0 hang, 0 outside"
    assert table.lost[0].end != SURVIVED
