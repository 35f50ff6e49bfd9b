import hashlib
import html
import os
import re
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import cli
import dfdc_prep
from dfdc_prep.errors import ModelError, OutputError, ShardError, TableError
from dfdc_prep.identities import run
from dfdc_prep.identities.encoder import (
    MIDDLE,
    Encoder,
    choose_candidates,
    encode_clip,
    init_worker,
)
from dfdc_prep.identities.page import _commands
from dfdc_prep.identities.run import IdentifyReport
from dfdc_prep.parallel.confinement import why_unconfined
from dfdc_prep.parallel.processes import LocalWorkers, run_tasks
from manifests.arrow import ENCODING_SCHEMA, MANIFEST_SCHEMA
from manifests.folders import FacesFolder
from manifests.identities.table import FILE, add_identities, read_identities
from manifests.schemas import CropRow, make_row
from manifests.tables.parquet import read_manifest, sort_manifest, write_table
from tests.extraction.test_confinement import attack


def digest(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


@pytest.fixture(scope="session")
def identified(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The known people, identified by one worker."""
    folder = Path(shutil.copytree(imported, tmp_path_factory.mktemp("identified") / "faces"))
    dfdc_prep.identify(folder, workers=1)
    return folder


@pytest.fixture
def known(identified: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(identified, tmp_path / "known"))


def test_known_people_are_not_mixed(identified: Path) -> None:
    rows = pq.read_table(identified / "identities.parquet").to_pylist()
    people: dict[str, set[str]] = {}
    for row in rows:
        if row["label"] == "REAL":
            people.setdefault(row["identity"], set()).add(row["video"][:9])
    assert len(rows) == 13
    assert 3 <= len(people) <= 4
    assert all(len(names) == 1 for names in people.values())
    (fake,) = (row for row in rows if row["label"] == "FAKE")
    assert fake["identity"] == "John_Salley_000179_02159509.mp4"
    assert fake["identity_faces"] == 1


@pytest.mark.slow
def test_two_workers_and_a_resumed_run_leave_the_same_bytes(faces: Path, identified: Path) -> None:
    dfdc_prep.identify(faces, workers=2)
    whole = digest(faces)
    assert whole == digest(identified)
    # A run that was killed: a journal with some clips and half a line, no tables.
    for name in ("identities.parquet", "identities.html", "identity_pairs.csv"):
        (faces / name).unlink()
    table = pq.read_table(faces / FacesFolder.ENCODINGS)
    write_table(table.slice(0, 5), faces / FacesFolder.ENCODINGS)
    (faces / FacesFolder.ENCODINGS_JOURNAL).write_text('{"key":"half')
    dfdc_prep.identify(faces, workers=2)
    assert digest(faces) == whole


def test_a_second_call_encodes_nothing(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(known)

    def refuse(*args: object) -> None:
        raise AssertionError("no worker is needed")

    monkeypatch.setattr(run, "LocalWorkers", refuse)
    dfdc_prep.identify(known)
    assert digest(known) == before


def test_settled_pairs_are_kept_for_the_next_call(known: Path) -> None:
    pair = "John_Salley_000179_02159509.mp4", "John_Savage_000264_01099001.mp4"
    one = dfdc_prep.identify(known, workers=1, same=[pair])
    other = dfdc_prep.identify(known, different=["swapped.mp4,John_Shimkus_000373_03228153.mp4"])
    assert isinstance(one, IdentifyReport)
    assert isinstance(other, IdentifyReport)
    assert len(one.identities.people) == len(other.identities.people)
    assert len((known / "identity_settled.csv").read_text().splitlines()) == 3
    with pytest.raises(TableError, match="settled pairs that agree"):
        dfdc_prep.identify(known, different=[pair])
    assert len((known / "identity_settled.csv").read_text().splitlines()) == 3


def test_forget_removes_faces_and_leaves_the_table(known: Path) -> None:
    kept = (known / "identities.parquet").read_bytes()
    (known / f".{FacesFolder.ENCODINGS}.0123456789abcdef.half.parquet").write_text("a killed run's")
    result = dfdc_prep.identify(known, forget=True)
    assert set(result.removed) == {
        "identities.html",
        "identity_encodings.parquet",
        "identity_pairs.csv",
    }
    assert "kept: the crops, identities.parquet" in str(result)
    left = {path.name for path in known.iterdir()}
    assert not [name for name in left if "encoding" in name or "html" in name]
    assert (known / "identities.parquet").read_bytes() == kept
    assert "nothing, there was none" in str(dfdc_prep.identify(known, forget=True))


def test_the_same_import_again_keeps_the_identities(imported: Path, known: Path) -> None:
    before = digest(known)
    dfdc_prep.import_crops(imported.parent / "images", imported.parent / "crops.csv", known)
    assert digest(known) == before


def test_a_missing_crop_and_an_altered_one_are_reported(faces: Path) -> None:
    crop = next((faces / "crops").rglob("John_Savage*.png"))
    data = crop.read_bytes()
    crop.unlink()
    crop.write_bytes(data + b"x")  # a new file: the imported one is a link
    with pytest.raises(ShardError, match="manifest's SHA-256"):
        dfdc_prep.identify(faces, workers=1)
    crop.unlink()
    with pytest.raises(ShardError, match="No such file"):
        dfdc_prep.identify(faces, workers=1)


FACE = '{"path":"x","size":null,"asymmetry":0.1,"light":90,"encoding":"AAAA"}'


@pytest.mark.parametrize(
    "line",
    [
        '{"key":"a","faces":[{"path":"x"}]}',
        f'{{"key":"a","faces":[{FACE}]}}',
        '{"key":1,"faces":[]}',
        "[]",
        "not JSON",
    ],
)
def test_a_line_of_the_journal_that_is_no_clip(faces: Path, line: str) -> None:
    (faces / FacesFolder.ENCODINGS_JOURNAL).write_text(line + "\n")
    with pytest.raises(OutputError, match="encoded clip in line 1"):
        dfdc_prep.identify(faces, workers=1)


@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_a_table_of_encodings_with_other_numbers(faces: Path, value: float) -> None:
    row = dict.fromkeys(ENCODING_SCHEMA.names, "a") | {"rank": 0, "size": 1, "asymmetry": 0}
    row |= {"light": 0, "encoding": [value] * 128}
    write_table(pa.Table.from_pylist([row], ENCODING_SCHEMA), faces / FacesFolder.ENCODINGS)
    with pytest.raises(TableError, match=r"face encodings in .* identify --forget"):
        dfdc_prep.identify(faces, workers=1)


def test_the_page_shows_pictures_and_loads_nothing(identified: Path) -> None:
    page = (identified / "identities.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 12
    assert "default-src" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "biometric data" in page


def test_the_page_has_the_commands_that_settle_its_pairs(known: Path) -> None:
    dfdc_prep.identify(known, threshold=0.45)
    page = (known / "identities.html").read_text()
    pairs = (known / "identity_pairs.csv").read_text().count("\n") - 1
    copied = [html.unescape(each) for each in re.findall('data-copy="(.*?)"', page)]
    assert len(copied) == 2 * pairs > 0
    for how, options in zip(("same", "different"), copied[:2], strict=True):
        done = CliRunner().invoke(cli.main, ["identify", str(known), *shlex.split(options)])
        assert done.exit_code == (0 if how == "same" else 1), done.stderr
    assert "settled pairs that agree" in done.stderr
    assert copied[0].endswith(" --threshold 0.45")
    assert copied[0] not in html.unescape((known / "identities.html").read_text())


@pytest.mark.parametrize(
    ("one", "two", "number"),
    [("a b.mp4", "$(c).mp4", 2), ("a,b.mp4", "c.mp4", 0), (" a.mp4", "c.mp4", 0), ("a\n", "c", 0)],
)
def test_a_name_that_no_command_can_give_has_no_button(one: str, two: str, number: int) -> None:
    found = _commands(one, two, 0.5)
    assert len(found) == number
    assert all(shlex.split(each.after)[1] == f"{one},{two}" for each in found)


def test_a_table_of_other_clips_needs_identify_again(identified: Path) -> None:
    manifest = read_manifest(identified / "manifest.parquet")
    identities = read_identities(identified)
    assert add_identities(manifest, identities)["identity"].null_count == 0
    with pytest.raises(TableError, match=r"found \d+ crops without, .* run dfdc-prep identify"):
        add_identities(manifest, identities.slice(4))
    loose = add_identities(manifest, identities.slice(4), strict=False)
    assert loose["identity"].null_count == 3  # the fake has its family, and so its original


def test_without_dlib_the_error_says_what_to_install(
    faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfdc_prep.identities.encoder.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="run scripts/install"):
        dfdc_prep.identify(faces)


@pytest.mark.skipif(why_unconfined() is not None, reason="no confinement here")
def test_workers_read_crops_and_can_do_nothing_else(faces: Path, tmp_path: Path) -> None:
    (clip, *_) = choose_candidates(read_manifest(faces / "manifest.parquet"))
    workers = LocalWorkers(1, 60.0, init_worker, (os.path.realpath(faces), True))
    try:
        assert workers.submit(encode_clip, clip).result()
        for name in ("tcp", "program", "create", "own file"):
            refused = workers.submit(attack, name, str(faces), str(tmp_path)).result()
            assert refused == "PermissionError"
    finally:
        workers.stop()


def test_workers_that_cannot_be_confined_are_told_of(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "confinement" not in str(dfdc_prep.identify(known))
    monkeypatch.setattr(run, "why_unconfined", lambda: "for a test")
    assert "confinement of the workers: off: for a test" in str(dfdc_prep.identify(known))


def _exit_or_double(number: int) -> int:
    if number == 3:
        os._exit(1)
    return 2 * number


def _nothing() -> None:
    pass


def _exit_once(marker: str) -> str:
    if not os.path.exists(marker):
        Path(marker).touch()
        os._exit(1)
    return "done"


@pytest.mark.slow
def test_a_task_whose_worker_dies_is_tried_again(tmp_path: Path) -> None:
    pool = LocalWorkers(1, 60, _nothing, ())
    try:
        ((_, found),) = run_tasks(pool, _exit_once, [str(tmp_path / "marker")])
    finally:
        pool.stop()
    assert found == "done"


@pytest.mark.slow
def test_a_task_that_kills_its_worker_fails_alone() -> None:
    pool = LocalWorkers(2, 60, _nothing, ())
    try:
        found = dict(run_tasks(pool, _exit_or_double, range(6)))
    finally:
        pool.stop()
    assert found == {n: None if n == 3 else 2 * n for n in range(6)}


def _crop(frame: int | None, **values: object) -> CropRow:
    crop = {"video": "a.mp4", "part": "p", "label": "REAL", "family": "a.mp4", "frame": frame}
    path = f"{frame}_{values.get('face')}.png"
    return make_row(CropRow, {**crop, "path": path, "sha256": "0", **values})


def test_the_largest_face_of_the_best_frames_is_chosen() -> None:
    box = {"crop_x": 0, "crop_y": 0, "crop_size": 200, "x": 50, "y": 40, "score": 0.9}
    rows = [_crop(n, face=0, w=60 + n, h=80, **box) for n in range(9)]
    rows += [_crop(8, face=1, w=120, h=90, **box), _crop(7, face=1, w=9, h=9, **box)]
    (clip,) = choose_candidates(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    assert len(clip.crops) == 5
    paths = {crop.path for crop in clip.crops}
    assert "8_1.png" in paths
    assert not {"8_0.png", "7_1.png"} & paths
    assert clip.crops[0].box == (0.25, 0.2, 0.55, 0.6)
    (bare,) = choose_candidates(pa.Table.from_pylist([_crop(None)], schema=MANIFEST_SCHEMA))
    assert bare.crops[0].box == MIDDLE
    assert bare.crops[0].size is None


def test_fakes_stand_for_a_family_without_a_real_crop() -> None:
    rows = [_crop(0, video=name, family=family, label=label) for name, family, label in (
        ("a.mp4", "a.mp4", "REAL"), ("b.mp4", "a.mp4", "FAKE"), ("c.mp4", "gone.mp4", "FAKE"),
    )]  # fmt: skip
    found = choose_candidates(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    assert [(clip.video, clip.label) for clip in found] == [("a.mp4", "REAL"), ("c.mp4", "FAKE")]


def test_the_same_picture_under_two_names_is_one_person(known: Path) -> None:
    manifest = read_manifest(known / "manifest.parquet")
    row = manifest.slice(0, 1).to_pylist()[0]
    twin = row | {"video": "twin.mp4", "family": "twin.mp4", "original": None, "label": "REAL"}
    table = pa.concat_tables([manifest, pa.Table.from_pylist([twin], manifest.schema)])
    write_table(sort_manifest(table), known / "manifest.parquet")
    result = dfdc_prep.identify(known, workers=1)
    assert "14 of 14 pictures compared; families with one that is near-identical" in str(result)
    identity = {r["video"]: r["identity"] for r in pq.read_table(known / FILE).to_pylist()}
    assert identity["twin.mp4"] == identity[row["video"]]


def test_light_and_asymmetry_of_real_faces(shared: Path) -> None:
    """A profile clip and a frontal one; the dark copy is encoded near the original."""
    import numpy as np
    from PIL import Image

    path = next((shared / "data" / "identities" / "John_Simm").glob("000310*"))
    with Image.open(path) as opened:
        image = np.asarray(opened.convert("RGB"))
    encoder = Encoder()
    look = encoder.look(image, MIDDLE)
    dark = encoder.look((image * 0.15).astype(np.uint8), MIDDLE)
    assert look.asymmetry < 0.15
    assert 100 < look.light < 150
    assert dark.light < 25
    assert np.linalg.norm(encoder.encode(look) - encoder.encode(dark)) < 0.35
    assert encoder.look(np.zeros((224, 224, 3), np.uint8), (-1, -1, -0.5, -0.5)).light == 0
