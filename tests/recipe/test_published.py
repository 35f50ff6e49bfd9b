"""Recipes of boxes that others published."""

import json
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.recipe.file import read_recipe

CSV = """video,frame,x1,y1,x2,y2,label,original
aaa.mp4,0,10,20,110.6,220,REAL,
aaa.mp4,30,12,20,112,220,REAL,
bbb.mp4,0,300,20,400,220,1,aaa.mp4
bbb.mp4,0,10,20,110,220,1,aaa.mp4
"""


def made(tmp_path: Path, boxes: Path, **options: object) -> list[dict[str, object]]:
    dfdc_prep.make_recipe(boxes, tmp_path / "a.recipe", **options)  # type: ignore[arg-type]
    recipe = read_recipe(tmp_path / "a.recipe")
    assert recipe.header["kind"] == "boxes"
    assert all(row["sha256"] is None for row in recipe.table.to_pylist())
    return recipe.table.to_pylist()


def test_a_table_names_clips_frames_and_boxes(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(CSV)
    rows = made(tmp_path, tmp_path / "boxes.csv", margin=0.15, size=256)
    names = ("part", "video", "label", "family", "frame", "face", "x", "w", "h")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("clips", "aaa.mp4", "REAL", "aaa.mp4", 0, 0, 10, 100, 200),
        ("clips", "aaa.mp4", "REAL", "aaa.mp4", 30, 0, 12, 100, 200),
        ("clips", "bbb.mp4", "FAKE", "aaa.mp4", 0, 0, 10, 100, 200),
        ("clips", "bbb.mp4", "FAKE", "aaa.mp4", 0, 1, 300, 100, 200),
    ]
    options = read_recipe(tmp_path / "a.recipe").crop_options
    assert (options.margin, options.size, options.faces, options.frames) == (0.15, 256, "all", 2)


def test_parquet_and_other_names_of_columns_do_too(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(
        "File,Frame,x,y,w,h\nreal/aaa.mp4,7,1,2,30,40\nfake/bbb.mp4,7,1,2,30,40\n"
    )
    table = pyarrow.csv.read_csv(tmp_path / "boxes.csv")
    pq.write_table(table, tmp_path / "boxes.parquet")
    rows = made(tmp_path, tmp_path / "boxes.parquet")
    assert rows == made(tmp_path, tmp_path / "boxes.csv")
    assert [(row["part"], row["label"], row["h"]) for row in rows] == [
        ("real", "UNKNOWN", 40),
        ("fake", "UNKNOWN", 40),
    ]


def test_the_source_gives_names_and_labels(tmp_path: Path, real_clips: Path) -> None:
    (tmp_path / "boxes.csv").write_text(
        "path,frame,x,y,w,h\n"
        "dfdc_train_part_1/004.mp4,7,1,2,30,40\n004_982,7,1,2,30,40\nelsewhere.mp4,7,1,2,30,40\n"
    )
    rows = made(tmp_path, tmp_path / "boxes.csv", source=real_clips)
    assert [(row["video"], row["label"], row["family"], row["dataset"]) for row in rows] == [
        ("004.mp4", "REAL", "004.mp4", "dfdc"),
        ("004_982.mp4", "FAKE", "004.mp4", "dfdc"),
    ]
    left_out = read_recipe(tmp_path / "a.recipe").header["left_out"]
    assert left_out[1] == "boxes of 1 clip that are not in the source"


def test_crops_at_published_boxes_are_compared_with_nothing(
    tmp_path: Path, real_clips: Path
) -> None:
    (tmp_path / "boxes.csv").write_text("path,frame,x,y,w,h\n004.mp4,7,100,50,200,200\n")
    made(tmp_path, tmp_path / "boxes.csv", source=real_clips)
    words = ["rebuild", str(tmp_path / "a.recipe"), str(real_clips), str(tmp_path / "faces")]
    done = CliRunner().invoke(main, [*words, "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["ok"], found["crops"]) == (0, None, {"not compared": 1})
    done = CliRunner().invoke(main, words)
    assert done.stdout.splitlines()[-1] == (
        f"1 crop in {tmp_path / 'faces'}: not compared, the recipe has no hashes"
    )


def test_the_boxes_of_selimsefs_pipeline(tmp_path: Path, real_clips: Path) -> None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    boxes = {"0": [[10.2, 20.0, 60.7, 80.0]], "10": None, "13": [[1, 2, 3, 4]], "20": []}
    (folder / "004.json").write_text(json.dumps(boxes))
    rows = made(tmp_path, folder, source=real_clips)
    # Every tenth frame, in pixels of the whole frame; the fake at the boxes of its original.
    names = ("video", "frame", "x", "y", "w", "h", "box_source")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("004.mp4", 0, 20, 40, 101, 120, "own"),
        ("004_982.mp4", 0, 20, 40, 101, 120, "original"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("video,x,y,w,h\na.mp4,1,2,3,4\n", "found no frame"),
        ("frame,x,y,w,h\n0,1,2,3,4\n", "expected a video or a path in row 1"),
        ("video,frame,x,y\na.mp4,0,1,2\n", "expected x, y, w and h"),
        ("video,frame,x,y,w,h\na.mp4,0,1,2,3,nan\n", "expected a number in row 1"),
        ("video,frame,x,y,w,h\na.mp4,0,1,2,0,4\n", "expected a box in row 1"),
        ("video,frame,x,y,w,h\na.mp4,-4,1,2,3,4\n", "a frame from 0"),
        ("video,frame,x,y,w,h\na.mp4,0,1,2,3,1e6\n", "a h from 1"),
        ("video,frame,x,y,w,h\n../a.mp4,0,1,2,3,4\n", "a valid part"),
        ("video,frame,x,y,w,h\n", "expected boxes of the clips"),
    ],
)
def test_a_table_that_is_none_of_boxes(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DfdcPrepError, match=found) as caught:
        dfdc_prep.make_recipe(tmp_path / "boxes.csv", tmp_path / "a.recipe")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.csv"]


def test_json_that_is_none_of_boxes(tmp_path: Path, real_clips: Path) -> None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    for content in ("[1]", '{"x": [[1, 2, 3, 4]]}', '{"0": [1]}', '{"0": [[1, 2, 3]]}', "{", "5"):
        (folder / "004.json").write_text(content)
        with pytest.raises(DfdcPrepError, match=r"^expected .+; .+$"):
            dfdc_prep.make_recipe(folder, tmp_path / "a.recipe", source=real_clips)
    with pytest.raises(DfdcPrepError, match="with --source"):
        dfdc_prep.make_recipe(folder, tmp_path / "a.recipe")
