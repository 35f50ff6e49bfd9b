"""What plain classifiers get on a split: features, classifiers, planted shortcuts, the report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from skimage.data import astronaut
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dfdc_prep
from benchmarks.probes import planted, write_set
from cli import main
from dfdc_prep.crops.encoding import decode
from dfdc_prep.errors import ShardError
from dfdc_prep.reports.probes import (
    ALONE,
    COVERED,
    MEASURES,
    MIDDLE,
    RIM,
    THUMBNAIL,
    WHOLE,
    Probe,
    ProbeReport,
    Scored,
    probe_sections,
)
from dfdc_prep.run_files import Interval
from dfdc_prep.writing.audit_inputs import shard_images
from manifests.arrow import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA, SHARD_MANIFEST_SCHEMA
from manifests.errors import TableError, TrainingError
from manifests.schemas import ClipRow, make_row
from manifests.tables.parquet import read_manifest, write_parquet
from training.measures.intervals import FamilyIntervals
from training.models.settings import InputSettings
from training.probing.features import face_boxes, regions
from training.probing.probes import (
    Keep,
    Rows,
    Task,
    logistic,
    nearest_neighbour,
    probe,
    probe_shards,
)
from training.probing.statistics import STATISTICS, statistics

NOISE = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)


def rows_of(count: int, seed: int = 0, per_clip: int = 1) -> Rows:
    """Rows of three splits, two per family, with labels at random."""
    rng, at = np.random.default_rng(seed), np.arange(count)
    clip = at // per_clip
    label = rng.integers(0, 2, count)[clip]
    names = np.array([f"family{each:04d}" for each in clip // 2])
    return Rows(label, (at * 3 // count).astype(np.int64), clip, names)


def known(rows: Rows) -> np.ndarray:
    return np.ones(len(rows.label), bool)


def test_logistic_regression_is_that_of_scikit_learn() -> None:
    rows = rows_of(600)
    values = np.random.default_rng(1).normal(size=(600, 7))
    values[:, 3] = values[:, 3] * 50 + 9 + rows.label * 40
    found = logistic(values, rows, known(rows))
    train, validation, test = (rows.where(known(rows), n) for n in ("train", "validation", "test"))
    model = LogisticRegression(C=found.penalty, solver="newton-cholesky", max_iter=200)
    theirs = make_pipeline(StandardScaler(), model).fit(values[train], rows.label[train])
    np.testing.assert_allclose(
        found.scores, theirs.decision_function(values[test]), rtol=0, atol=1e-9
    )
    aucs = {}
    for penalty in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        theirs.set_params(logisticregression__C=penalty).fit(values[train], rows.label[train])
        scores = theirs.decision_function(values[validation])
        aucs[penalty] = roc_auc_score(rows.label[validation], scores)
    assert aucs[found.penalty] == pytest.approx(max(aucs.values()), abs=1e-9)


def test_missing_values_are_medians_and_features_themselves() -> None:
    rows = rows_of(600)
    values = np.random.default_rng(1).normal(size=(600, 3))
    values[:, 2] = np.nan
    values[(rows.label == 1) & (np.arange(600) % 4 > 0), 1] = np.nan
    found = logistic(values, rows, known(rows))
    test = rows.where(known(rows), "test")
    assert roc_auc_score(rows.label[test], found.scores) > 0.8


def test_the_neighbour_is_that_of_scikit_learn() -> None:
    rows = rows_of(600)
    values = np.random.default_rng(1).normal(size=(600, 30))
    values -= values.mean(axis=1, keepdims=True)
    unit = np.rint(1000 * values / np.linalg.norm(values, axis=1, keepdims=True))
    train, test = (rows.where(known(rows), name) for name in ("train", "test"))
    theirs = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
    theirs.fit(unit[train], rows.label[train])
    found = nearest_neighbour(unit.astype(np.float32), rows, known(rows))
    assert found.scores.tolist() == theirs.predict(unit[test]).tolist()


def test_clips_are_scored_by_their_mean_and_rows_without_values_left_out() -> None:
    rows = rows_of(1800, per_clip=3)
    values = np.random.default_rng(1).normal(size=(1800, 2)) + rows.label[:, None]
    some = np.arange(1800) % 5 > 0
    found, _ = probe(Task("noise", WHOLE, values, some), rows, 0.05)
    test = rows.where(some, "test")
    scores = logistic(values, rows, some).scores
    clips = np.unique(rows.clip[test])
    means = [scores[rows.clip[test] == each].mean() for each in clips]
    labels = rows.label[3 * clips]
    assert found.crops == {"train": 480, "validation": 480, "test": 480}
    assert found.image.auc == pytest.approx(roc_auc_score(rows.label[test], scores), abs=1e-9)
    assert found.clip.auc == pytest.approx(roc_auc_score(labels, means), abs=1e-9)
    intervals = FamilyIntervals(labels, rows.family[3 * clips], 0.05)
    assert (
        found.clip.interval == intervals.rankings(np.array(means), {"auc": found.clip.auc})["auc"]
    )


def test_intervals_for_several_probes_are_wider() -> None:
    rows = rows_of(600)
    task = Task("noise", WHOLE, np.random.default_rng(1).normal(size=(600, 2)), known(rows))
    one, five = (probe(task, rows, error)[0].clip.interval for error in (0.05, 0.01))
    assert five.low < one.low < one.high < five.high


def test_a_split_without_a_label_is_refused() -> None:
    rows = rows_of(60)
    only = replace(rows, label=np.where(rows.split == 1, 0, rows.label))
    with pytest.raises(TrainingError, match="in the split validation, found no FAKE"):
        only.check(known(only), "crops")


def test_statistics_tell_compression_and_brightness_and_are_finite() -> None:
    for level in (0, 255):
        assert np.isfinite(statistics(np.full((224, 224, 3), level, np.uint8))).all()
        assert statistics(np.full((224, 224, 3), level, np.uint8))[-6:].tolist() == [level] * 6
    one = statistics(NOISE)
    assert one.shape == (STATISTICS,)
    assert one.dtype == np.float32
    assert np.array_equal(one, statistics(NOISE.copy()))
    # White noise has a flat spectrum, and equal power in each coefficient but the first.
    sizes = np.expm1(one[8 * 15 : 8 * 15 + 64])[1:]
    assert sizes.std() / sizes.mean() < 0.1


def test_regions_show_either_side_of_the_box() -> None:
    whole, covered, alone = regions(NOISE, (50, 60, 150, 180))
    assert whole is NOISE
    assert (covered[48:192, 40:160] == 128).all()
    assert np.array_equal(covered[:48], NOISE[:48])
    assert np.array_equal(covered[:, 160:], NOISE[:, 160:])
    assert np.array_equal(alone[60:180, 50:150], NOISE[60:180, 50:150])
    assert (alone[:60] == 128).all()


def test_the_box_in_a_crop_follows_from_the_manifest() -> None:
    upright = {"x": 100, "y": 200, "w": 100, "h": 50, "crop_x": 70, "crop_y": 145, "crop_size": 160}
    # Half as large, and turned to the left by a right angle.
    turned = {"affine_xx": 0.0, "affine_xy": 0.5, "affine_x0": -50.0}
    turned |= {"affine_yx": -0.5, "affine_yy": 0.0, "affine_y0": 200.0}
    given = [upright, upright | turned, {"w": 185, "h": 185, "crop_size": 185}]
    table = pa.Table.from_pylist(given, schema=MANIFEST_SCHEMA)
    boxes, are_known = face_boxes(table)
    assert boxes[0].tolist() == [42, 77, 182, 147]
    assert boxes[1].tolist() == [50, 100, 75, 150]
    assert boxes[2].tolist() == [42, 42, 182, 182]
    assert are_known.tolist() == [True, True, False]


@pytest.fixture(scope="module")
def pool() -> list[np.ndarray]:
    """Parts of one picture, at random places."""
    places = np.random.default_rng(0).integers(0, 512 - 224, (120, 2)).tolist()
    return [astronaut()[y : y + 224, x : x + 224] for y, x in places]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, pool: list[np.ndarray]) -> dict[str, Path]:
    """Sets with a planted shortcut and with none, and their cache, after `probe`."""
    root = tmp_path_factory.mktemp("planted")
    found = {"cache": root / "cache"}
    for kind in ("none", "face covered"):
        found[kind] = write_set(root / kind.replace(" ", ""), planted(pool, kind, 120, 0))
        probe_shards(found[kind], 0, None, Keep(found["cache"]))
    return found


@pytest.fixture(scope="module")
def real_shards(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen real crops in the splits that their set gives them."""
    root = tmp_path_factory.mktemp("real")
    rows = []
    for split, each in (("train", 3), ("validation", 2), ("test", 3)):
        for label in ("real", "fake"):
            for path in sorted((shared / "data/crops" / split / label).glob("*.jpg"))[:each]:
                (root / "images").mkdir(exist_ok=True)
                name = f"crop{len(rows):02}"
                shutil.copyfile(path, root / "images" / f"{name}.jpg")
                rows.append(f"{name}.mp4,{label.upper()},{split}\n")
    (root / "table.csv").write_text("".join(["videoname,label,official_split\n", *rows]))
    dfdc_prep.import_crops(root / "images", root / "table.csv", root / "faces")
    dfdc_prep.balance(root / "faces")
    dfdc_prep.split(root / "faces", official=True)
    dfdc_prep.shard(root / "faces", root / "shards", crops="split", shards=1)
    return root / "shards"


