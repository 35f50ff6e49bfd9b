"""Every command of every page is run, in a folder with what the page takes for granted."""

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import av
import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import dfdc_prep
from cli import main
from dfdc_prep.detectors.registry import choose_detector, make_detector
from dfdc_prep.video.picture import Still
from tests.catalog.trees import make_celeb_df, make_faceforensics, make_flat, make_table
from tests.crop_sets import make_faces, make_set
from tests.forged_clips import make_family
from tests.readme import command_lines, commands, parse
from tests.reports.folders import faces_folder, run_folder

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page
    for page in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "examples").iterdir()),
    )
    if page.is_file()
}

_BUCKET = "needs a bucket; tests/storage runs the commands on one"
_HOURS = "hours on a GPU; tests/training/test_paper_splits.py runs the benchmark on a small set"
_GPU = "a GPU; tests/command_line/test_quarter_hour.py runs its steps"
_SERVES = "serves until it is interrupted; tests/browser/test_app.py uses it"
_SCORES = "needs scores of another model; the tests of compare run it on tables of scores"
_DOWNLOAD = "needs Keras's weights, a download; tests/training/test_pretrained.py reads such files"
_RENDERS = "renders for a minute; tests/sample/test_builder.py runs it with fewer families"
_CLUSTER = "needs a cluster; tests/cluster and tests/extraction/test_slices.py run the same"
_NOTEBOOK = "tests/api runs the notebook"
#: The commands that are parsed only, and why.
NOT_RUN = {
    "docs/app.md": {"dfdc-prep app runs/v1.3": _SERVES},
    "docs/evaluate.md": {
        "dfdc-prep compare shards runs/v1.3 theirs.csv": _SCORES,
        "dfdc-prep compare shards 'runs/*' submission.csv --column clip=filename "
        "--column score=label": _SCORES,
        "dfdc-prep compare shards runs/v1.3 --attributes people.csv": _SCORES,
    },
    "docs/installing.md": {
        "dfdc-prep fit shards/ --weights offline/efficientnetb4_notop.h5": _DOWNLOAD
    },
    "docs/index.md": {"dfdc-prep sample dfdc": _RENDERS},
    "docs/paper.md": {
        "python -m benchmarks.paper_splits random family --epochs 15": _HOURS,
        "python -m benchmarks.paper_splits random family --network v1.3 --weights imagenet "
        "--epochs 47 --seeds 1": _HOURS,
        "dfdc-prep compare family 'probes/*.csv'": _SCORES,
    },
    "docs/probe.md": {
        "python -m benchmarks.probes faces --seeds 20": "takes a quarter of an hour",
        "dfdc-prep probe shards --clips faces": (
            "needs faces of real clips; tests/training/test_probe.py gives it a log of clips"
        ),
        "dfdc-prep compare shards runs/v1.3 'probes/*.csv'": _SCORES,
        "dfdc-prep probe shards --backbone resnet.onnx --scale imagenet": (
            "needs a network from elsewhere; tests/training/test_probe.py gives it one"
        ),
    },
    "docs/scale.md": {
        "dfdc-prep extract s3://bucket/dfdc s3://bucket/faces --frames 10": _BUCKET,
        "dfdc-prep balance s3://bucket/faces": _BUCKET,
        "dfdc-prep shard s3://bucket/faces s3://bucket/shards": _BUCKET,
        "dfdc-prep fit s3://bucket/shards --out s3://bucket/runs/v1.3": _BUCKET,
        "dfdc-prep extract /shared/dfdc /shared/faces --frames 10 --engine ray": _CLUSTER,
    },
    "docs/training.md": {"python -m benchmarks.gpu.quarter_hour random family": _GPU},
    "examples/kubernetes.yaml": {
        "dfdc-prep gather faces": _CLUSTER,
        "dfdc-prep extract dfdc faces --frames 10 --slice 1/32": _CLUSTER,
    },
}
#: What is added to a command, to make it small.
SMALLER = {"fit": ("--weights", "none", "--epochs", "1", "--steps-per-epoch", "1")}
NOUNS = (
    "clips|crops|families|images|faces|frames|rows|records|originals|fakes|pairs|pictures|splits|"
    "parts|groups|shards|files|columns|identities|people|epochs|faults|sets"
)
PLURAL_OF_ONE = re.compile(rf"(?<![\w.,:-])1 (?:[A-Za-z-]+ )?(?:{NOUNS})\b|\w\((?:s|es)\)")
FAMILIES = ("aaa", "bbb", "ccc", "ddd", "eee", "fff")


