"""dlib's two detectors, HOG and CNN, with the weights `face_recognition` carries.

HOG looks at a grey copy: it finds what it finds in colour, faster. Scores come from the
same detector objects `face_recognition.face_locations` runs, which drops them.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import ImageFile

from dfdc_prep.detectors.base import Face, Found, climb
from dfdc_prep.errors import ModelError
from dfdc_prep.video.picture import Image, Picture

#: With dlib's one doubling, HOG sees faces from 120 pixels of a 1080p frame on in the first
#: copy, from 60 on in the second. A third at full size found no more, in as long as all else.
HOG_LONG_SIDES = (640, 1280)
CNN_LONG_SIDES = (640, 1280)


def face_recognition_api() -> Any:
    """`face_recognition.api`, whose import warns of `pkg_resources` and quits without it.

    It also tells Pillow, for the whole process, to take truncated images for whole ones;
    that is undone, since `import`, `shard` and `verify` must see them for what they are.
    """
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import face_recognition.api
    except (ImportError, SystemExit) as error:
        raise ModelError(
            "expected the packages face_recognition, dlib and setuptools<82 for the detectors "
            "hog and cnn, found one missing; run scripts/install, or use --detector yunet"
        ) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
    return face_recognition.api


class _FullLooks:
    """Looks at every picture in full.

    Following a face is no gain here: HOG's boxes come in steps of a fifth of their size, so one
    in seven differs for a fifth of the time saved; the CNN finds no face in half the size.
    """

    def detect_quickly(self, picture: Picture, before: Sequence[Face]) -> None:
        return None


class Hog(_FullLooks):
    """dlib's HOG detector, frontal faces only."""

    name = "hog"

    def __init__(self) -> None:
        self._detector = face_recognition_api().face_detector

    def detect(self, picture: Picture) -> list[Face]:
        return climb(picture, HOG_LONG_SIDES, self._look)

    def _look(self, image: Image) -> list[Found]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        boxes, scores, _ = self._detector.run(grey, 1, 0.0)
        return [_found(box, score) for box, score in zip(boxes, scores, strict=True)]


class Cnn(_FullLooks):
    """dlib's CNN detector (MMOD): finds profiles, takes seconds a frame without a GPU."""

    name = "cnn"

    def __init__(self) -> None:
        self._detector = face_recognition_api().cnn_face_detector

    def detect(self, picture: Picture) -> list[Face]:
        return climb(picture, CNN_LONG_SIDES, self._look)

    def _look(self, image: Image) -> list[Found]:
        found = self._detector(np.ascontiguousarray(image), 0)
        return [_found(one.rect, one.confidence) for one in found]


class HogThenCnn(_FullLooks):
    """HOG, and the CNN as the last rung where HOG finds nothing."""

    name = "hog+cnn"

    def __init__(self) -> None:
        self._rungs = (Hog(), Cnn())

    def detect(self, picture: Picture) -> list[Face]:
        return next((faces for rung in self._rungs if (faces := rung.detect(picture))), [])


def _found(box: Any, score: float) -> Found:
    return box.left(), box.top(), box.width(), box.height(), float(score)
