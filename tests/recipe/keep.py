"""Makes the recipes that are kept here, of the sample and of the clips beside the checkout.

    DFDC_PREP_YUNET=... python -m tests.recipe.keep

Run it after a change of the crops or tables that is meant.
"""

import tempfile
from pathlib import Path

import dfdc_prep
from dfdc_prep.commands.extract import sample
from tests.conftest import SHARED

KEPT = Path(__file__).with_name("kept")


def make_sample(folder: Path) -> Path:
    """The sample that the recipe is of."""
    sample(folder / "sample", families=3, seed=5)
    return folder / "sample"


def main() -> None:
    """Write the recipes."""
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, frames in ((make_sample(folder), 3), (SHARED / "data" / "dfdc", 10)):
            faces = folder / "faces" / source.name
            dfdc_prep.extract(source, faces, frames=frames)
            dfdc_prep.balance(faces, frames_per_clip=2)
            dfdc_prep.make_recipe(faces, KEPT / f"{source.name}.recipe", landmarks=True)


if __name__ == "__main__":
    main()
