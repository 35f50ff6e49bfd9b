"""Slices of a run: several machines, simulated by processes, write one output folder."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.catalog.clips import Family
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.errors import OptionsDiffer, OutputError
from dfdc_prep.extraction.slices import Slice, slice_of
from manifests.files import lock
from tests.extraction.test_run import digest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch, yunet_model: Path) -> None:
    monkeypatch.setenv("DFDC_PREP_YUNET", str(yunet_model))


@pytest.fixture(scope="module")
def part(real_clips: Path) -> Path:
    return real_clips / "dfdc_train_part_1"


@pytest.fixture(scope="module")
def whole(part: Path, yunet_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run that was not divided."""
    out = tmp_path_factory.mktemp("whole") / "faces"
    dfdc_prep.extract(part, out, frames=1, workers=2, detector_model=yunet_model)
    return out


def start(source: Path, out: Path, *words: str) -> "subprocess.Popen[str]":
    """Start `extract` in a process group of its own."""
    command = [sys.executable, "-m", "cli", "extract", str(source), str(out), "--frames", "1"]
    return subprocess.Popen(
        [*command, "--workers", "1", *words],
        cwd=ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_the_slice_of_a_family_is_the_same_everywhere() -> None:
    names = ("aagfhgtpmv.mp4", "004.mp4", "a name.mp4", "ä.mp4")
    assert [slice_of(Family(name, ()), 7).index for name in names] == [2, 5, 7, 1]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "1/3/5", "a/b", "", "１/2"])
def test_a_slice_that_does_not_exist_is_refused(text: str) -> None:
    done = CliRunner().invoke(main, ["extract", "--slice", text])
    assert done.exit_code == 2
    assert "expected a slice from 1/N to N/N" in done.output


def test_every_family_is_in_one_slice(real_clips: Path) -> None:
    families = read_catalog(real_clips).families()
    for count in (1, 2, 5, 100):
        parts = [Slice(index, count) for index in range(1, count + 1)]
        assert all(sum(part.contains(each) for part in parts) == 1 for each in families)


@pytest.mark.slow
def test_slices_at_once_killed_and_run_again_leave_the_same_bytes(
    part: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "faces"
    slices = [start(part, out, "--slice", f"{index}/3") for index in (1, 2, 3)]
    until = time.monotonic() + 60
    while not any((out / "crops").glob("*/*/*")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(slices[0].pid, signal.SIGKILL)
    slices[0].communicate()
    said = [each.communicate()[1] for each in slices[1:]]
    assert not any("error" in text for text in said), said
    for index in (1, 2):  # the killed one, and one that is done
        again = start(part, out, "--slice", f"{index}/3")
        assert "error" not in again.communicate()[1]
    gathered = dfdc_prep.gather(out)
    assert digest(out) == digest(whole)
    assert sorted(os.listdir(out)) == sorted(os.listdir(whole))
    assert gathered.faces == len(list(whole.glob("crops/*/*/*")))


def test_another_number_of_slices_goes_on(part: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "faces"
    dfdc_prep.extract(part, out, frames=1, slice="1/2")
    before = {path: path.stat().st_mtime_ns for path in out.glob("crops/*/*/*")}
    for index in (1, 2, 3):
        dfdc_prep.extract(part, out, frames=1, slice=f"{index}/3")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    dfdc_prep.gather(out)
    assert digest(out) == digest(whole)


def test_gather_names_what_is_missing_and_extract_does_it(
    part: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "faces"
    dfdc_prep.extract(part, out, frames=1, slice="2/2")
    missing = [f.name for f in read_catalog(part).families() if Slice(1, 2).contains(f)]
    message = rf"{len(missing)} missing: slice 1/2 \({len(missing)}: {re.escape(missing[0])}"
    with pytest.raises(OutputError, match=message):
        dfdc_prep.gather(out)
    assert not (out / "manifest.parquet").exists()
    done = dfdc_prep.extract(part, out, frames=1)
    assert f"missing in the slices, done here: slice 1/2 ({len(missing)}: " in str(done)
    assert digest(out) == digest(whole)
    assert sorted(os.listdir(out)) == sorted(os.listdir(whole))


def test_a_slice_with_other_options_or_versions_is_refused(
    part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "faces"
    dfdc_prep.extract(part, out, frames=1, slice="1/9")
    with pytest.raises(OptionsDiffer, match="expected frames 1 as in the other slices"):
        dfdc_prep.extract(part, out, frames=3, slice="2/9")
    with pytest.raises(
        OptionsDiffer, match=r"expected no limit as in the other .*, found limit 1;"
    ):
        dfdc_prep.extract(part, out, frames=1, limit=1, slice="2/9")
    with pytest.raises(OutputError, match="without --overwrite"):
        dfdc_prep.extract(part, out, frames=1, slice="2/9", overwrite=True)
    monkeypatch.setattr("dfdc_prep.extraction.worker.__version__", "9.9")
    with pytest.raises(OptionsDiffer, match=r"expected dfdc-prep .* found dfdc-prep 9\.9"):
        dfdc_prep.extract(part, out, frames=1, slice="2/9")


def test_a_run_waits_for_no_slice_and_no_slice_runs_twice(part: Path, tmp_path: Path) -> None:
    out = tmp_path / "faces"
    dfdc_prep.extract(part, out, frames=1, slice="1/2")
    with lock(out / ".lock", out, shared=True), lock(out / ".lock-1-of-2", out):
        for run in (dfdc_prep.gather, lambda to: dfdc_prep.extract(part, to, frames=1)):
            with pytest.raises(OutputError, match=f"found process {os.getpid()} on"):
                run(out)
        with pytest.raises(OutputError, match=f"found process {os.getpid()} on"):
            dfdc_prep.extract(part, out, frames=1, slice="1/2")
        dfdc_prep.extract(part, out, frames=1, slice="2/2")
    dfdc_prep.gather(out)


def test_gather_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"expected the run\.json"):
        dfdc_prep.gather(tmp_path)
