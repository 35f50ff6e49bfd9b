"""URLs on the command line and in the API: what is one, and what is refused with a sentence."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.storage import urls
from dfdc_prep.storage.urls import Url, as_location, parse_url
from training.evaluate import main as evaluate
from training.fit import main as fit
from training.predict import main as predict

COMMANDS = (
    (main, ["extract", "{}", "faces"]),
    (main, ["extract", "dfdc", "{}"]),
    (main, ["import", "{}", "t.csv"]),
    (main, ["identify", "{}"]),
    (main, ["summary", "{}"]),
    (main, ["balance", "{}"]),
    (main, ["balance", "faces", "--out", "{}/t.csv"]),
    (main, ["split", "{}"]),
    (main, ["shard", "{}"]),
    (main, ["shard", "faces", "{}"]),
    (main, ["audit", "{}"]),
    (main, ["verify", "{}"]),
    (main, ["report", "{}"]),
    (fit, ["{}"]),
    (fit, ["shards", "--out", "{}"]),
    (evaluate, ["{}"]),
    (predict, ["{}", "clip.mp4"]),
)


@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_an_extra_that_is_not_installed_is_named(
    command: object, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(urls, "find_spec", lambda name: None)
    given = [word.format("s3://bucket/folder") for word in words]
    done = CliRunner().invoke(command, given)  # type: ignore[arg-type]
    assert done.exit_code == 2
    assert "pip install 'dfdc-prep[s3]'" in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [["sample", "s3://b/x"], ["extract", "--detector-model", "s3://b/x"]]
)
def test_a_path_of_this_machine_is_no_url(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "expected a path on this machine, found a URL" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "s3://user:hidden@bucket/x",
        "s3://bucket/x?X-Amz-Signature=hidden",
        "s3://bucket/x#hidden",
        "ftp://user:hidden@host/x",
        "s3://",
        "s3://bucket//x",
        "s3://bucket/../x",
    ],
)
def test_a_url_that_is_refused_is_not_repeated(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        dfdc_prep.extract(text, tmp_path / "faces")
    assert "hidden" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_path_object_of_a_url_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found s3:/ with one slash.* as text"):
        dfdc_prep.verify(Path("s3://bucket/shards"))


def test_paths_stay_paths() -> None:
    for text in ("faces", "/a/b", "./s3:/x", "c:/x", "a:b"):
        assert as_location(text) == Path(text)
    assert as_location("S3://Bucket/a/") == Url("s3://Bucket/a")
    assert parse_url("s3://bucket").name == "bucket"
