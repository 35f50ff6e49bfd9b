"""Two public-domain portraits from installed packages, and face swaps between them.

Eileen Collins is in scikit-image, Grace Hopper in matplotlib; both photographs are works of the
United States government. Nothing is downloaded.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator
from skimage import data

from dfdc_prep.detectors.dlib_detectors import face_recognition_api
from dfdc_prep.errors import SourceError
from dfdc_prep.video.picture import Image

Points = npt.NDArray[np.float64]

#: Distance between the eyes after scaling a portrait, pixels.
EYE_DISTANCE = 82.0

#: Rough outlines of the persons, pixels of the photographs; GrabCut refines them.
_COLLINS = (
    "192,26 225,13 275,25 302,70 300,115 278,133 262,145 257,165 259,178 282,195 303,215 305,235 "
    "345,260 362,330 362,350 400,345 450,360 488,400 500,460 500,512 20,512 18,420 40,290 70,240 "
    "112,220 112,185 150,150 183,160 178,128 155,100 156,66 170,46"
)
_HOPPER = (
    "240,20 300,30 352,70 372,100 370,140 376,190 372,230 345,290 332,320 350,340 430,365 490,395 "
    "508,460 512,600 12,600 15,560 25,480 38,430 50,380 80,370 200,318 198,295 180,272 157,210 "
    "158,180 150,130 172,60"
)


@dataclass(frozen=True)
class Portrait:
    """A person segmented from a photograph."""

    image: Image  # RGB [height, width, 3]
    alpha: Image  # [height, width], 255 inside the person
    points: Points  # [n, 2], x and y of the face landmarks and of points on the forehead
    eyes: Points  # [2], x and y of the point between the eyes


@dataclass(frozen=True)
class Swap:
    """Parameters of a face swap; they differ between the fakes of a family."""

    strength: float  # opacity of the new face: 0 keeps the old face, 1 replaces it
    fit: float  # 1 warps the new face to every landmark of the old, 0 applies only an affine map
    blur: float  # sigma of the Gaussian blur that imitates a generator, pixels of the portrait
    tone: tuple[float, float, float]  # error of the colour matching, RGB levels of 0 to 255

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Swap":
        """Random parameters with the quality of DFDC's fakes: mostly good, never perfect."""
        red, green, blue = rng.normal(0, 4, 3)
        return cls(
            strength=rng.uniform(0.88, 1),
            fit=rng.uniform(0.2, 0.7),
            blur=rng.uniform(0.3, 1.2),
            tone=(float(red), float(green), float(blue)),
        )


@cache
def portraits() -> tuple[Portrait, Portrait]:
    """Collins and Hopper, with landmarks, scaled to the same distance between the eyes.

    Raises:
        ModelError: face_recognition or one of its dependencies is not installed.
        SourceError: matplotlib is installed without its sample data.
    """
    collins = data.astronaut()
    # dlib detects a face in the mission patch: inpaint it.
    patch = np.zeros(collins.shape[:2], np.uint8)
    cv2.circle(patch, (174, 387), 51, 255, -1)
    plain = cv2.GaussianBlur(cv2.inpaint(collins, patch, 5, cv2.INPAINT_TELEA), (0, 0), 9)
    soft = cv2.GaussianBlur(patch, (0, 0), 3)[..., None] / 255
    collins = _as_image((soft * plain + (1 - soft) * collins).round())
    return _make_portrait(collins, _COLLINS), _make_portrait(_hopper(), _HOPPER)


def _hopper() -> Image:
    path = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    found = cv2.imread(str(path))
    if found is None:
        raise SourceError(
            f"expected a portrait at {path}, found none; install matplotlib from its wheel"
        )
    return _as_image(cv2.cvtColor(found, cv2.COLOR_BGR2RGB))


def _make_portrait(photograph: Image, outline: str) -> Portrait:
    """Find landmarks, segment the person and scale the photograph."""
    marks = face_recognition_api().face_landmarks(photograph)[0]  # the only face
    left, right = (np.mean(marks[name], axis=0) for name in ("left_eye", "right_eye"))
    scale = EYE_DISTANCE / float(np.linalg.norm(right - left))
    eyes = (left + right) / 2
    # dlib has no landmarks on the forehead: copy those of the eyebrows upwards.
    up = (eyes - np.mean(marks["top_lip"], axis=0)) / 8
    brows = np.array(marks["left_eyebrow"] + marks["right_eyebrow"])
    points = np.concatenate([*(np.array(part) for part in marks.values()), brows + up])
    image = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    alpha = cv2.resize(_matte(photograph, outline), None, fx=scale, fy=scale)
    return Portrait(_as_image(image), _as_image(alpha), points * scale, eyes * scale)


