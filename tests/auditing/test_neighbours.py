"""The label of the nearest neighbour between splits."""

import numpy as np
import pyarrow as pa
import pytest

from manifests.auditing.audit import audit
from manifests.pictures.thumbnails import SIDE, Pictures


def rooms(which: list[int], seed: int = 0) -> Pictures:
    """Crops of rooms: the same room with a little noise; room 0 is black."""
    random = np.random.default_rng(seed)
    walls = random.integers(0, 255, (max(which) + 1, 7, 7)).repeat(8, 1).repeat(8, 2)
    walls[0] = 0
    noise = random.integers(0, 9, (len(which), SIDE, SIDE))
    return Pictures(np.arange(len(which)), (walls[which] * 0.9 + noise).astype(np.uint8))


def table(labels: str, splits: str, families: str) -> pa.Table:
    """One row for each character: r or f; train, validation or test by t, v or e; a family."""
    names = {"t": "train", "v": "validation", "e": "test"}
    label = ["REAL" if each == "r" else "FAKE" for each in labels]
    columns = {
        "video": [f"{at}.mp4" for at in range(len(labels))],
        "label": label,
        "original": [f"{f}.mp4" if each == "FAKE" else None
                     for f, each in zip(families, label, strict=True)],
        "family": [f"{f}.mp4" for f in families],
        "split": [names[each] for each in splits],
    }  # fmt: skip
    return pa.table(columns | {"original": pa.array(columns["original"], pa.string())})


def test_a_room_in_two_splits_tells_the_label() -> None:
    rows = table("rfrfrfr", "ttvveee", "abcdefg")
    found = audit(rows, pictures=rooms([1, 2, 3, 3, 1, 2, 2])).neighbours
    assert found is not None
    assert (found.first, found.second, found.crops, found.right) == ("train", "test", 3, 2)
    assert found.accuracy == pytest.approx(2 / 3)
    assert "has the label of the test crop for 66.7 % of 3; the closer to 50 %" in found.text()


def test_neighbours_that_are_relatives_say_nothing_of_rooms() -> None:
    rows = table("rfrf", "teet", "aabb")
    report = audit(rows, pictures=rooms([1, 1, 2, 2]))
    assert report.neighbours is not None
    assert report.neighbours.right == 0
    assert "100.0 % of these neighbours are of the crop's own family" in report.text()
    assert report.as_json()["neighbours"]["related"] == 2


def test_black_crops_have_no_neighbour() -> None:
    rows = table("rfrf", "ttee", "abcd")
    found = audit(rows, pictures=rooms([1, 0, 0, 1])).neighbours
    assert found is not None
    assert found.crops == 1
    assert audit(rows, pictures=rooms([1, 1, 0, 0])).neighbours is None
    assert "nearest neighbour" not in audit(rows).text()
