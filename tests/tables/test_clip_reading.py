"""Which clip a row belongs to, where the table does not name the clips."""

import pyarrow as pa
import pytest

from manifests.errors import TableError
from manifests.tables.clip_reading import read_clips
from manifests.tables.codes import clip_codes, clip_lines, clips_known

PAIRS = [(f"{target:03}", f"{(7 * target + 3) % 10:03}") for target in range(10)]
METHODS = ("Deepfakes", "Face2Face")
FRAMES = range(4)

#: Paths by what their clips are read by, and the number of clips.
PATHS = {
    "frames of FaceForensics++": (
        "folder",
        20,
        [f"original_sequences/youtube/c23/{t}/frame{n}.png" for t, _ in PAIRS for n in FRAMES]
        + [
            f"manipulated_sequences/Deepfakes/c23/{t}_{s}/frame{n}.png"
            for t, s in PAIRS
            for n in FRAMES
        ],
    ),
    "frames of Celeb-DF": (
        "folder",
        12,
        [
            f"Celeb-real/frames/id{i}_{k:04}/{n:03}.png"
            for i in (0, 1)
            for k in range(3)
            for n in FRAMES
        ]
        + [
            f"Celeb-synthesis/frames/id{i}_id9_{k:04}/{n:03}.png"
            for i in (0, 1)
            for k in range(3)
            for n in FRAMES
        ],
    ),
    "crops of this project": (
        "folder",
        8,
        [
            f"{label}/{clip}/{frame:06}_0.png"
            for label in ("real", "fake")
            for clip in ("aa", "bb", "cc", "dd")
            for frame in FRAMES
        ],
    ),
    "frames below the folder of their clip": (
        "folder",
        6,
        [
            f"{label}/v{i}/faces/{n}.png"
            for label in ("real", "fake")
            for i in range(3)
            for n in FRAMES
        ],
    ),
    "images named after their folder": (
        "folder",
        6,
        [
            f"{label}/abc{i}/abc{i}_{n}.png"
            for label in ("real", "fake")
            for i in range(3)
            for n in FRAMES
        ],
    ),
    "clip and number": (
        "name",
        6,
        [
            f"{label}/clip{i}x_{n}.jpg"
            for label in ("real", "fake")
            for i in range(3)
            for n in FRAMES
        ],
    ),
    "clip, frame and face": (
        "name",
        6,
        [
            f"{label}/clip{i}x_frame{n}_face_0.jpg"
            for label in ("real", "fake")
            for i in range(3)
            for n in FRAMES
        ],
    ),
    "one image of each clip of Celeb-DF": (
        "name",
        20,
        [f"real/id0_{k:04}.png" for k in range(10)]
        + [f"fake/id0_id1_{k:04}.png" for k in range(10)],
    ),
    "images of FaceForensics++": (
        "name",
        30,
        [f"youtube/{target}_{n}.png" for target, _ in PAIRS for n in FRAMES]
        + [f"{m}/{t}_{s}_{n}.png" for m in METHODS for t, s in PAIRS for n in FRAMES],
    ),
    "one image of each clip of FaceForensics++": (
        "name",
        30,
        [f"youtube/{target}.png" for target, _ in PAIRS]
        + [f"{m}/{t}_{s}.png" for m in METHODS for t, s in PAIRS],
    ),
    "names alone": ("name", 4, ["real_faces/aa.png", "bb.png", "fakes/cc.png", "fakes/dd.png"]),
    "numbered by label": (
        "unknown",
        40,
        [f"Train/{label}/{label.lower()}_{n}.jpg" for label in ("Real", "Fake") for n in range(20)],
    ),
    "numbers": (
        "unknown",
        40,
        [f"x/{label}/{n:05}.jpg" for label in ("real", "fake") for n in range(20)],
    ),
    "numbers in numbered parts": (
        "unknown",
        40,
        [f"{label}/{n // 10:05}/{n:05}.png" for label in ("real", "fake") for n in range(20)],
    ),
    "images of several generators": (
        "unknown",
        60,
        [f"{name}/{n:05}.png" for name in ("ffhq-real", "stylegan2", "progan") for n in range(20)],
    ),
}


def table_of(paths: list[str]) -> pa.Table:
    real = ("real", "original", "youtube", "ffhq")
    labels = ["REAL" if any(w in path.lower() for w in real) else "FAKE" for path in paths]
    return pa.table({"path": pa.array(paths), "label": pa.array(labels)})


