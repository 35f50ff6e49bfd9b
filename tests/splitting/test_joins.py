from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage.data import astronaut

import dfdc_prep
from manifests.pictures.thumbnails import SIDE, Pictures
from manifests.splitting.groups import JOINED, join_families
from manifests.splitting.split import SplitPlan, assign_splits
from tests.bare_tables import mixture_table

PLAN = SplitPlan.parse("56/24/20")
GROUPS = (PLAN.group_by, PLAN.weights.min())


def pictures(shown: list[int]) -> Pictures:
    """Thumbnails of regions of noise: rows with an equal number show the same."""
    noise = [np.random.default_rng(at).integers(0, 256, (8, 8)) for at in range(max(shown) + 1)]
    small = [np.kron(each, np.ones((SIDE // 8, SIDE // 8))).astype(np.uint8) for each in noise]
    return Pictures(np.arange(len(shown)), np.stack([small[at] for at in shown]))


def test_families_with_the_same_picture_go_to_one_split() -> None:
    table = mixture_table([(1, 1)] * 50)
    shown = list(range(100))
    shown[41] = shown[6]  # families 20 and 3
    joined, joins = join_families(table, *GROUPS, pictures(shown))
    assert (joins.pairs, joins.families, joins.groups, joins.apart) == (1, 2, 1, 0)
    names = joined[JOINED].to_pylist()
    assert {at for at, name in enumerate(names) if name} == {6, 7, 40, 41}
    assert {name for name in names if name} == {"clip0003.mp4"}
    for seed in range(9):
        found = assign_splits(joined, SplitPlan.parse("56/24/20", seed=seed))
        assert len({found.names[at].as_py() for at in (6, 7, 40, 41)}) == 1
        assert not found.shortfall.any()


def test_a_picture_that_every_family_shows_does_not_join_them_all() -> None:
    table = mixture_table([(1, 1)] * 50)
    shown = [0 if at % 2 else at for at in range(100)]
    joined, joins = join_families(table, *GROUPS, pictures(shown))
    sizes = joined.group_by(JOINED).aggregate([([], "count_all")])["count_all"].to_pylist()
    assert max(sizes) <= 10  # half of the smallest split, 20 of 100
    assert joins.apart > 0
    assert "not joined: the groups would be larger than half the smallest split" in "\n".join(
        joins.lines()
    )


def test_what_is_joined_does_not_depend_on_the_order_of_the_rows() -> None:
    table = mixture_table([(1, 2)] * 30)
    shown = [at % 70 for at in range(90)]
    order = np.random.default_rng(0).permutation(90)
    one, _ = join_families(table, *GROUPS, pictures(shown))
    other, _ = join_families(
        table.take(pa.array(order)), *GROUPS, pictures([shown[at] for at in order])
    )
    assert other[JOINED].to_pylist() == one[JOINED].take(pa.array(order)).to_pylist()


def test_people_and_parts_stay_together_when_families_are_joined() -> None:
    table = mixture_table([(1, 1)] * 80)
    table = table.append_column("part", pa.array([f"p{at % 40}" for at in range(160)]))
    shown = list(range(160))
    shown[0] = shown[3]
    plan = SplitPlan.parse("56/24/20", "part")
    joined, joins = join_families(table, "part", 0.2, pictures(shown))
    assert joins.families == 8  # those of both parts
    found = assign_splits(joined, plan)
    assert len({found.names[at].as_py() for at in range(160) if joined[JOINED][at].as_py()}) == 1


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """A folder of crops of 40 families, and its table; two families show mirrored footage."""
    folder = tmp_path / "crops"
    folder.mkdir()
    lines = ["path,video,label,original"]
    for family in range(40):
        noise = np.random.default_rng(family).integers(0, 256, (12, 12, 3)).astype(np.uint8)
        image = Image.fromarray(noise).resize((224, 224))
        if family in (7, 30):
            image = Image.fromarray(astronaut()[:224, 100:324])
        if family == 30:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.save(folder / f"{family}.jpg")
        lines.append(f"{family}.jpg,{family:02d}.mp4,{('REAL', 'FAKE')[family % 2]},")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_split_and_shard_join_mirrored_footage_and_say_so(crops: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    dfdc_prep.import_crops(crops, crops / "table.csv", faces)
    dfdc_prep.balance(faces)
    said = str(dfdc_prep.split(faces))
    assert "40 of 40 compared; 2 families joined into 1 through 1 pair of crops" in said
    shards = dfdc_prep.shard(faces, tmp_path / "shards")
    assert "2 families joined into 1" in str(shards)
    assert '"families": 2' in (tmp_path / "shards/metadata.json").read_text()
    assert "already exists" in str(dfdc_prep.shard(faces, tmp_path / "shards"))
    for seed in range(3):
        dfdc_prep.split(faces, seed=seed)
        assert not any(leak.shared for leak in dfdc_prep.audit(faces).images or ())
    apart = str(dfdc_prep.split(faces, join_duplicates=False))
    assert "pictures: not compared" in apart


def test_a_table_without_images_says_so(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(crops)
    table = (crops / "table.csv").read_text()
    (crops / "bare").mkdir()
    (crops / "bare/table.csv").write_text(table)
    assert "pictures: not compared" in str(dfdc_prep.split(crops / "bare/table.csv"))
    assert "2 families joined into 1" in str(dfdc_prep.split(crops / "table.csv"))
