"""The notebooks run from start to end: one in an empty folder, one on an input like Kaggle's."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# A kernel opens sockets that are closed when the garbage collector finds them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def execute(name: str, folder: Path) -> str:
    """Run a notebook in a folder; all that it shows."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(EXAMPLES.parent))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        # The kernel of this environment, and not one of the same name that the user has installed.
        patch.setenv("JUPYTER_DATA_DIR", str(folder / "data"))
        patch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output.get("data", {}) for output in outputs]
    parts = [data.get("text/html", "") + "image/png" * ("image/png" in data) for data in shown]
    return "".join([*parts, *(output.get("text", "") for output in outputs)])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_outputs_are_stored(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "/home/" not in path.read_text()


@pytest.mark.slow
def test_quickstart(tmp_path: Path, yunet_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_PREP_YUNET", str(yunet_model))
    shown = execute("quickstart.ipynb", tmp_path)
    assert "image/png" in shown
    assert "crops in quickstart/faces" in shown
    assert "leaks: the splits share near-identical images; not compared: people" in shown
    assert "0 failed" not in shown
    assert (tmp_path / "quickstart" / "shards" / "SHA256SUMS").is_file()


@pytest.fixture
def kaggle_input(real_clips: Path, tmp_path: Path) -> Iterator[Path]:
    """The challenge's input as Kaggle mounts it, with eight clips of five families; read-only."""
    folder = tmp_path / "input" / "deepfake-detection-challenge"
    train, tests = folder / "train_sample_videos", folder / "test_videos"
    train.mkdir(parents=True)
    tests.mkdir()
    pairs = ("004.mp4", "004_982.mp4", "519.mp4", "519_515.mp4", "634.mp4", "634_660.mp4")
    metadata = {}
    for part in real_clips.iterdir():
        for name, row in json.loads((part / "metadata.json").read_text()).items():
            if name in (*pairs, "aajsqyyjni.mp4", "abofeumbvv.mp4"):
                shutil.copyfile(part / name, train / name)
                metadata[name] = row
    (train / "metadata.json").write_text(json.dumps(metadata))
    names = ["aassnaulhq.mp4", "aayfryxljh.mp4"]
    for name, clip in zip(names, pairs[:2], strict=True):
        shutil.copyfile(train / clip, tests / name)
    rows = "".join(f"{name},0.5\n" for name in names)
    (folder / "sample_submission.csv").write_text(f"filename,label\n{rows}")
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield folder
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.slow
def test_kaggle(
    kaggle_input: Path, yunet_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the clips to submission.csv, with the disk foreseen and the input left as it was."""
    work = tmp_path / "working"
    work.mkdir()
    monkeypatch.setenv("DFDC_PREP_YUNET", str(yunet_model))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no internet
    monkeypatch.setenv("DFDC_INPUT", str(kaggle_input))
    monkeypatch.setenv("DFDC_WORK", str(work))
    monkeypatch.setenv("DFDC_SCRATCH", str(tmp_path / "temp"))
    monkeypatch.setenv("DFDC_REAL", "4")
    monkeypatch.setenv("DFDC_FAKE", "4")
    small = "--backbone EfficientNetB0 --epochs 1 --steps-per-epoch 1 --batch-size 4"
    monkeypatch.setenv("DFDC_FIT", f"--recipe v1.3 --weights none {small}")
    files = [kaggle_input, *kaggle_input.rglob("*")]
    before = {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}
    shown = execute("kaggle.ipynb", work)
    found = re.search(r"(\d+)% of the [\d.]+ GB expected", shown)
    assert found
    assert 90 <= int(found[1]) <= 110
    with (kaggle_input / "sample_submission.csv").open() as wanted:
        names = [row["filename"] for row in csv.DictReader(wanted)]
    with (work / "submission.csv").open() as written:
        scores = {row["filename"]: float(row["label"]) for row in csv.DictReader(written)}
    assert sorted(scores) == names
    assert all(0 <= score <= 1 for score in scores.values())
    assert (work / "run" / "report.html").is_file()
    files = [kaggle_input, *kaggle_input.rglob("*")]
    assert before == {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}
