"""Evidence of who is filmed: when a face is weak evidence, and the mean face of each family.

The limits were set on DFDC crops and on photographs of known people; docs/identities.md has
the figures.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.columns import ENCODING_SIZE
from manifests.labels import FAKE
from manifests.tables.codes import Codes, Mask

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

    Args:
        score: the detector's confidence, on its own scale; None if unknown.
    """
    value = min(1.0, light / _FULL_LIGHT) * max(0.0, 1.0 - asymmetry)
    value *= 1.0 if size is None else min(1.0, size / _FULL_SIZE)
    value *= 1.0 if score is None else max(0.0, min(1.0, score))
    return value + (0.0 if flaws(light, asymmetry, size) else 1.0)


@dataclass(frozen=True)
class FamilyFaces:
    """The faces of the families that have one."""

    family: Codes  # int64 [n], number of the family, ascending
    # Mean encoding of the original, or of its fakes if none of its crops is there,
    # float64 [n, ENCODING_SIZE].
    mean: Encodings
    faces: Codes  # int64 [n], crops encoded
    # Why the encoding is weak evidence: [n] tuples of the words above.
    doubts: tuple[tuple[str, ...], ...]

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
    number = pc.index_in(encodings["family"], names)
    encodings = encodings.filter(pc.is_valid(number))
    number = number.drop_null().to_numpy().astype(np.int64)
    matrix = encoding_matrix(encodings)
    looks = encodings.select(["light", "asymmetry", "size"]).to_pylist()
    fake = pc.equal(encodings["label"], FAKE).to_numpy()
    families, starts, counts = np.unique(np.sort(number), return_index=True, return_counts=True)
    rows = np.split(np.argsort(number, kind="stable"), starts)[1:]
    mean = np.array([matrix[each].mean(axis=0) for each in rows]).reshape(-1, ENCODING_SIZE)
    doubts = (
        _doubts(matrix[each], [looks[row] for row in each], bool(fake[each].any())) for each in rows
    )
    return FamilyFaces(families, mean, counts, tuple(doubts))


def _doubts(faces: Encodings, looks: list[dict[str, float]], fake: bool) -> tuple[str, ...]:
    from scipy.spatial.distance import pdist

    found = {flaw for look in looks for flaw in flaws(**look)} | ({FAKED} if fake else set())
    if len(faces) > 1 and pdist(faces).max() > MAX_SPREAD:
        found.add(SPREAD)
    return tuple(sorted(found))
