"""dlib's HOG and CNN face detectors, with the weights shipped in `face_recognition`.

HOG runs on a grayscale copy, which gives the same detections as color in less time. The module
calls the detector objects directly because `face_recognition.face_locations` discards scores.

None has a fast path, because coarse-to-fine detection does not pay off here. HOG's box sizes are
quantized in steps of a fifth, so one box in seven differs, and only a fifth of the time is saved.
The CNN finds no faces at half the size.
"""

import warnings
from typing import Any

import cv2
import numpy as np
from PIL import ImageFile

from dfdc_prep.detectors.base import Detector, Face, RawDetection, detect_at_scales
from dfdc_prep.errors import ModelError
from dfdc_prep.video.picture import Image, Picture

#: Longer sides of the copies, pixels. With dlib upsampling once, HOG finds faces of at least 120
#: pixels in a 1080p frame at the first scale and 60 at the second. A third scale at full size
#: doubled the time and found no further faces.
_LONG_SIDES = (640, 1280)
#: The share of pixels below the level that becomes white where a picture is brightened.
_BRIGHTEST = 0.995


def face_recognition_api() -> Any:
    """Import and return the module `face_recognition.api`.

    Its import warns about `pkg_resources` and calls `quit()` if setuptools does not provide it.
    It also makes Pillow accept truncated images in the whole process; this is reverted because
    `import`, `shard` and `verify` must reject such images.

    Raises:
        ModelError: face_recognition, dlib or pkg_resources is missing.
    """
    load_truncated = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import face_recognition.api
    except (ImportError, SystemExit) as error:
        raise ModelError(
            "expected the packages face_recognition, dlib and setuptools<82 for the detectors "
            "hog and cnn, found that one is missing; run scripts/install or pip install dlib-bin, "
            "or use --detector yunet"
        ) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = load_truncated
    return face_recognition.api


class Hog(Detector):
    """dlib's HOG detector; finds frontal faces only."""

    name = "hog"

    def __init__(self) -> None:
        self._detector = face_recognition_api().face_detector

    def detect(self, picture: Picture) -> list[Face]:
        return detect_at_scales(picture, _LONG_SIDES, self.detect_image)

    def detect_image(self, image: Image) -> list[RawDetection]:
        """The faces in an RGB image, in its pixels."""
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        boxes, scores, _ = self._detector.run(gray, 1, 0.0)
        return [_raw_detection(box, score) for box, score in zip(boxes, scores, strict=True)]


class Cnn(Detector):
    """dlib's CNN detector (MMOD); also finds profiles, takes seconds per frame without a GPU."""

    name = "cnn"

    def __init__(self) -> None:
        self._detector = face_recognition_api().cnn_face_detector

    def detect(self, picture: Picture) -> list[Face]:
        return detect_at_scales(picture, _LONG_SIDES, self.detect_image)

    def detect_image(self, image: Image) -> list[RawDetection]:
        """The faces in an RGB image, in its pixels."""
        detections = self._detector(np.ascontiguousarray(image), 0)
        return [_raw_detection(found.rect, found.confidence) for found in detections]


class HogThenCnn(Detector):
    """HOG, with the CNN as a fallback if HOG finds no face."""

    name = "hog+cnn"

    def __init__(self) -> None:
        self._hog, self._cnn = Hog(), Cnn()

    def detect(self, picture: Picture) -> list[Face]:
        return self._hog.detect(picture) or self._cnn.detect(picture)


class BrightHogThenCnn(Detector):
    """HOG on brightened copies, with the CNN on them as a fallback if HOG finds no face."""

    name = "bright-hog+cnn"

    def __init__(self) -> None:
        self._hog, self._cnn = Hog(), Cnn()

    def detect(self, picture: Picture) -> list[Face]:
        def hog(image: Image) -> list[RawDetection]:
            return self._hog.detect_image(brightened(image))

        def cnn(image: Image) -> list[RawDetection]:
            return self._cnn.detect_image(brightened(image))

        return detect_at_scales(picture, _LONG_SIDES, hog) or detect_at_scales(
            picture, _LONG_SIDES, cnn
        )


def brightened(image: Image) -> Image:
    """Scale the levels of an RGB image such that 99.5 % of its pixels span all of them.

    The gradients of a dark picture are few levels high, which costs HOG half of its faces at a
    tenth of the brightness. A bright picture stays as it is.
    """
    counts = np.bincount(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).ravel(), minlength=256)
    top = max(1, int(np.searchsorted(counts.cumsum(), _BRIGHTEST * counts.sum())))
    levels = np.minimum(255, (np.arange(256) * 255 + top // 2) // top).astype(np.uint8)
    return np.asarray(cv2.LUT(image, levels), dtype=np.uint8)


def _raw_detection(box: Any, score: float) -> RawDetection:
    return RawDetection(box.left(), box.top(), box.width(), box.height(), float(score))