@pytest.fixture(scope="module")
def dfdc(real_clips: Path, yunet_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DFDC's tree of six families: ten small frames of a person, and a fake with another face."""
    part = tmp_path_factory.mktemp("pages") / "dfdc" / "dfdc_train_part_0"
    part.mkdir(parents=True)
    detector = make_detector(choose_detector("yunet", yunet_model))
    people = ("aajsqyyjni", "knqhpwoigk", "lynaeydofd", "004", "519", "634")
    for name, person in zip(FAMILIES, people, strict=True):
        (clip,) = real_clips.glob(f"*/{person}.mp4")
        frames = list(_frames(clip, 10))
        _write(part / f"{name}.mp4", frames)
        for frame in frames:
            for face in detector.detect(Still(frame)):
                inside = np.s_[face.y : face.y + face.h, face.x : face.x + face.w]
                frame[inside] = np.roll(frame[inside], 60, axis=2)[::-1]
        _write(part / f"{name}_fake.mp4", frames)
        make_family(part, f"{name}.mp4", [f"{name}_fake.mp4"])
    return part.parent


def _frames(path: Path, count: int) -> Iterator[np.ndarray]:
    with av.open(str(path)) as clip:
        for _, frame in zip(range(count), clip.decode(video=0), strict=False):
            scale = 640 / max(frame.width, frame.height)
            size = (round(frame.width * scale) // 2 * 2, round(frame.height * scale) // 2 * 2)
            yield frame.to_ndarray(format="rgb24", width=size[0], height=size[1]).copy()


def _write(path: Path, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "veryfast", "threads": "1"}
        for frame in frames:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        clip.mux(stream.encode())


def with_clips(here: Path, dfdc: Path) -> None:
    (here / "dfdc").symlink_to(dfdc)


def with_data_sets(here: Path, dfdc: Path) -> None:
    clips = [next(dfdc.glob(f"*/{name}.mp4")) for name in ("aaa", "aaa_fake")]
    make_faceforensics(here / "FaceForensics", *clips)
    make_celeb_df(here / "Celeb-DF-v2", *clips)
    make_flat(here / "dfdc_test" / "test", *clips)
    make_table(here / "clips", *clips)
    (here / "clips" / "clips.csv").rename(here / "clips.csv")


def with_tables(here: Path, _: Path) -> None:
    faces = make_faces(here / "made", families=20, suffix="jpg")
    (here / "faces_224").mkdir()
    rows, paths = [], sorted((faces / "crops").glob("*/*/*.jpg"))
    for path in paths:
        name = path.parent.name
        path.rename(here / "faces_224" / f"{name}.jpg")
        original = f"clip{name[4:7]}.mp4" if name.startswith("fake") else ""
        rows.append(f"{name}.mp4,1920,1080,{'FAKE' if original else 'REAL'},{original}\n")
    header = "videoname,original_width,original_height,label,original\n"
    (here / "metadata.csv").write_text(header + "".join(rows))
    rows = []
    for number in range(40):
        label, split = ("real", "fake")[number % 2], ("train", "train", "test", "test")[number % 4]
        for frame in range(2):
            folder = f"{split}/{label}/v_{number:02}_a"
            path = here / "crops" / folder / f"v_{number:02}_{frame:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(here / "faces_224" / paths[number].parent.with_suffix(".jpg").name, path)
            rows.append(f"{folder}/{path.name},{label},room{number}\n")
    (here / "frames.csv").write_text("path,label,scene\n" + "".join(rows))


def with_faces(here: Path, _: Path) -> None:
    faces_folder(here / "faces")
    for name in ("dfdc", "ff", "celeb"):
        make_set(here / f"faces_{name}", name, families=6, methods=["one"])


def with_shards(here: Path, _: Path) -> None:
    with_faces(here, _)
    dfdc_prep.shard(here / "faces", here / "shards")
    shutil.copytree(here / "shards", here / "celeb_shards")
    shutil.copytree(here / "shards", here / "ffpp_shards")


def with_report(here: Path, dfdc: Path) -> None:
    with_shards(here, dfdc)
    run_folder(here / "runs" / "v1.3")


def with_recipe(here: Path, dfdc: Path) -> None:
    with_clips(here, dfdc)
    for line in ("extract dfdc faces --frames 2", "balance faces", "shard faces shards"):
        run(f"dfdc-prep {line}")
    (here / "card.json").write_text('{"license": "CC BY 4.0", "citeAs": "Us, 2026"}')
    (here / "boxes.csv").write_text("video,frame,x,y,w,h\naaa.mp4,0,10,10,99,99\n")
    (here / "selimsef_boxes").mkdir()
    (here / "selimsef_boxes" / "aaa.json").write_text('{"0": [[5.5, 5, 50, 50]]}')


def with_run(here: Path, dfdc: Path) -> None:
    import keras

    made = dfdc.parent / "trained"
    if not made.is_dir():
        made.mkdir()
        os.chdir(made)
        with_shards(made, dfdc)
        run("dfdc-prep fit shards")
        pixels = keras.Input((224, 224, 3))
        score = keras.layers.Dense(1, "sigmoid")(keras.layers.GlobalAveragePooling2D()(pixels))
        keras.Model(pixels, score).save("model.h5")
        Path("clips").mkdir()
        for name in ("clip.mp4", "clips/aaa.mp4"):
            shutil.copy(dfdc / "dfdc_train_part_0" / "aaa.mp4", name)
        Image.fromarray(next(_frames(Path("clip.mp4"), 1))).save("photo.jpg")
        os.chdir(here)
    shutil.copytree(made, here, symlinks=True, dirs_exist_ok=True)


#: What lies in the folder where the commands of a page are run.
FOLDERS: dict[str, Callable[[Path, Path], None]] = {
    "README.md": with_clips,
    "docs/datasets.md": with_data_sets,
    "docs/evaluate.md": with_run,
    "docs/export.md": with_faces,
    "docs/extract.md": with_clips,
    "docs/forgery.md": with_clips,
    "docs/identities.md": with_clips,
    "docs/index.md": with_clips,
    "docs/paper.md": with_tables,
    "docs/probe.md": with_shards,
    "docs/recipe.md": with_recipe,
    "docs/report.md": with_report,
    "docs/scale.md": with_clips,
    "docs/shards.md": with_faces,
    "docs/tables.md": with_tables,
    "docs/training.md": with_run,
    "examples/slurm.sh": with_clips,
}


@pytest.fixture
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An EfficientNet of one block, a quarter as wide, in the place of B4."""
    import keras
    from keras.src.applications.efficientnet import DEFAULT_BLOCKS_ARGS, EfficientNet

    def smallest(**options: object) -> keras.Model:
        blocks = DEFAULT_BLOCKS_ARGS[:1]
        return EfficientNet(0.25, 0.25, 224, blocks_args=blocks, name="efficientnetb4", **options)

    monkeypatch.setattr(keras.applications, "EfficientNetB4", smallest)


@pytest.fixture
def here(tmp_path: Path, yunet_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, on a machine that has YuNet's weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DFDC_PREP_YUNET", str(yunet_model))
    for name, value in {
        "CPUS_PER_TASK": "1",
        "ARRAY_TASK_ID": "1",
        "ARRAY_TASK_COUNT": "1",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return tmp_path


def run(line: str) -> str:
    """Run a command in this process; return what it printed."""
    words = shlex.split(os.path.expandvars(line))[1:]
    words += SMALLER.get(words[0], ()) if "--weights" not in words else ()
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    # 3: leaks were found, or clips lack that a list names.
    allowed = (0, 3) if words[0] in ("audit", "extract", "identify") else (0,)
    assert done.exit_code in allowed, f"{line}\n{done.output}"
    return done.output


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_page_runs(
    name: str, here: Path, request: pytest.FixtureRequest
) -> None:
    lines = command_lines(PAGES[name])
    for line in lines:
        parse(os.path.expandvars(line))
    not_run = dict.fromkeys(lines, _NOTEBOOK) if name.endswith(".ipynb") else NOT_RUN.get(name, {})
    assert not_run.keys() <= set(lines), "listed, but not on the page"
    todo = [line for line in lines if line not in not_run]
    if not todo:
        return
    if any(re.search(" (fit|evaluate|predict) ", line) for line in todo):
        request.getfixturevalue("small_backbone")
    FOLDERS[name](here, request.getfixturevalue("dfdc"))
    # The script gathers in a job of its own, after the slices.
    for line in sorted(todo, key=lambda line: " gather " in line):
        said = run(line)
        assert not (wrong := PLURAL_OF_ONE.search(said)), f"{line}: {wrong and wrong[0]}\n{said}"


@pytest.mark.parametrize("name", PAGES)
def test_commands_in_sentences_are_commands(name: str) -> None:
    spans = re.findall(r"`(dfdc-prep [^`]+)`", PAGES[name].read_text())
    known = sorted(commands(), key=len, reverse=True)
    for words in (" ".join(span.split()) for span in spans if "COMMAND" not in span):
        typed = next((each for each in known if f"{words} ".startswith(f"{each} ")), None)
        assert typed or words in ("dfdc-prep export", "dfdc-prep --help"), words
        if typed and len(words) > len(typed) and "..." not in words:
            with suppress(click.MissingParameter, click.BadOptionUsage):
                parse(words)
