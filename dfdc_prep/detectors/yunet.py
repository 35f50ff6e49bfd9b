"""OpenCV's YuNet: small, fast, and right on profiles and in the dark."""

from pathlib import Path

import cv2

from dfdc_prep.detectors.face import Face, Found, climb
from dfdc_prep.errors import ModelError
from dfdc_prep.video import Image, Picture

#: 640 finds every face of DFDC's clips; 1280 is for the small ones it leaves.
LONG_SIDES = (640, 1280)
MIN_SCORE = 0.7
#: A network per picture size: the sizes of a data set are few, those of hostile input many.
_KEPT_SIZES = 8


class YuNet:
    """YuNet through `cv2.FaceDetectorYN`.

    Args:
        model: path of the ONNX file.

    Raises:
        ModelError: OpenCV cannot read the file.
    """

    name = "yunet"

    def __init__(self, model: Path) -> None:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._model = str(model)
        self._networks: dict[tuple[int, int], cv2.FaceDetectorYN] = {}
        self._network((64, 64))

    def detect(self, picture: Picture) -> list[Face]:
        return climb(picture, LONG_SIDES, self._look)

    def _look(self, image: Image) -> list[Found]:
        height, width = image.shape[:2]
        network = self._network((width, height))
        _, rows = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if rows is None:
            return []
        # A row: x, y, w, h, five landmarks as x and y, score.
        return [(x, y, w, h, row[-1]) for row in rows.tolist() for x, y, w, h in [row[:4]]]

    def _network(self, size: tuple[int, int]) -> cv2.FaceDetectorYN:
        if size not in self._networks:
            if len(self._networks) == _KEPT_SIZES:
                self._networks.pop(next(iter(self._networks)))
            try:
                made = cv2.FaceDetectorYN.create(self._model, "", size, MIN_SCORE)
            except cv2.error as error:
                raise ModelError(
                    f"expected YuNet's weights in {self._model}, found what OpenCV cannot read; "
                    "delete the file to have it fetched again, or use --detector hog"
                ) from error
            self._networks[size] = made
        return self._networks[size]
