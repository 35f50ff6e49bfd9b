"""The quickstart notebook runs from start to end in an empty folder."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def test_no_outputs_are_stored() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert "/home/" not in NOTEBOOK.read_text()


@pytest.mark.slow
# A kernel opens sockets that are closed when the garbage collector finds them.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_notebook_runs(tmp_path: Path, yunet_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_PREP_YUNET", str(yunet_model))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    # The kernel of this environment, and not one of the same name that the user has installed.
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    shown = "".join(
        str(output.get("data", {}).get("text/html", ""))
        + ("image/png" if "image/png" in output.get("data", {}) else "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    assert "image/png" in shown
    assert "crops in quickstart/faces" in shown
    assert "leaks: the splits share near-identical images; not compared: people" in shown
    assert "0 failed" not in shown
    assert (tmp_path / "quickstart" / "shards" / "SHA256SUMS").is_file()
