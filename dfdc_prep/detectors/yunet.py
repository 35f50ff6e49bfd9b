"""YuNet: small, fast, and right on profiles and in the dark.

Run by ONNX Runtime, in half the time that OpenCV's `FaceDetectorYN` takes for the same boxes.
Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dfdc_prep.detectors.base import Face, Found, climb, look_quickly
from dfdc_prep.errors import ModelError
from dfdc_prep.video.picture import Image, Picture

#: 640 finds every face of DFDC's clips; 1280 is for the small ones it leaves.
LONG_SIDES = (640, 1280)
MIN_SCORE = 0.7
#: Of two boxes that overlap by more, the one with the lower score is dropped.
_OVERLAP = 0.3
#: Pixels between two cells of the network's three grids; the last divides what it looks at.
_STRIDES = (8, 16, 32)
_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES for kind in ("cls", "obj", "bbox")]


class YuNet:
    """YuNet on one thread.

    Args:
        model: path of the ONNX file.

    Raises:
        ModelError: ONNX Runtime cannot read the file.
    """

    name = "yunet"

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Sizes differ from clip to clip: memory kept for one is of no use to the next.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
            (self._input,) = self._session.get_inputs()
            _check_outputs({output.name for output in self._session.get_outputs()})
        except Exception as error:  # ONNX Runtime has no common class of its own
            raise ModelError(
                f"expected YuNet's weights in {model}, found what ONNX Runtime cannot read as "
                "such; delete the file to have it fetched again, or use --detector hog"
            ) from error

    def detect(self, picture: Picture) -> list[Face]:
        return climb(picture, LONG_SIDES, self._look)

    def detect_quickly(self, picture: Picture, before: Sequence[Face]) -> list[Face] | None:
        return look_quickly(picture, before, LONG_SIDES[0], self._look)

    def _look(self, image: Image) -> list[Found]:
        padded = self._padded(image)
        if padded is None:
            return []
        outputs = self._session.run(_OUTPUTS, {self._input.name: padded})
        columns = padded.shape[3]
        grids = [
            _boxes(outputs[3 * n : 3 * n + 3], stride, columns // stride)
            for n, stride in enumerate(_STRIDES)
        ]
        return _best(np.concatenate(grids))

    def _padded(self, image: Image) -> NDArray[np.float32] | None:
        """The image as the network takes it: BGR, 0 to 255, [1, 3, H, W]; black below and right.

        None where it does not fit a network that was exported for one size.
        """
        height, width = image.shape[:2]
        rows, columns = self._input.shape[2:]
        rows = rows if isinstance(rows, int) else -(-height // _STRIDES[-1]) * _STRIDES[-1]
        columns = columns if isinstance(columns, int) else -(-width // _STRIDES[-1]) * _STRIDES[-1]
        if height > rows or width > columns:
            return None
        padded = np.zeros((1, 3, rows, columns), np.float32)
        padded[0, :, :height, :width] = image[:, :, ::-1].transpose(2, 0, 1)
        return padded


def _check_outputs(names: set[str]) -> None:
    if missing := set(_OUTPUTS) - names:
        raise ValueError(f"no output {min(missing)}")


def _boxes(
    outputs: Sequence[NDArray[np.float32]], stride: int, columns: int
) -> NDArray[np.float32]:
    """Boxes of one grid above the least score: left, top, width, height, score; [N, 5].

    A cell gives the box's middle as an offset from its corner and the logarithms of its sides,
    all in units of the stride, and two scores whose geometric mean counts.

    Args:
        outputs: two scores of each cell, [1, cells, 1], and its box, [1, cells, 4].
        columns: cells in a row of the grid.
    """
    face, object_, box = (output[0] for output in outputs)
    scores = np.sqrt(face[:, 0].clip(0, 1) * object_[:, 0].clip(0, 1))
    (cells,) = np.nonzero(scores >= MIN_SCORE)
    x, y, w, h = box[cells].T
    width, height = np.exp(w) * stride, np.exp(h) * stride
    left = (cells % columns + x) * stride - width / 2
    top = (cells // columns + y) * stride - height / 2
    return np.stack([left, top, width, height, scores[cells]], axis=1).astype(np.float32)


def _best(boxes: NDArray[np.float32]) -> list[Found]:
    """The boxes that no better one overlaps."""
    if not len(boxes):
        return []
    kept = cv2.dnn.NMSBoxes(boxes[:, :4].tolist(), boxes[:, 4].tolist(), MIN_SCORE, _OVERLAP)
    return [(x, y, w, h, score) for x, y, w, h, score in boxes[np.ravel(kept)].tolist()]