@pytest.mark.parametrize("kind", PATHS)
def test_clips_are_read_from_the_evidence_of_all_paths(kind: str) -> None:
    source, count, paths = PATHS[kind]
    for order in (1, -1):
        table = read_clips(table_of(paths[::order]), None, "t.csv")
        assert set(table["clip_source"].to_pylist()) == {source}
        assert len(set(clip_codes(table).tolist())) == count
        assert clips_known(table) == (source != "unknown")
        known = (
            "clips: not known" if source == "unknown" else f"{count} clips, read by the {source}s"
        )
        assert clip_lines(table)[0].startswith(known)


def test_the_part_is_the_folders_that_are_no_splits() -> None:
    paths = [f"train/x/real/aa/{n}.png" for n in FRAMES] + [
        f"test/x/real/aa/{n}.png" for n in FRAMES
    ]
    paths += [f"test/x/fake/bb/{n}.png" for n in FRAMES]
    table = read_clips(table_of(paths), "folder", "t.csv")
    clips = set(zip(table["part"].to_pylist(), table["video"].to_pylist(), strict=True))
    assert clips == {("x_real", "aa"), ("x_fake", "bb")}


def test_originals_in_the_names_of_fakes() -> None:
    paths = ["real/abcdefghij_0.png", "real/one_0.png", "fake/bbbbbbbbbb_cccccccccc_3.png"]
    paths += ["fake/swap_one_0.png", "fake/swap_two_0.png"]
    table = read_clips(table_of(paths), None, "t.csv")
    assert table["video"].to_pylist()[2:] == ["bbbbbbbbbb", "swap_one", "swap_two"]
    assert table["original"].to_pylist() == [None, None, "cccccccccc", "one", None]


@pytest.mark.parametrize(
    ("paths", "labels", "found"),
    [
        (["d/v1/0.png", "d/v1/1.png", "d/v2/0.png", "d/v2/1.png"], "RRRF", "both in v2 if clips"),
        (["d/obama_1.png", "d/obama_2.png"], "RF", "both in obama if clips are read by name"),
        (
            ["d/v1/0.png", "d/v2/0.png", "d/aa.png", "d/bb.png"],
            "RRFF",
            "two, by folder and by name",
        ),
        (["d/v1/up.png", "d/v2/up.png", "d/v3/up.png", "d/v1/x.png"], "RRFR", "two, by folder and"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(paths: list[str], labels: str, found: str) -> None:
    words = ["REAL" if label == "R" else "FAKE" for label in labels]
    with pytest.raises(TableError, match=r"^expected .*; give --clips-from folder") as raised:
        read_clips(pa.table({"path": paths, "label": words}), None, "t.csv")
    assert found in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("clips_from", "videos"),
    [
        ("folder", ["v1", "v1", "v2"]),
        ("name", ["a", "b", "a"]),
        ("scene", ["s", "s", "t"]),
        (r"d/v(?P<clip>\d+)/", ["1", "1", "2"]),
    ],
)
def test_clips_from_what_is_given(clips_from: str, videos: list[str]) -> None:
    columns = {"path": ["d/v1/a_0.png", "d/v1/b_0.png", "d/v2/a_0.png"], "label": ["REAL"] * 3}
    table = pa.table({**columns, "scene": ["s", "s", "t"], "video": ["x", "y", "z"]})
    assert read_clips(table, clips_from, "t.csv")["video"].to_pylist() == videos


@pytest.mark.parametrize(
    ("clips_from", "found"),
    [
        ("camera", "found 'camera' and path, label"),
        ("(?P<clip>x", "missing )"),
        ("(y)(?P<clip>x)", "unnamed groups"),
        ("v1/(?P<clip>.)", "found none in 1 row, such as d/v2/a_0.png"),
        (r"/(?P<clip>a)_", "both in a if clips are read by pattern"),
    ],
)
def test_what_is_given_and_does_not_fit_is_an_error(clips_from: str, found: str) -> None:
    table = pa.table({"path": ["d/v1/a_0.png", "d/v2/a_0.png"], "label": ["REAL", "FAKE"]})
    with pytest.raises(TableError, match=r"^expected .*; ") as raised:
        read_clips(table, clips_from, "t.csv")
    assert found in str(raised.value)
