"""The lease: one holder, taken over when it is gone."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dfdc_prep.storage import place as leases
from dfdc_prep.storage.place import Holder, Place, lease
from dfdc_prep.storage.urls import Url
from dfdc_prep.storage.workspace import Mirror
from manifests.errors import OutputError, StorageError


def put_holder(place: Place, **changed: object) -> None:
    holder = {
        "token": "t",
        "process": 1,
        "host": "elsewhere",
        "machine": "m",
        "renewed": time.time(),
    }
    place.put({".lease/000001.json": json.dumps({**holder, **changed}).encode()})


def test_one_of_many_gets_it(place: Place) -> None:
    ends: list[str] = []
    all_tried = threading.Barrier(4, timeout=30)

    def attempt() -> None:
        try:
            with lease(place):
                ends.append("held")
                all_tried.wait()
        except OutputError:
            ends.append("refused")
            all_tried.wait()

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["held", "refused", "refused", "refused"]
    assert not place.list(".lease")


def test_a_live_holder_elsewhere_is_named(place: Place) -> None:
    put_holder(place)
    with pytest.raises(OutputError, match="found process 1 on elsewhere"), lease(place):
        pass


def test_an_old_lease_is_taken_over(place: Place) -> None:
    put_holder(place, renewed=time.time() - 1000)
    with lease(place) as held:
        assert held.is_exclusive
        assert ".lease/000002.json" in place.list(".lease")
    assert not place.list(".lease")


def test_a_dead_process_of_this_machine_is_taken_over(place: Place) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    put_holder(place, process=ended.pid, machine=leases._machine())
    with lease(place) as held:
        held.check()


def test_a_lease_that_was_taken_over_is_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEWED_EVERY", 0.02)
    with lease(place) as held:
        place.put({".lease/000002.json": b"{}"})
        assert held._lost.wait(10)
        with pytest.raises(OutputError, match="another one took over"):
            held.check()


def test_it_is_renewed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEWED_EVERY", 0.02)
    with lease(place):
        first = Holder(**json.loads(place.read(".lease/000001.json")))
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if Holder(**json.loads(place.read(".lease/000001.json"))).renewed > first.renewed:
                return
            time.sleep(0.01)
    pytest.fail("not renewed")


def test_a_store_without_conditions_is_noticed(place: Place) -> None:
    class Unconditional(Place):
        def put_if_absent(self, name: str, data: bytes) -> bool:
            self.put({name: data})
            return True

    with lease(Unconditional(place.url)) as held:
        assert not held.is_exclusive


def test_a_lease_whose_place_fails_is_given_up(place: Place) -> None:
    class Failing(Place):
        def put_if_absent(self, name: str, data: bytes) -> bool:
            if not super().put_if_absent(name, data):
                raise StorageError("gone")
            return True

    with pytest.raises(StorageError, match="gone"), lease(Failing(place.url)):
        pass
    with lease(place) as held:
        assert held.is_exclusive


def test_machines_that_are_unknown_are_not_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_machine", lambda: "")
    put_holder(place, machine="", process=2**22 + 1)
    with pytest.raises(OutputError, match="found process"), lease(place):
        pass


def test_a_mirror_puts_the_last_file_last(tmp_path: Path, bucket: str) -> None:
    mirror = Mirror(Url(f"s3://{bucket}/x"), tmp_path)
    order: list[str] = []
    (tmp_path / "SUMS").write_text("1")
    (tmp_path / "z").write_text("2")

    class Watched:
        def put_file(self, name: str, source: Path) -> None:
            order.append(name)

        def remove(self, names: list[str]) -> None:
            order.extend(f"-{name}" for name in names)

    mirror.place = Watched()  # type: ignore[assignment]
    mirror.push(last=("SUMS",))
    (tmp_path / "z").write_text("other")
    (tmp_path / "SUMS").write_text("other")
    mirror.push(last=("SUMS",))
    assert order == ["z", "SUMS", "-SUMS", "z", "SUMS"]
