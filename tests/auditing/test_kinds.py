import numpy as np
import pyarrow as pa

from manifests.auditing.kinds import compare_kinds, kind_lines
from manifests.pictures.thumbnails import SIDE, Pictures

NAMES = ("train", "test")


def families(count: int) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Families of two rows, every second one in test; faces of 100 to 139 pixels."""
    family = np.repeat(np.arange(count), 2)
    faces = pa.array(100.0 + family % 40)
    table = pa.table({"w": faces, "h": faces, "part": [f"p{each % 4}" for each in family // 2]})
    return table, family, family % 2


def test_splits_that_are_alike_are_said_to_be() -> None:
    table, family, split = families(400)
    found = compare_kinds(table, family, split, NAMES)
    assert [each.measure.split()[0] for each in found] == ["face", "share"]
    assert max(abs(each.z) for each in found) < 1.5
    assert kind_lines(found)[0].startswith("the splits are alike in kind")


def test_larger_families_darker_crops_and_a_part_of_one_split_are_found() -> None:
    table, family, split = families(100)
    dark = Pictures(np.arange(200), np.full((200, SIDE, SIDE), 90, np.uint8))
    dark.thumbnails[split == 1] = 40
    twice = np.flatnonzero(split == 1)
    rows = np.r_[np.arange(200), twice]
    table = table.set_column(2, "part", pa.array(np.where(split == 1, "b", "a")))
    found = compare_kinds(table.take(rows), family[rows], split[rows], NAMES, dark)
    by = {each.measure.split(",")[0].split(" of")[0]: each for each in found}
    assert by["crops per family"].means == {"train": 2.0, "test": 4.0}
    assert by["brightness"].means == {"train": 90.0, "test": 40.0}
    assert all(abs(by[name].z) > 9 for name in ("crops per family", "brightness", "share"))
    assert kind_lines(found)[0].startswith("the splits are not alike in kind")
