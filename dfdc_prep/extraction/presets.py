"""Named sets of options that reproduce the preprocessing of published work."""

from dataclasses import dataclass

from dfdc_prep.crops.alignment import FIVE_POINT, NONE
from dfdc_prep.crops.geometry import MARGIN
from dfdc_prep.extraction.clip import LARGEST
from manifests.columns import CROP_SIZE


@dataclass(frozen=True)
class Preset:
    """The options that a preset sets; see `CropOptions`."""

    frames: int
    faces: str
    align: str
    margin: float
    size: int


#: `paper`: the defaults, after Zhalgasbayev, Aiteni and Khaimuldin. `deepfakebench`: Yan et al.,
#: 2023, `preprocessing/preprocess.py`; its template is enlarged by 1.3 in all, hence by 0.15 on
#: each side. `selimsef`: the challenge's winner, `preprocessing/extract_crops.py`.
PRESETS = {
    "paper": Preset(1, LARGEST, NONE, MARGIN, CROP_SIZE),
    "deepfakebench": Preset(32, LARGEST, FIVE_POINT, 0.15, 256),
    "selimsef": Preset(32, LARGEST, NONE, 0.3, CROP_SIZE),
}
