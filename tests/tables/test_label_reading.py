"""What the numbers of a foreign table's labels mean, and what contradicts it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from dfdc_prep.catalog.clips import SourceOptions
from dfdc_prep.catalog.reader import read_catalog
from manifests.errors import DfdcPrepError, TableError
from manifests.tables.external import NotedTable, Reading, read_bare_table
from tests.bare_tables import write

UNCONFIRMED = (
    "labels: 0 and false were taken for REAL, 1 and true for FAKE, which nothing in the table "
    "confirms"
)
#: Tables of Kaggle's 140k faces: 1 is real. The words stand in a column, a path, or a name.
INVERTED = {
    "label_str,path": ["{label},{word},x/{n:05}.jpg", "the column label_str"],
    "path": ["{label},train/{word}/{n:05}.jpg", "the path"],
    "path,id": ["{label},Training_{word}/{n:05}.jpg,{n}", "the path"],
    "path,target": ["{label},faces/{word}_{n}.jpg,7", "the path"],
    "video,original": ["{label},{n}.mp4,{original}", "the column original"],
    "class,video": ["{label},{word}s,{n}.mp4", "the column class"],
}


def inverted(folder: Path, columns: str, words: tuple[str, str] = ("fake", "real")) -> Path:
    rows = [
        INVERTED[columns][0].format(
            label=n % 2, word=words[n % 2], n=n, original="z" if words[n % 2] == "fake" else ""
        )
        for n in range(10)
    ]
    return write(folder, "\n".join([f"label,{columns}", *rows]) + "\n")


def labels(table: NotedTable) -> list[str]:
    return table.rows["label"].to_pylist()


@pytest.mark.parametrize("columns", INVERTED)
def test_words_that_contradict_the_numbers_are_an_error(tmp_path: Path, columns: str) -> None:
    path = inverted(tmp_path, columns)
    with pytest.raises(TableError, match=r"--real-is 0 or 1$") as raised:
        read_bare_table(path)
    assert f"found 0 where {INVERTED[columns][1]}" in str(raised.value)
    given = read_bare_table(path, Reading(real_is=1))
    assert labels(given) == ["FAKE", "REAL"] * 5
    assert "labels: 1 is REAL, as given" in given.notes
    assert labels(read_bare_table(path, Reading(real_is=0))) == ["REAL", "FAKE"] * 5


@pytest.mark.parametrize("columns", INVERTED)
def test_words_that_confirm_the_numbers_need_no_note(tmp_path: Path, columns: str) -> None:
    found = read_bare_table(inverted(tmp_path, columns, ("original", "fake")))
    assert labels(found) == ["REAL", "FAKE"] * 5
    assert not any(note.startswith("labels") for note in found.notes)


@pytest.mark.parametrize(
    "rows",
    [
        ["video,label", "a.mp4,0", "b.mp4,1"],
        ["path,label", "deepfakes/a.png,0", "deepfakes/b.png,1"],
        ["path,label", "my_deepfake_data/a.png,0", "my_deepfake_data/b.png,0"],
        ["path,label", "real_and_fake/a.png,0.0", "real_and_fake/b.png,1.0"],
    ],
)
def test_the_meaning_that_nothing_confirms_is_said(tmp_path: Path, rows: list[str]) -> None:
    found = read_bare_table(write(tmp_path, "\n".join(rows) + "\n"))
    assert any(note.startswith(UNCONFIRMED) for note in found.notes)


def test_true_beside_words_may_mean_either(tmp_path: Path) -> None:
    table = write(tmp_path, "video,label\na.mp4,true\nb.mp4,fake\n")
    with pytest.raises(TableError, match="found fake, true: true may mean REAL or FAKE"):
        read_bare_table(table)


def test_the_column_of_clips_leaves_that_of_the_paths_its_name(tmp_path: Path) -> None:
    table = write(tmp_path, "filename,Label,clip\nx/1.png,REAL,a\nx/2.png,FAKE,b\n")
    found = read_bare_table(table, Reading(clips_from="clip"))
    assert found.rows["path"].to_pylist() == ["x/1.png", "x/2.png"]
    assert found.rows["video"].to_pylist() == ["a", "b"]


def test_one_label_alone_can_be_contradicted(tmp_path: Path) -> None:
    table = write(tmp_path, "path,label\nreal/a.png,1\nreal/b.png,1\n")
    with pytest.raises(TableError, match="found 1 where the path says REAL"):
        read_bare_table(table)


def test_a_few_contradictions_are_counted(tmp_path: Path) -> None:
    rows = [f"real/a{n}.png,0\nfake/b{n}.png,1" for n in range(4)]
    table = write(tmp_path, "\n".join(["path,label", *rows, "real/c.png,1"]) + "\n")
    assert "labels: in 1 of 9 rows the path says the opposite" in read_bare_table(table).notes


def test_real_is_needs_numbers(tmp_path: Path) -> None:
    table = write(tmp_path, "video,label\na,REAL\nb,FAKE\n")
    with pytest.raises(TableError, match="found words; leave it out"):
        read_bare_table(table, Reading(real_is=1))
    found = CliRunner().invoke(main, ["summary", str(table), "--real-is", "2"])
    assert found.exit_code == 2


def test_clips_of_a_table_for_extract(tmp_path: Path) -> None:
    for word in ("real", "fake"):
        (tmp_path / word).mkdir()
        (tmp_path / word / "a.mp4").touch()
    table = write(tmp_path, "path,label,label_str\nreal/a.mp4,1,real\nfake/a.mp4,0,fake\n")
    with pytest.raises(DfdcPrepError, match="found 1 where the column label_str says REAL"):
        read_catalog(tmp_path, options=SourceOptions(table=table))
    found = read_catalog(tmp_path, options=SourceOptions(table=table, real_is=1))
    assert {clip.part: clip.label for clip in found.clips} == {"real": "REAL", "fake": "FAKE"}
    assert found.notes == ("labels: 1 is REAL, as given",)
    with pytest.raises(DfdcPrepError, match="only with --table"):
        read_catalog(tmp_path, options=SourceOptions(real_is=1))
