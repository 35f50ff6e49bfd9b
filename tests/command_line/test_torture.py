"""The short form of `scripts/torture`: every kind of harm a few times, nothing lost."""

import os
import random
from pathlib import Path

import pytest

from tests.torture import (
    buckets,
    clips,
    code,
    disk,
    each,
    foreign,
    kills,
    leaks,
    limits,
    media,
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
    if any(trial.why == "needs strace" for trial in table.skipped):
        message = "needs strace, found none; scripts/debian installs it"
        if os.environ.get("DEBIAN_TESTS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    assert not table.lost, table.text()


@pytest.mark.parametrize(("kind", "count"), [(kills, 4), (disk, 3), (limits, 2)])
def test_kills_bad_disks_and_limits(scene: Scene, kind: object, count: int) -> None:
    held(kind.trials(scene, random.Random(2), count, SHORT))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "count"), [(clips, 60), (media, 60), (foreign, 40), (tables, 60), (source, 8)]
)
def test_mutants(scene: Scene, kind: object, count: int) -> None:
    held(kind.trials(scene, random.Random(2), count))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [names, twice, code, leaks, each, buckets])
def test_what_is_done_once(scene: Scene, kind: object) -> None:
    held(kind.trials(scene, random.Random(2), True))  # type: ignore[attr-defined]


def test_what_strace_sees_is_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "1 socket(AF_UNIX, SOCK_STREAM, 0) = 3\n"
        '1 openat(AT_FDCWD, "/begin-of-hostile-files", O_RDONLY) = -1 ENOENT\n'
        f'1 openat(AT_FDCWD, "{tmp_path}/a.mp4", O_RDONLY) = 3\n'
        f'1 openat(AT_FDCWD, "{tmp_path}/b.mp4", O_WRONLY|O_CREAT) = 3\n'
        '1 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3\n'
        "1 socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP) = 4\n"
        "1 clone3({flags=CLONE_VM|CLONE_THREAD}) = 9\n"
        '1 execve("/usr/bin/gs", ["gs"], 0x7f) = 0\n'
    )
    seen = media.watched(log, tmp_path)
    assert [line.split("(")[0] for line in seen.files] == ["1 openat", "1 openat"]
    assert (len(seen.sockets), len(seen.programs)) == (1, 1)


def test_a_loss_is_named_and_counted() -> None:
    table = Table()
    table.add(Trial("kill extract", "one"))
    table.add(Trial("kill extract", "two", "lost", "manifest.parquet differs"))
    lines = table.text().splitlines()
    assert lines[1].split() == ["kill", "extract", "2", "1", "1", "0", "0", "0"]
    assert "lost: kill extract, two: manifest.parquet differs" in lines
    assert lines[-1] == "2 trials, 1 survived: 1 lost, 0 traceback, 0 hang, 0 outside"
    assert table.lost[0].end != SURVIVED
