"""Recipes made earlier give the same bytes; if they do not, the library that moved is named."""

from pathlib import Path

import pytest

import dfdc_prep
from dfdc_prep.recipe.comparison import Comparison
from tests.extraction.test_run import digest
from tests.recipe.keep import KEPT, make_sample

pytestmark = pytest.mark.slow


def check(recipe: str, source: Path, out: Path) -> None:
    """Rebuild a recipe that is kept; the failure shows what differs, and versions that do."""
    found = dfdc_prep.rebuild(KEPT / recipe, source, out, workers=2)
    assert isinstance(found, Comparison)
    same = found.clips.keys() == {"same"} and found.crops.keys() == {"same to the byte"}
    assert same, str(found)
    assert set(found.files.values()) == {"same"}, str(found)
    assert len(digest(out)) == found.crops["same to the byte"] + 2


def test_the_sample(tmp_path: Path) -> None:
    check("sample.recipe", make_sample(tmp_path), tmp_path / "faces")


def test_the_clips(real_clips: Path, tmp_path: Path) -> None:
    check("dfdc.recipe", real_clips, tmp_path / "faces")
