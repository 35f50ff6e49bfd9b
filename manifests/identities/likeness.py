"""What the pictures of families tell beside the faces: the same footage, and the scene."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from manifests.pictures.near_identical import find_in_table
from manifests.pictures.scenes import SIDE, Scenes, scenes
from manifests.pictures.thumbnails import Pictures
from manifests.tables.factorize import Codes, factorize_sorted


@dataclass(frozen=True)
class FamilyPictures:
    """The pictures of families, which are numbered by name.

    Attributes:
        alike: int64 [pairs, 2], families with near-identical pictures, the most alike first.
        family: int64 [pictures], the family of each.
        scenes: float32 [pictures, pixels].
    """

    alike: Codes
    family: Codes
    scenes: Scenes


#: What is known of families whose pictures were not read.
NO_PICTURES = FamilyPictures(
    np.empty((0, 2), np.int64), np.empty(0, np.int64), np.empty((0, SIDE * SIDE), np.float32)
)


def compare_pictures(manifest: pa.Table, pictures: Pictures) -> FamilyPictures:
    """Compare the pictures of the families of a manifest.

    Args:
        pictures: of rows of the manifest.
    """
    (family,), _ = factorize_sorted(manifest["family"])
    near = find_in_table(pictures, family)
    # Equal pictures, then similar ones.
    seen = np.flatnonzero(near.picture >= 0)
    seen = seen[np.lexsort((family[seen], near.picture[seen]))]
    equal = near.picture[seen[1:]] == near.picture[seen[:-1]]
    same = np.stack([family[seen[:-1]][equal], family[seen[1:]][equal]], axis=1)
    first_row = seen[np.searchsorted(near.picture[seen], np.stack([near.first, near.second], 1))]
    similar = family[first_row][np.lexsort((near.second, near.first, -near.likeness))]
    alike = np.sort(np.concatenate([same, similar.reshape(-1, 2)]), axis=1)
    alike = alike[alike[:, 0] != alike[:, 1]]
    return FamilyPictures(alike, family[pictures.rows], scenes(pictures.thumbnails))