def _matte(photograph: Image, outline: str) -> Image:
    """The alpha channel of the person, uint8 [height, width], by GrabCut from an outline."""
    corners = np.array([point.split(",") for point in outline.split()], np.int32)
    person = np.zeros(photograph.shape[:2], np.uint8)
    cv2.fillPoly(person, [corners], 1)
    # Only a band around the outline is undecided.
    labels = np.full_like(person, cv2.GC_BGD)
    labels[cv2.dilate(person, _disc(13)) > 0] = cv2.GC_PR_FGD
    labels[cv2.erode(person, _disc(25), borderValue=1) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    state = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(photograph, labels, (0, 0, 0, 0), *state, 4, cv2.GC_INIT_WITH_MASK)
    # Erode by one pixel to exclude the seam of the old background.
    inside = cv2.erode((labels & 1) * np.uint8(255), _disc(3), borderValue=255)
    return _as_image(cv2.GaussianBlur(inside, (0, 0), 1.2))


def swap_face(body: Portrait, face: Portrait, swap: Swap) -> Image:
    """The photograph of `body` with the face of `face`, by Poisson image editing.

    Returns:
        uint8 [height, width, 3], RGB, of `body`'s size; pixels outside the face are unchanged.
    """
    (x, y), mask = _face_mask(body)
    height, width = mask.shape
    region = np.s_[y : y + height, x : x + width]
    old = body.image[region]
    # The new face, warped and colour-matched, then blended in.
    warped = _warp_face(body, face, swap.fit, (x, y), mask.shape)
    new = _match_colours(warped, old, mask)
    left, top, wide, high = cv2.boundingRect(mask)
    middle = left + wide // 2, top + high // 2
    # Pass a copy of the mask: OpenCV 5 inverts it in place.
    new = _as_image(
        cv2.seamlessClone(new, np.ascontiguousarray(old), mask.copy(), middle, cv2.NORMAL_CLONE)
    )
    # Imitate the artefacts of a generator, and mix with a soft edge.
    toned = cv2.GaussianBlur(new, (0, 0), swap.blur) + np.array(swap.tone, np.float32)
    soft = _soft_edge(mask)[..., None]
    swapped = body.image.copy()
    mixed = old + swap.strength * soft * (toned - old)
    swapped[region] = np.where(soft > 0, mixed.round().clip(0, 255), old)
    return swapped


def swapped_region(body: Portrait) -> npt.NDArray[np.float32]:
    """How much `swap_face` replaces each pixel of `body` at full strength.

    Returns:
        float32 [height, width], 0 where the pixel is kept to 1 where it is replaced.
    """
    (x, y), mask = _face_mask(body)
    weight = np.zeros(body.image.shape[:2], np.float32)
    weight[y : y + mask.shape[0], x : x + mask.shape[1]] = _soft_edge(mask)
    return weight


def _face_mask(body: Portrait) -> tuple[tuple[int, int], Image]:
    """The part of the photograph around the face: its corner, x and y, and the face in it, 255."""
    hull = cv2.convexHull(body.points.astype(np.int32))
    x, y, width, height = cv2.boundingRect(hull)
    pad = 8
    mask = np.zeros((height + 2 * pad, width + 2 * pad), np.uint8)
    cv2.fillConvexPoly(mask, hull - (x - pad, y - pad), 255)
    return (x - pad, y - pad), _as_image(cv2.erode(mask, _disc(7)))


def _soft_edge(mask: Image) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(cv2.erode(mask, _disc(9)), (0, 0), 4) / np.float32(255))


def _warp_face(
    body: Portrait, face: Portrait, fit: float, corner: tuple[int, int], shape: tuple[int, ...]
) -> Image:
    """Warp `face` to the landmarks of `body` with thin-plate splines.

    Args:
        fit: see `Swap`.
        corner: x and y of the region of `body` to fill.
        shape: height and width of the region.
    """
    # Least-squares affine map between the landmarks, mixed with the exact positions.
    flat = np.column_stack([face.points, np.ones(len(face.points))])
    affine = flat @ np.linalg.lstsq(flat, body.points, rcond=None)[0]
    goal = fit * body.points + (1 - fit) * affine
    # For every pixel of the region, its position in the photograph of `face`.
    columns, rows = np.meshgrid(np.arange(shape[1]) + corner[0], np.arange(shape[0]) + corner[1])
    grid = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
    # Smoothing, because landmarks are integers and those of the lips are duplicated.
    spline = RBFInterpolator(goal, face.points, smoothing=5.0)
    positions = spline(grid).reshape(*shape, 2).astype(np.float32)
    return _as_image(cv2.remap(face.image, positions, None, cv2.INTER_CUBIC))  # type: ignore[call-overload]


def _match_colours(new: Image, old: Image, mask: Image) -> Image:
    """`new` with the mean and deviation of `old` in CIELAB inside the mask (Reinhard 2001)."""
    lab_new, lab_old = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB) for image in (new, old))
    mean_new, std_new = cv2.meanStdDev(lab_new, mask=mask)
    mean_old, std_old = cv2.meanStdDev(lab_old, mask=mask)
    gain = (std_old / std_new).ravel().clip(0.7, 1.1)
    lab = (lab_new - mean_new.ravel()) * gain + mean_old.ravel()
    return _as_image(cv2.cvtColor(lab.round().clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB))


def _disc(size: int) -> Image:
    """A round structuring element, uint8 [size, size]."""
    return _as_image(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


def _as_image(array: Any) -> Image:
    return np.asarray(array, np.uint8)
