"""What a run tells before, without and after its work."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.detectors import registry
from dfdc_prep.errors import ModelError, OptionsDiffer, OutputError
from dfdc_prep.extraction.clip import ClipResult
from dfdc_prep.extraction.plan import (
    Work,
    about_disk,
    about_source,
    about_work,
    extrapolate,
    sample,
)
from dfdc_prep.extraction.run import RunOptions, dry_run, extract, prepare
from dfdc_prep.extraction.summary import RunSummary
from manifests.schemas import ClipRow, make_row
from tests.crop_sets import crop_options

TWO = RunOptions(2, limit=2)


def family(name: str, *sizes: int | None) -> Family:
    """A REAL clip and its fakes."""
    clips = [
        Clip("p", f"{name}{n}.mp4", "FAKE" if n else "REAL", None, name, f"{name}{n}", "", size)
        for n, size in enumerate(sizes)
    ]
    return Family(name, tuple(clips))


def work(*families: Family, finished: Mapping[str, list[ClipRow]] | None = None) -> Work:
    return Work({each.name: each for each in families}, finished or {})


def row(video: str, status: str, error: str | None = None) -> ClipRow:
    """A row of the clip log."""
    known = {"part": "p", "video": video, "label": "REAL", "original": None, "faces": 0}
    known |= {"family": video, "family_source": None, "status": status, "error": error}
    names = ClipRow.__annotations__
    return make_row(ClipRow, {**dict.fromkeys(names), **known})


def files(folder: Path) -> dict[Path, tuple[int, str]]:
    """Every file below a folder, its time and its hash."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of YuNet, and nobody who has them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(registry.PATH_VARIABLE, raising=False)
    monkeypatch.setenv(registry.URL_VARIABLE, "http://127.0.0.1:9/unused-port")


