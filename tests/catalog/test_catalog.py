import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfdc_prep.catalog.clips import Entry, Provenance, SourceOptions, find_families, resolve_entries
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.errors import SourceError


def part(root: Path, name: str, entries: object, files: tuple[str, ...] = ()) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    text = entries if isinstance(entries, str) else json.dumps(entries)
    (folder / "metadata.json").write_text(text, "utf-8")
    for file in files:
        (folder / file).write_bytes(b"x")


@pytest.mark.parametrize("original", ["absent", None, "none"])
def test_every_notation_of_a_missing_original_is_accepted(
    tmp_path: Path, original: str | None
) -> None:
    fields = {"label": "REAL"} | ({} if original == "absent" else {"original": original})
    part(tmp_path, "p", {"a.mp4": fields}, ("a.mp4",))
    (clip,) = read_catalog(tmp_path).clips
    assert (clip.label, clip.original, clip.family, clip.size) == ("REAL", None, "a.mp4", 1)


def test_real_parts(real_clips: Path) -> None:
    catalog = read_catalog(real_clips)
    families = {f.name: [c.video for c in f.clips] for f in catalog.families()}
    assert len(catalog.clips) == 14
    assert len(families) == 10
    assert families["vcqdmzirff.mp4"] == ["cksjhegwyq.mp4", "djrfxolqxm.mp4"]
    assert families["519.mp4"] == ["519.mp4", "519_515.mp4"]


def test_real_tables_of_two_parts_and_of_the_sample(shared: Path, tmp_path: Path) -> None:
    for name in ("dfdc_train_part_0", "dfdc_train_part_1", "train_sample_videos"):
        text = (shared / "data" / "metadata" / f"{name}.json").read_text()
        part(tmp_path, name, text)
    catalog = read_catalog(tmp_path)
    stated = sum(len(json.loads(p.read_text())) for p in tmp_path.glob("*/metadata.json"))
    assert len(catalog.clips) == stated
    assert all(clip.size is None for clip in catalog.clips)
    assert sum(len(family.clips) for family in catalog.families()) == stated


def test_clips_missing_from_the_metadata_are_reported(tmp_path: Path) -> None:
    part(tmp_path, "p", {"a.mp4": {"label": "REAL"}}, ("a.mp4", "b.mp4", "readme.txt"))
    assert read_catalog(tmp_path).unnamed == ("p/b.mp4",)


def test_a_single_part_is_a_valid_source(tmp_path: Path) -> None:
    part(tmp_path, "p", {"a.mp4": {"label": "REAL"}})
    assert [clip.part for clip in read_catalog(tmp_path / "p").clips] == ["p"]


def test_two_clips_with_one_stem_get_two_folders(tmp_path: Path) -> None:
    part(tmp_path, "p", {"a.mp4": {"label": "REAL"}, "a.avi": {"label": "REAL"}})
    assert [clip.folder for clip in read_catalog(tmp_path).clips] == ["a.avi", "a.mp4"]


def test_a_limit_keeps_families_whole(real_clips: Path) -> None:
    clips = read_catalog(real_clips, limit=5).clips
    assert [clip.video for clip in clips][-2:] == ["cksjhegwyq.mp4", "djrfxolqxm.mp4"]


@pytest.mark.parametrize(
    "name",
    ["../../x.mp4", "/etc/passwd", "C:\\x", "a/b.mp4", "a\0.mp4", "n" * 300, "..", "", "a\nb.mp4"],
)
def test_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    part(tmp_path, "p", {name: {"label": "REAL"}})
    with pytest.raises(SourceError, match="expected plain file names"):
        read_catalog(tmp_path)
    other = tmp_path / "other"
    part(other, "q", {"a.mp4": {"label": "FAKE", "original": name or "../x"}})
    with pytest.raises(SourceError, match="expected plain file names"):
        read_catalog(other)
    both = {name: {"label": "REAL"}, "b.mp4": {"label": "REAL"}}
    part(tmp_path / "third", "r", {**both, "a.mp4": {"label": "FAKE", "original": name or "../x"}})
    catalog = read_catalog(tmp_path / "third")
    assert [clip.video for clip in catalog.clips] == ["b.mp4"]
    assert set(catalog.refused) == {f"r/{name}", "r/a.mp4"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[1]", "expected a DFDC tree"),
        ('{"a.mp4": {"label": "MAYBE"}}', "expected a label REAL or FAKE"),
        ('{"a.mp4": "REAL"}', "expected a label REAL or FAKE"),
        ('{"a.mp4": {"label": "FAKE", "original": 7}}', "expected a file name as original"),
        ('{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE"}}', "every name once"),
        ("[" * 100_000, "nesting that is too deep"),
        ("{}", "found no metadata.json with a clip"),
    ],
)
def test_invalid_metadata_is_reported_as_an_error_message(
    tmp_path: Path, text: str, message: str
) -> None:
    part(tmp_path, "p", text)
    with pytest.raises(SourceError, match=message):
        read_catalog(tmp_path)


def test_the_error_for_a_folder_without_parts_describes_a_dfdc_tree(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"dfdc_train_part_0.*metadata\.json"):
        read_catalog(tmp_path, options=SourceOptions("dfdc"))


def test_no_two_clips_share_a_folder(tmp_path: Path) -> None:
    names = ("a", "a.mp4", "a.avi", "a.mp4.mov", "b.mp4", "c.mp4", "c.mp4.mov")
    part(tmp_path, "p", {name: {"label": "REAL"} for name in names})
    folders = {clip.video: clip.folder for clip in read_catalog(tmp_path).clips}
    assert len(set(folders.values())) == len(names)
    assert (folders["b.mp4"], folders["a.avi"]) == ("b", "a.avi")


def test_part_names_with_control_characters_are_refused(tmp_path: Path) -> None:
    part(tmp_path, "part\nof\x1b[31m", {"a.mp4": {"label": "REAL"}})
    with pytest.raises(SourceError, match="rename the folder"):
        read_catalog(tmp_path)


@settings(deadline=None)  # the first example imports pyarrow
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, *"abcdefgh"])), max_size=6
    )
)
def test_the_fast_path_yields_the_same_families_as_the_general_one(
    rows: list[tuple[str, str | None]],
) -> None:
    entries = [
        Entry("p", video, "FAKE" if original else "REAL", original, "", None, Provenance())
        for video, original in rows
    ]
    assert find_families(entries) == resolve_entries(entries)