@pytest.mark.parametrize("name", ["tiny.keras", "tiny.onnx"])
def test_networks_look_at_real_crops(real_shards: Path, tmp_path: Path, name: str) -> None:
    write_mean_of_channels(tmp_path / name)
    cache = real_shards.parent / "cache"
    words = ["--backbone", str(tmp_path / name), "--cache", str(cache), "--json"]
    done = CliRunner().invoke(main, ["probe", str(real_shards), "--sample", "16", *words])
    assert done.exit_code == 0, done.output
    probes = json.loads(done.stdout)["probes"]
    rows = {(each["features"], each["sees"]): each for each in probes}
    dlib, backbone = "face encoding by dlib", f"features of {name}"
    assert [key for key in rows if key[0] in (dlib, backbone)] == [
        *((dlib, sees) for sees in (WHOLE, MIDDLE)),
        *((backbone, sees) for sees in (WHOLE, RIM, MIDDLE)),
    ]
    for (features, _), each in rows.items():
        assert each["crops"] == {"train": 6, "validation": 4, "test": 6}
        assert features != dlib or each["numbers"] == 128
        assert features != backbone or each["numbers"] == 3
    table = read_manifest(real_shards / "manifest.parquet", "", SHARD_MANIFEST_SCHEMA)
    images = [decode(data) for data in shard_images(real_shards, table)]
    means, rows_of_table = np.mean(images, axis=(1, 2)), Rows.of(table)
    same, _ = probe(Task("means", WHOLE, means, known(rows_of_table)), rows_of_table, 0.005)
    assert rows[backbone, WHOLE]["clip"][0] == pytest.approx(same.clip.auc)
    with pytest.raises(TrainingError, match="found a sample of 0"):
        probe_shards(real_shards, 0, (tmp_path / name, InputSettings()), Keep(cache))


