"""Evidence of who is filmed: the mean face of each family, whether it is weak, and links.

Links are weak evidence that two clips show one person. To keep people apart, the safe error is to
join. Average linkage leaves one person in several groups: in another pose, dark, or where only a
fake shows the clip. Two kinds of links join these:

- Faces in the same scene: the more alike the scenes are, the further apart the faces may be.
- A face that is weak evidence, and its nearest neighbour.

The limits were set on DFDC crops and on photographs of known people; docs/identities.md has
the figures.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import FAKE
from manifests.pictures.thumbnails import SCENE_LENGTH, SCENE_SIDE, Floats, Pictures, scenes
from manifests.schemas import ENCODING_SIZE
from manifests.tables.codes import Codes, Mask, factorize_sorted

Encodings = npt.NDArray[np.float64]

DARK, PROFILE, SMALL = "dark", "profile", "small"
#: The faces of one clip differ too much to be of one person.
SPREAD = "spread"
#: Only a fake shows the clip: its face drifts from the person filmed.
FAKED = "fake"
#: A person should look at it: it could join another group, or was joined only just.
NEAR = "near"
#: Weak evidence that resembles nobody.
ALONE = "alone"

#: Smallest mean luma of a face, 0 to 255. Dark faces of strangers resemble each other.
MIN_LIGHT = 40.0
#: Largest asymmetry of a face: profiles lie above it, three-quarter views below.
MAX_ASYMMETRY = 0.35
#: Smallest longer side of a face box, pixels.
MIN_SIZE = 40.0
#: Largest distance between two faces of one clip.
MAX_SPREAD = 0.5
#: Values at which more of the same no longer improves a face.
_FULL_LIGHT, _FULL_SIZE = 80.0, 120.0


def flaws(light: float, asymmetry: float, size: float | None) -> tuple[str, ...]:
    """Return why a face is weak evidence, nothing for a good face.

    Args:
        light: mean luma of the face box, 0 to 255.
        asymmetry: see `dfdc_prep.identities.encoder`.
        size: longer side of the face box, pixels; None if unknown.
    """
    weak = {
        DARK: light < MIN_LIGHT,
        PROFILE: asymmetry > MAX_ASYMMETRY,
        SMALL: size is not None and size < MIN_SIZE,
    }
    return tuple(flaw for flaw, present in weak.items() if present)


def quality(light: float, asymmetry: float, size: float | None, score: float | None) -> float:
    """Return how well a face suits encoding; a good face always beats a weak one.

    `score` is the detector's confidence, on its own scale; None if unknown. For the rest see
    `flaws`.
    """
    value = min(1.0, light / _FULL_LIGHT) * max(0.0, 1.0 - asymmetry)
    value *= 1.0 if size is None else min(1.0, size / _FULL_SIZE)
    value *= 1.0 if score is None else max(0.0, min(1.0, score))
    return value + (0.0 if flaws(light, asymmetry, size) else 1.0)


class FamilyFaces(NamedTuple):
    """The faces of the families that have one."""

    family: Codes  # int64 [n], number of the family, ascending
    # Mean encoding of the original, or of its fakes if none of its crops is there,
    # float64 [n, ENCODING_SIZE].
    mean: Encodings
    faces: Codes  # int64 [n], crops encoded
    doubts: tuple[tuple[str, ...], ...]  # [n], why the encoding is weak evidence: words above

    @property
    def weak(self) -> Mask:
        """Which faces are weak evidence, bool [n]."""
        return np.array([bool(doubts) for doubts in self.doubts], bool)

    @property
    def filmed(self) -> Mask:
        """Which faces are those of originals, bool [n]."""
        return np.array([FAKED not in doubts for doubts in self.doubts], bool)


def encoding_matrix(encodings: pa.Table) -> Encodings:
    """Return the column `encoding` as an array, float64 [rows, ENCODING_SIZE]."""
    flat = encodings["encoding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix: Encodings = flat.reshape(-1, ENCODING_SIZE).astype(np.float64)
    return matrix


def family_faces(encodings: pa.Table, names: pa.Array) -> FamilyFaces:
    """Average the faces of each family.

    Args:
        encodings: with the columns of `ENCODING_SCHEMA`.
        names: string [families], sorted; families that it lacks are ignored.
    """
    from scipy.spatial.distance import pdist

    number = pc.index_in(encodings["family"], names)
    encodings = encodings.filter(pc.is_valid(number))
    number = number.drop_null().to_numpy().astype(np.int64)
    matrix = encoding_matrix(encodings)
    looks = encodings.select(["light", "asymmetry", "size"]).to_pylist()
    fake = pc.equal(encodings["label"], FAKE).to_numpy()
    families, starts, counts = np.unique(np.sort(number), return_index=True, return_counts=True)
    crops = np.split(np.argsort(number, kind="stable"), starts)[1:]
    mean = np.array([matrix[own].mean(axis=0) for own in crops]).reshape(-1, ENCODING_SIZE)
    doubts = []
    for own in crops:
        found = {flaw for crop in own for flaw in flaws(**looks[crop])}
        if fake[own].any():
            found.add(FAKED)
        if len(own) > 1 and pdist(matrix[own]).max() > MAX_SPREAD:
            found.add(SPREAD)
        doubts.append(tuple(sorted(found)))
    return FamilyFaces(families, mean, counts, tuple(doubts))


#: Least correlation of two scenes that are alike.
MIN_SCENE = 0.9
#: Largest distance of two faces in scenes that are just alike, and how much more is allowed per
#: unit of correlation above it: 0.75 in the same picture.
SCENE_DISTANCE, _SCENE_WORTH = 0.45, 3.0
#: Largest distance of a weak face from its nearest neighbour.
WEAK_DISTANCE = 0.5
#: Rows of a matrix in memory at a time.
_BLOCK = 512

#: A link of two families, by their numbers: the distance of their faces; the smaller the strength
#: the stronger it is.
LINK = np.dtype(
    [("first", np.int64), ("second", np.int64), ("distance", np.float64), ("strength", np.float64)]
)
Links: TypeAlias = npt.NDArray[Any]


class FamilyPictures(NamedTuple):
    """The pictures of families, which are numbered by name."""

    alike: Codes  # int64 [pairs, 2], families with near-identical pictures, the most alike first
    family: Codes  # int64 [pictures], the family of each
    scenes: Floats  # float32 [pictures, pixels]


#: What is known of families whose pictures were not read.
NO_PICTURES = FamilyPictures(
    np.empty((0, 2), np.int64),
    np.empty(0, np.int64),
    np.empty((0, SCENE_SIDE * SCENE_SIDE), np.float32),
)


def compare_pictures(manifest: pa.Table, pictures: Pictures) -> FamilyPictures:
    """Compare the pictures of the families of a manifest."""
    # Imported here: the processes that encode faces do not need scipy.
    from manifests.pictures.near_identical import find_in_table

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


def find_links(faces: FamilyFaces, pictures: FamilyPictures) -> Links:
    """Find the links of families that have a face, the strongest first; [links] of `LINK`."""
    parts = [np.empty(0, LINK), *_scene_links(faces, pictures), *_nearest_links(faces)]
    found = np.concatenate(parts)
    return found[np.lexsort((found["second"], found["first"], found["strength"]))]


def _scene_links(faces: FamilyFaces, pictures: FamilyPictures) -> Iterator[Links]:
    shown = np.isin(pictures.family, faces.family)
    family, scenes = pictures.family[shown], pictures.scenes[shown]
    face = np.searchsorted(faces.family, family)
    for start in range(0, len(scenes), _BLOCK):
        alike = scenes[start : start + _BLOCK] @ scenes[start:].T / np.float32(SCENE_LENGTH**2)
        row, column = np.nonzero(alike >= MIN_SCENE)
        later = (family[row + start] != family[column + start]) & (column > row)
        row, column = row[later], column[later]
        worth = _SCENE_WORTH * (alike[row, column].astype(np.float64) - MIN_SCENE)
        row, column = row + start, column + start
        distance = np.linalg.norm(faces.mean[face[row]] - faces.mean[face[column]], axis=1)
        pair = np.sort(np.stack([family[row], family[column]]), axis=0)
        found = np.rec.fromarrays([*pair, distance, distance - worth], LINK)
        yield found[found["strength"] <= SCENE_DISTANCE]


def _nearest_links(faces: FamilyFaces) -> Iterator[Links]:
    from scipy.spatial.distance import cdist

    weak, filmed = np.flatnonzero(faces.weak), np.flatnonzero(faces.filmed)
    for start in range(0, len(weak) if len(filmed) else 0, _BLOCK):
        first = weak[start : start + _BLOCK]
        distance = cdist(faces.mean[first], faces.mean[filmed])
        distance[first[:, None] == filmed] = np.inf
        second, nearest = filmed[distance.argmin(axis=1)], distance.min(axis=1)
        columns = [faces.family[first], faces.family[second], nearest, nearest]
        yield np.rec.fromarrays(columns, LINK)[nearest <= WEAK_DISTANCE]