def test_a_dry_run_tells_what_a_run_does_and_writes_nothing(
    real_clips: Path, tmp_path: Path, yunet_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = real_clips / "dfdc_train_part_1", tmp_path / "faces"
    how = source, out, crop_options(frames=2), TWO, "yunet", yunet_model
    rows = dict(dry_run(prepare(*how)).rows)
    assert not out.exists()
    assert rows["clips"] == "1 REAL, 1 FAKE, of 1 family"
    assert rows["to do"] == f"2 clips; into {out}"
    assert rows["detector"] == f"yunet, weights {yunet_model.resolve()}"
    assert rows["workers"] == "2, each decodes in 1 thread"
    assert rows["disk"].startswith("about 0.")
    assert rows["time"].endswith(" s, from 2 clips done so")
    assert capsys.readouterr().err == "timing 2 clips\n"

    extract(prepare(*how))
    told = capsys.readouterr().err.splitlines()
    assert len(told) <= 8
    assert [line.split("  ")[0] for line in told if not line.startswith(("disk", "time"))] == [
        name for name in rows if name not in ("disk", "time")
    ]
    before = files(out)
    rows = dict(dry_run(prepare(*how)).rows)
    assert rows["to do"] == f"0 clips; 2 done before; into {out}"
    assert "time" not in rows
    assert files(out) == before


def test_a_dry_run_refuses_what_a_run_would(
    real_clips: Path, tmp_path: Path, yunet_model: Path
) -> None:
    source, out = real_clips / "dfdc_train_part_1", tmp_path / "faces"
    out.mkdir()
    (out / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"found thesis\.txt"):
        dry_run(prepare(source, out, crop_options(frames=1), TWO, "yunet", yunet_model))
    (out / "thesis.txt").unlink()
    extract(prepare(source, out, crop_options(frames=1), TWO, "yunet", yunet_model))
    with pytest.raises(OptionsDiffer, match=r"frames 2.*frames 1"):
        dry_run(prepare(source, out, crop_options(frames=2), TWO, "yunet", yunet_model))
    again = replace(TWO, overwrite=True)
    rows = dry_run(prepare(source, out, crop_options(frames=2), again, "yunet", yunet_model)).rows
    assert dict(rows)["to do"] == f"2 clips; into {out}"
    assert (out / "manifest.parquet").exists()


def test_families_are_timed_across_the_source() -> None:
    families = [family(f"f{n}", 1, 1, 1) for n in range(9)]
    assert [each.name for each in sample(work(*families))] == ["f1", "f4", "f7"]
    assert [len(each.clips) for each in sample(work(*reversed(families)))] == [2, 2, 2]
    two = work(family("a", None, 1), family("b", 1), family("c", None))
    assert [[clip.video for clip in each.clips] for each in sample(two)] == [["a1.mp4"], ["b0.mp4"]]


def test_clips_that_take_boxes_have_a_mean_of_their_own() -> None:
    families = [family(f"f{n}", 1, 1, 1, 1) for n in range(10)]
    first, other = (ClipResult("ok", seconds=seconds) for seconds in (4.0, 1.0))
    found = extrapolate([[(first, 300), (other, 100)], [(first, 500)]], work(*families), 2)
    assert (found.timed, found.seconds, found.size) == (3, (10 * 4 + 30 * 1) / 2, 10 * 400 + 3000)
    alone = extrapolate([[(ClipResult("unreadable"), 0)]], work(family("a", 1)), 2)
    assert [text for _, text in alone.rows()] == [
        "about 0.0 s, from 1 clip done so, 1 of which failed"
    ]


def test_what_is_skipped_is_told_with_its_reason(tmp_path: Path) -> None:
    some = work(
        family("a", 1, None), family("b", 1, 1),
        finished={"b": [row("b0.mp4", "ok"), row("b1.mp4", "truncated")]},
    )  # fmt: skip
    ((_, told),) = about_work(tmp_path, some, retried=False)
    assert told.startswith(
        "1 clip; 1 not on disk: a1.mp4; 2 done before, of which 1 failed: --retry"
    )
    ((_, told),) = about_work(tmp_path, some, retried=True)
    assert "--retry" not in told


def test_a_run_tells_some_of_many_notes_and_a_dry_run_all(tmp_path: Path, real_clips: Path) -> None:
    catalog = replace(read_catalog(real_clips), notes=tuple("abcde"))
    some = work(*catalog.families())
    lines = [text for name, text in about_source(real_clips, catalog, some, False) if not name]
    assert lines == ["a", "b", "c", "and 2 more: --dry-run names them"]
    lines = [text for name, text in about_source(real_clips, catalog, some, True) if not name]
    assert lines == [*"abcde"]


def test_crops_that_may_not_fit_are_told(tmp_path: Path) -> None:
    enough, too_many = work(family("a", 1)), work(family("a", *[1] * 10_000))
    options = crop_options(frames=1, size=256)
    ((_, told),) = about_disk(tmp_path / "no" / "faces", enough, options)
    assert told.startswith("at most 0.2 MB of crops; ")
    ((_, told),) = about_disk(tmp_path, too_many, replace(options, frames=10_000, size=4096))
    assert told.endswith(" free: it may not suffice")


@pytest.mark.usefixtures("no_weights")
def test_missing_weights_are_told_before_the_work(real_clips: Path, tmp_path: Path) -> None:
    words = [
        "extract",
        str(real_clips / "dfdc_train_part_1"),
        str(tmp_path / "faces"),
        "--limit",
        "1",
    ]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    names = [line.split("  ")[0].strip() for line in lines]
    assert names[0].startswith("reading ")
    assert names[1].startswith("downloading YuNet's weights from ")
    assert names[2:6] == ["YuNet's weights", "download", "SHA-256", "give the file by"]
    assert registry.SHA256 in lines[4]
    assert names.index("YuNet's weights") < names.index("source")
    assert f"detector {registry.FALLBACK}" in done.stderr
    run = (tmp_path / "faces" / "run.json").read_text()
    assert f'"detector": "{registry.FALLBACK}"' in run


@pytest.mark.usefixtures("no_weights")
def test_a_run_that_goes_on_keeps_its_detector_and_says_so(
    real_clips: Path, tmp_path: Path, yunet_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = real_clips / "dfdc_train_part_1", tmp_path / "faces"
    extract(prepare(source, out, crop_options(frames=1), TWO, "yunet", yunet_model))
    capsys.readouterr()
    extract(prepare(source, out, crop_options(frames=1), TWO, detector_model=yunet_model))
    said = f"yunet, weights {yunet_model.resolve()}, with which {out} was begun"
    assert said in capsys.readouterr().err
    with pytest.raises(ModelError) as raised:
        extract(prepare(source, out, crop_options(frames=1), TWO))
    told = str(raised.value)
    assert told.startswith(f"expected the detector yunet, with which {out} was begun, found ")
    assert registry.SHA256 in told
    assert "--overwrite" in told
    assert "\n" not in told


def test_the_first_failures_are_told_by_name_with_their_reasons(tmp_path: Path) -> None:
    summary = RunSummary(tmp_path, [])
    summary.add_earlier([[row("a.mp4", "ok")]])
    summary.add(row(f"c{n}.mp4", "unreadable", f"why {n}") for n in reversed(range(7)))
    summary.add([row("b\n.mp4", "truncated", "ends early"), row("gone.mp4", "missing", "no file")])
    summary.seconds = 120.0
    lines = summary.text().splitlines()[3:]
    assert [" ".join(line.split()) for line in lines[:6]] == [
        "failed, 3 more not shown status reason",
        r"'p/b\n.mp4' truncated ends early",
        *(f"p/c{n}.mp4 unreadable why {n}" for n in range(4)),
    ]
    assert lines[6:8] == [
        "not on disk, 1 of 10 clips: gone.mp4",
        "9 clips in 2.0 min, 0.07 a second; 1 done before",
    ]


@pytest.mark.parametrize(
    ("statuses", "detector", "said"),
    [
        (["no_face", "no_face"], "yunet", "in 2 clips; look at the clips and their statuses, and"),
        (["no_face", "missing"], registry.FALLBACK, "found in 1 clip; look at the clips and their"),
        (["unreadable", "missing"], "yunet", "2 clips failed; see their reasons"),
    ],
)
def test_advice_without_crops_is_of_what_was_not_done(
    tmp_path: Path, statuses: list[str], detector: str, said: str
) -> None:
    summary = RunSummary(tmp_path, [], (), detector)
    summary.add(row(f"{n}.mp4", status) for n, status in enumerate(statuses))
    told = summary.conclusion()
    assert said in told
    assert ("no face" in told) == ("no_face" in statuses)
    other = "no_face" in statuses and detector != registry.FALLBACK
    assert (f"--detector {registry.FALLBACK} --overwrite" in told) == other


def test_the_next_command_has_the_users_paths(
    real_clips: Path, tmp_path: Path, yunet_model: Path
) -> None:
    out = tmp_path / "my faces"
    words = ["extract", str(real_clips / "dfdc_train_part_1"), str(out), "--limit", "2"]
    words += ["--detector-model", str(yunet_model)]
    done = CliRunner().invoke(cli.main, words)
    assert done.stderr.splitlines()[-1] == f"next: dfdc-prep balance '{out}'"
    done = CliRunner().invoke(cli.main, [*words, "--dry-run"])
    assert done.stderr.splitlines()[-1].startswith("dry run: nothing was written")
    assert os.listdir(tmp_path) == ["my faces"]
