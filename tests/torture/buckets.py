"""Kill runs from and to a bucket, answer them badly, and compare their bytes with a disk's.

The bucket is an S3 server on 127.0.0.1 that the trials start and end.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from tests.storage.server import S3Server, running_server
from tests.storage.test_extract import on_disk, sums
from tests.torture import kills
from tests.torture.command import MAIN, Done, ended, run, started, tail
from tests.torture.folders import difference
from tests.torture.scene import DETECTOR, Scene
from tests.torture.trial import Trial

End = tuple[str, str]
#: How many trials of each kind, in full and in short.
_KILLS, _SHARD_KILLS, _FAULTS, _READ_ONLY = (25, 3), (10, 1), (10, 1), (6, 1)
_BUCKET = "torture"


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Yield kills, bad answers, buckets that turn read-only, and two runs on one folder."""
    at = int(short)
    with running_server() as s3:
        os.environ.update(s3.environment)
        s3.upload(scene.source, _BUCKET, "dfdc")
        s3.upload(scene.imported, _BUCKET, "imported")
        harm = _Harm(scene, s3, draw)
        for number in range(_KILLS[at]):
            yield Trial("bucket, kill extract", *harm.kill_extract(number))
        for number in range(_SHARD_KILLS[at]):
            yield Trial("bucket, kill shard", *harm.kill_shard(number))
        for number in range(_FAULTS[at]):
            yield Trial("bucket, bad answers", *harm.bad_answers(number))
        for number in range(_READ_ONLY[at]):
            yield Trial("bucket, read-only", *harm.read_only(number))
        yield Trial("bucket, twice", *harm.twice())


class _Harm:
    """The trials, and what undisturbed runs leave on a disk."""

    def __init__(self, scene: Scene, s3: S3Server, draw: random.Random) -> None:
        self._scene, self._s3, self._draw = scene, s3, draw
        folder = scene.place("bucket")
        out, shards = folder / "faces", folder / "shards"
        done = run(self._extract(str(scene.source), str(out)), folder)
        assert done.code == 0, done.err
        self._faces = sums(on_disk(out))
        done = run(self._shard(str(scene.imported), str(shards)), folder)
        assert done.code == 0, done.err
        self._shards = {name: str(hash(data)) for name, data in on_disk(shards).items()}
        self._folder = folder

    def kill_extract(self, number: int) -> tuple[str, str, str]:
        words = self._extract(f"s3://{_BUCKET}/dfdc", f"s3://{_BUCKET}/kill{number}")
        name, fault = self._kill(words, number, 6.0)
        return name, *(fault or self._compare_faces(f"kill{number}"))

    def kill_shard(self, number: int) -> tuple[str, str, str]:
        words = self._shard(f"s3://{_BUCKET}/imported", f"s3://{_BUCKET}/shards{number}")
        name, fault = self._kill(words, number, 5.0)
        return name, *(fault or self._compare_shards(f"shards{number}"))

    def bad_answers(self, number: int) -> tuple[str, str, str]:
        """One request in twenty is answered badly; the same command goes on until it is done."""
        out = f"faults{number}"
        self._s3.faults(f"share=0.05&seed={number}")
        tries = 0
        while tries < 5:
            tries += 1
            done = run(self._extract(f"s3://{_BUCKET}/dfdc", f"s3://{_BUCKET}/{out}"), self._folder)
            if fault := done.fault((0, 1)):
                return out, *fault
            if done.code == 0:
                break
        self._s3.faults()
        return f"seed {number}, {tries} tries", *self._compare_faces(out)

    def read_only(self, number: int) -> tuple[str, str, str]:
        out, writes = f"read{number}", self._draw.randrange(1, 25)
        words = self._extract(f"s3://{_BUCKET}/dfdc", f"s3://{_BUCKET}/{out}")
        self._s3.faults(f"readonly={writes}")
        done = run(words, self._folder)
        self._s3.faults()
        name = f"after {writes} writes"
        if fault := done.fault((0, 1)):
            return name, *fault
        again = run(words, self._folder)
        if fault := again.fault((0,)):
            return name, fault[0], f"run again: {fault[1]}"
        return name, *self._compare_faces(out)

    def twice(self) -> tuple[str, str, str]:
        """The second run is refused while the first, which stands still, holds the lease."""
        words = self._extract(f"s3://{_BUCKET}/dfdc", f"s3://{_BUCKET}/twice")
        with started(words, self._folder) as first:
            while first.poll() is None and not self._s3.files(_BUCKET, "twice/.lease"):
                time.sleep(0.02)
            os.killpg(first.pid, signal.SIGSTOP)
            second = run(words, self._folder)
            os.killpg(first.pid, signal.SIGCONT)
            done = ended(first)
        if fault := done.fault((0,)) or second.fault((1,)):
            return "extract", *fault
        if f"process {first.pid}" not in second.err:
            return "extract", "lost", f"does not name the first: {second.err!a}"
        return "extract", *self._compare_faces("twice")

    def _kill(self, words: tuple[str, ...], number: int, most: float) -> tuple[str, End | None]:
        """Kill a command at a random moment, and run it again."""
        (how,) = self._draw.choices(list(kills.HOWS), list(kills.HOWS.values()))
        moment = self._draw.uniform(0.25, most)
        name = f"{how} at {moment:.2f} s, trial {number}"
        with started(words, self._folder) as process:
            with suppress(psutil.Error, ProcessLookupError, FileNotFoundError):
                kills._wait(process.pid, moment, at_work=how in ("term", "int"))
                kills._strike(process.pid, how, self._draw)
            done = ended(process)
        judged = Done(done.code, "", "") if how in ("tree", "parent") else done
        if fault := judged.fault(kills._ends(how)):
            return name, fault
        again = run(words, self._folder)
        if fault := again.fault((0,)):
            return name, (fault[0], f"run again: {fault[1]}, after {tail(done.err)}")
        return name, None

    def _compare_faces(self, out: str) -> End:
        files = self._s3.files(_BUCKET, out)
        if odd := difference(sums(files), self._faces):
            return "lost", odd
        left = [name for name in files if name.startswith(".lease")]
        return ("lost", f"left {left[0]}") if left else ("survived", "")

    def _compare_shards(self, out: str) -> End:
        files = self._s3.files(_BUCKET, out)
        found = {name: str(hash(data)) for name, data in files.items()}
        odd = difference(found, self._shards)
        return ("lost", odd) if odd else ("survived", "")

    def _extract(self, source: str, out: str) -> tuple[str, ...]:
        return (*MAIN, "extract", source, out, "--frames", "3", *DETECTOR, "--workers", "2")

    def _shard(self, faces: str, out: str) -> tuple[str, ...]:
        return (*MAIN, "shard", faces, out, "--shards", "4")