def write_mean_of_channels(path: Path) -> None:
    """A network whose features are the mean of each channel, 0 to 255."""
    if path.suffix == ".keras":
        import keras

        image = keras.Input((224, 224, 3))
        keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)).save(path)
        return
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])
    means = helper.make_tensor_value_info("means", TensorProto.FLOAT, ["n", 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["image", "axes"], ["means"], keepdims=0)
    graph = helper.make_graph([node], "means", [image], [means], [axes])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def test_a_planted_shortcut_is_found_and_nothing_where_there_is_none(
    shards: dict[str, Path],
) -> None:
    none, covered = (
        json.loads((shards[kind] / "probe.json").read_text()) for kind in ("none", "face covered")
    )
    assert none["verdict"].startswith("nothing found by 5 probes")
    found = {each["sees"]: each["found"] for each in covered["probes"]}
    assert found[RIM]
    assert not found[MIDDLE]
    assert "where the face is in 120 of 120 crops is not known" in covered["notes"][0]


def test_again_gives_the_same_bytes_and_computes_nothing(shards: dict[str, Path]) -> None:
    folder, cache = shards["none"], shards["cache"]
    before = (folder / "probe.json").read_bytes()
    parts = {path: path.stat().st_mtime_ns for path in cache.rglob("*.parquet")}
    done = CliRunner().invoke(
        main, ["probe", str(folder), "--sample", "0", "--cache", str(cache), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(before)
    assert (folder / "probe.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.parquet")} == parts


def test_streams_that_differ_by_label_are_found(shards: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(shards["none"], tmp_path / "shards")
    crops = read_manifest(folder / "manifest.parquet", "", SHARD_MANIFEST_SCHEMA).to_pylist()
    log = [
        make_row(
            ClipRow,
            {name: crop[name] for name in ("part", "video", "label", "family")}
            | {"status": "ok", "frames_wanted": 1, "frames_decoded": 1, "faces": 1, "seconds": 0.1}
            | {"bit_rate": 1e6 + 1e5 * (crop["label"] == "FAKE")},
        )
        for crop in crops
    ]
    write_parquet(pa.Table.from_pylist(log[2:], CLIP_LOG_SCHEMA), tmp_path / "clips.parquet")
    report = probe_shards(folder, 0, None, Keep(shards["cache"]), clips=tmp_path)
    (streams,) = (each for each in report.probes if each.features == "streams of the clips")
    assert streams.found
    assert "without seeing the face" in streams.verdict()
    assert f"{tmp_path} says nothing of the streams of the clips of 2 crops" in report.notes
    others = pa.Table.from_pylist(log[:0], CLIP_LOG_SCHEMA)
    write_parquet(others, tmp_path / "clips.parquet")
    with pytest.raises(TableError, match="found it of none; give the faces folder"):
        probe_shards(folder, 0, None, Keep(shards["cache"]), clips=tmp_path / "clips.parquet")


def test_the_scores_of_the_probes_are_compared(
    shards: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, scores = shards["face covered"], tmp_path / "scores"
    words = ["probe", str(folder), "--sample", "0", "--cache", str(shards["cache"])]
    done = CliRunner().invoke(main, [*words, "--scores", str(scores), "--json"])
    assert done.exit_code == 0, done.output
    found = {each["features"]: each["clip"][0] for each in json.loads(done.stdout)["probes"]}
    tables = sorted(map(str, scores.glob("*.csv")))
    assert len(tables) == 5
    done = CliRunner().invoke(main, ["compare", str(folder), *tables, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["measures"]
    aucs = {row["model"]: row["value"] for row in rows if row["measure"] == "auc"}
    expected = found["nearest neighbour by 12x12 pixels"]
    name = "nearest-neighbour-by-12x12-pixels-thumbnail"
    assert aucs[name] == pytest.approx(expected, abs=1e-12)
    (scores / "mine.txt").write_text("mine")
    done = CliRunner().invoke(main, [*words, "--scores", str(scores)])
    assert "found mine.txt; choose another folder" in done.stderr


def test_the_page_shows_the_result_and_verify_passes(shards: dict[str, Path]) -> None:
    folder = shards["face covered"]
    assert dfdc_prep.verify(folder).ok
    page = dfdc_prep.report(folder).out.read_text()
    assert "What plain classifiers get" in page
    assert "found: the rim of the crops alone tells REAL from FAKE" in page


def test_a_result_of_other_shards_or_another_file_is_not_shown(
    shards: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "manifest.parquet").write_bytes(b"other")
    found = (shards["none"] / "probe.json").read_bytes()
    (tmp_path / "probe.json").write_bytes(found)
    (section,) = probe_sections(tmp_path)
    assert "of other shards" in section.blocks[0].text
    (tmp_path / "probe.json").write_text("[]")
    with pytest.raises(ShardError, match="found another file; run dfdc-prep probe again"):
        probe_sections(tmp_path)


def a_probe(auc: float, low: float | None, high: float | None, sees: str = WHOLE) -> Probe:
    scored = Scored(auc, Interval(low, high))
    few = None if low is not None else "2 clips: too few to say"
    counts = {"train": 6, "validation": 2, "test": 2}
    return Probe("values", sees, 3, counts, 2, scored, scored, 1.0, few)


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (a_probe(0.9, 0.88, 0.92, COVERED), "told apart without seeing the face"),
        (a_probe(0.9, 0.88, 0.92, MEASURES), "told apart without seeing the face"),
        (a_probe(0.9, 0.88, 0.92, THUMBNAIL), "room, light or person"),
        (a_probe(0.9, 0.88, 0.92, ALONE), "to be compared with this"),
        (a_probe(0.57, 0.54, 0.60), "above chance, but not surely above 0.55"),
        (a_probe(0.52, 0.49, 0.55), "nothing found by this probe, which leaves room for 0.55"),
        (a_probe(0.40, 0.36, 0.44), "below chance"),
        (a_probe(1.0, None, None), "2 clips: too few to say"),
    ],
)
def test_a_verdict_says_what_was_checked(each: Probe, said: str) -> None:
    assert said in each.verdict()


def test_the_verdict_of_all_names_the_strongest() -> None:
    nothing, blind = a_probe(0.52, 0.49, 0.55), a_probe(0.7, 0.6, 0.8, COVERED)
    few = a_probe(1.0, None, None)
    said = [ProbeReport("", 0.05, found, []).caption() for found in ([nothing], [few])]
    assert said[0].startswith("nothing found by 1 probe: at most a ROC-AUC of 0.52")
    assert said[1].startswith("not known: too few families")
    rim = ProbeReport("", 0.05, [a_probe(0.7, 0.6, 0.8, RIM)], [])
    assert rim.caption().endswith("ROC-AUC 0.70; with the middle covered 0.70")
    both = ProbeReport("", 0.05, [nothing, few, blind], [])
    assert both.caption() == (
        "1 probe of 2 found something; strongest values, face covered, ROC-AUC 0.70; without "
        "seeing the face 0.70 (values)"
    )
