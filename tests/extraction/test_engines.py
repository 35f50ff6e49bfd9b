"""The choice of an engine: what needs Ray, and what must not load it."""

import subprocess
import sys
from pathlib import Path

import pytest

import dfdc_prep
from dfdc_prep.errors import WorkersError


def test_without_ray_a_sentence_names_the_extra(
    real_clips: Path, yunet_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkersError, match=r"pip install 'dfdc-prep\[ray\]'"):
        dfdc_prep.extract(
            real_clips, tmp_path / "faces", engine="ray", detector_model=yunet_model, limit=1
        )


def test_an_address_needs_the_engine(real_clips: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkersError, match="expected --engine ray with --address"):
        dfdc_prep.extract(real_clips, tmp_path / "faces", address="10.0.0.1:6379")


def test_a_local_run_loads_no_ray(real_clips: Path, yunet_model: Path, tmp_path: Path) -> None:
    words = ["extract", str(real_clips), str(tmp_path / "faces"), "--limit", "1"]
    words += ["--detector-model", str(yunet_model)]
    code = (
        "import sys\nfrom cli import main\n"
        "if __name__ == '__main__':\n"
        "    main(sys.argv[1:], standalone_mode=False)\n"
        "    print([name for name in ('ray', 'fsspec') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
