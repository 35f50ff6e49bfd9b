"""YuNet, a small and fast face detector that also handles profiles and dark pictures.

It runs in ONNX Runtime, which takes half the time of OpenCV's `FaceDetectorYN` for the same
boxes. Source: Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dfdc_prep.detectors.base import (
    Face,
    Landmarks,
    RawDetection,
    detect_at_scales,
    detect_coarse_to_fine,
)
from dfdc_prep.errors import ModelError
from dfdc_prep.video.picture import Image, Picture

#: Longer sides of the copies, pixels. 640 finds almost every face in DFDC; 1280 is the
#: fallback for small ones.
LONG_SIDES = (640, 1280)
#: Detections with a lower score are discarded.
MIN_SCORE = 0.7
#: IoU threshold of the non-maximum suppression.
_NMS_IOU = 0.3
#: Strides of the network's three grids in pixels. Input sides must be multiples of the largest.
_STRIDES = (8, 16, 32)
_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES for kind in ("cls", "obj", "bbox", "kps")]


class YuNet:
    """YuNet on one CPU thread.

    Args:
        model: path of the ONNX file.

    Raises:
        ModelError: the file is not a YuNet model that ONNX Runtime can load.
    """

    name = "yunet"

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Input sizes differ between clips, so cached memory cannot be reused.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
            (self._input,) = self._session.get_inputs()
            _check_outputs({output.name for output in self._session.get_outputs()})
        except Exception as error:  # ONNX Runtime has no common base class
            raise ModelError(
                f"expected YuNet's weights in {model}, found a file that ONNX Runtime cannot "
                "load as YuNet; delete it so that it is downloaded again, or use --detector hog"
            ) from error

    def detect(self, picture: Picture) -> list[Face]:
        return detect_at_scales(picture, LONG_SIDES, self._detect_image)

    def detect_fast(self, picture: Picture, previous: Sequence[Face]) -> list[Face] | None:
        return detect_coarse_to_fine(picture, previous, LONG_SIDES[0], self._detect_image)

    def _detect_image(self, image: Image) -> list[RawDetection]:
        padded = self._preprocess(image)
        if padded is None:
            return []
        outputs = self._session.run(_OUTPUTS, {self._input.name: padded})
        columns = padded.shape[3]
        grids = [
            _decode_grid(outputs[4 * n : 4 * n + 4], stride, columns // stride)
            for n, stride in enumerate(_STRIDES)
        ]
        return _non_maximum_suppression(np.concatenate(grids))

    def _preprocess(self, image: Image) -> NDArray[np.float32] | None:
        """Return the image as network input, float32 [1, 3, H, W], BGR, 0 to 255.

        The image is padded with black at the bottom and right. Returns None if it is larger
        than the input of a network exported for a fixed size.
        """
        height, width = image.shape[:2]
        rows, columns = self._input.shape[2:]
        rows = rows if isinstance(rows, int) else -(-height // _STRIDES[-1]) * _STRIDES[-1]
        columns = columns if isinstance(columns, int) else -(-width // _STRIDES[-1]) * _STRIDES[-1]
        if height > rows or width > columns:
            return None
        # Reverse RGB to BGR and move the channels first.
        padded = np.zeros((1, 3, rows, columns), np.float32)
        padded[0, :, :height, :width] = image[:, :, ::-1].transpose(2, 0, 1)
        return padded


def _check_outputs(names: set[str]) -> None:
    """Raise ValueError if the network lacks one of YuNet's outputs."""
    if missing := set(_OUTPUTS) - names:
        raise ValueError(f"no output {min(missing)}")


def _decode_grid(
    outputs: Sequence[NDArray[np.float32]], stride: int, columns: int
) -> NDArray[np.float32]:
    """Decode the faces of one grid whose score is at least `MIN_SCORE`.

    Each cell predicts the box center and five landmarks as offsets from the cell's corner, and
    the logarithms of the box's sides, in units of the stride. The score is the geometric mean of
    the class and the objectness score, as in OpenCV's `FaceDetectorYN`.

    Args:
        outputs: class and objectness scores, each [1, cells, 1], boxes, [1, cells, 4], and
            landmarks, [1, cells, 10].
        stride: pixels between two cells.
        columns: cells per row of the grid.

    Returns:
        Left, top, width, height and score of each box, then x and y of its landmarks, float32
        [N, 15], in pixels.
    """
    # Keep the cells with a sufficient score.
    class_score, objectness, box, points = (output[0] for output in outputs)
    scores = np.sqrt(class_score[:, 0].clip(0, 1) * objectness[:, 0].clip(0, 1))
    (cells,) = np.nonzero(scores >= MIN_SCORE)

    # Convert center offsets and log sizes to edges in pixels. Cells are in row-major order.
    x, y, w, h = box[cells].T
    width, height = np.exp(w) * stride, np.exp(h) * stride
    left = (cells % columns + x) * stride - width / 2
    top = (cells // columns + y) * stride - height / 2
    faces = np.stack([left, top, width, height, scores[cells]], axis=1)

    # The landmarks of a cell are x and y in turn.
    corners = np.stack([cells % columns, cells // columns], axis=1)
    landmarks = (points[cells] + np.tile(corners, 5)) * stride
    return np.concatenate([faces, landmarks], axis=1).astype(np.float32)


def _non_maximum_suppression(faces: NDArray[np.float32]) -> list[RawDetection]:
    """Drop the boxes whose IoU with a box of higher score exceeds `_NMS_IOU`; faces is [N, 15]."""
    if not len(faces):
        return []
    kept = cv2.dnn.NMSBoxes(faces[:, :4].tolist(), faces[:, 4].tolist(), MIN_SCORE, _NMS_IOU)
    return [
        RawDetection(x, y, w, h, score, Landmarks(*zip(points[::2], points[1::2], strict=True)))
        for x, y, w, h, score, *points in faces[np.ravel(kept)].tolist()
    ]
