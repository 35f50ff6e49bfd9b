"""YuNet, a small and fast face detector that also handles profiles and dark pictures.

It runs in ONNX Runtime, which takes half the time of OpenCV's `FaceDetectorYN` for the same
boxes. Source: Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dfdc_prep.detectors.base import (
    Detector,
    Face,
    Landmarks,
    RawDetection,
    detect_at_scales,
    iou,
    may_be_same_face,
)
from dfdc_prep.errors import ModelError
from dfdc_prep.video.picture import Image, Picture, scaled_size

#: Longer sides of the copies, pixels. 640 finds almost every face in DFDC; 1280 is the
#: fallback for small ones.
_LONG_SIDES = (640, 1280)
#: Detections with a lower score are discarded.
MIN_SCORE = 0.7
#: IoU threshold of the non-maximum suppression.
_NMS_IOU = 0.3
#: Strides of the network's three grids in pixels. Input sides must be multiples of the largest.
_STRIDES = (8, 16, 32)
_LARGEST = _STRIDES[-1]
_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES for kind in ("cls", "obj", "bbox", "kps")]

#: Two detections in one picture show the same face if their IoU exceeds this.
_MIN_IOU = 0.5
#: Size of the window around a face in units of the face's size.
_WINDOW_SCALE = 2.0
#: Detecting in windows saves no time if they cover more than this fraction of the picture.
_MAX_WINDOW_COVERAGE = 0.6

#: Left, top, right and bottom of a part of a picture.
Window = tuple[int, int, int, int]


class YuNet(Detector):
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
            if missing := set(_OUTPUTS) - {out.name for out in self._session.get_outputs()}:
                raise ValueError(f"no output {min(missing)}")
        except Exception as error:  # ONNX Runtime has no common base class
            raise ModelError(
                f"expected YuNet's weights in {model}, found a file that ONNX Runtime cannot "
                "load as YuNet; delete it so that it is downloaded again, or use --detector hog"
            ) from error

    def detect(self, picture: Picture) -> list[Face]:
        return detect_at_scales(picture, _LONG_SIDES, self._detect_image)

    def detect_fast(self, picture: Picture, previous: Sequence[Face]) -> list[Face] | None:
        """Detect faces from coarse to fine, at a fraction of the cost of the first scale.

        Faces are located in a copy at half the size of the first scale. Each is then detected
        again in a window of the first scale's copy, which yields boxes as accurate as detecting
        in all of that copy. None if no face was found, a face appeared, disappeared or moved far
        since the previous frame, or a window did not confirm its face.
        """
        copy = picture.rgb(_LONG_SIDES[0])
        height, width = copy.shape[:2]
        size = scaled_size(width, height, max(width, height) // 2)
        half = cv2.resize(copy, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        scale = width / half.shape[1], height / half.shape[0]
        located = sorted(found.scaled(*scale) for found in self._detect_image(half))
        to_picture = picture.width / width, picture.height / height
        if not located or (
            previous and not _same_faces(previous, [face.scaled(*to_picture) for face in located])
        ):
            return None
        windows = [_window(face, width, height) for face in located]
        covered = sum((right - left) * (bottom - top) for left, top, right, bottom in windows)
        if covered > _MAX_WINDOW_COVERAGE * width * height:
            return None
        faces = []
        for face, window in zip(located, windows, strict=True):
            found = self._detect_in_window(copy, face, window)
            if found is None:
                return None
            faces.append(found.scaled(*to_picture))
        return sorted(faces)

    def _detect_in_window(self, copy: Image, face: Face, window: Window) -> RawDetection | None:
        """The detection in a window that best matches a face, in pixels of the whole copy."""
        left, top, right, bottom = window
        best, best_iou = None, _MIN_IOU
        for inside in self._detect_image(copy[top:bottom, left:right]):
            points = inside.landmarks.scaled(1, 1, left, top) if inside.landmarks else None
            found = inside._replace(x=inside.x + left, y=inside.y + top, landmarks=points)
            if (overlap := iou(face, found.scaled(1, 1))) > best_iou:
                best, best_iou = found, overlap
        return best

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
        rows, columns = (
            fixed if isinstance(fixed, int) else -(-side // _LARGEST) * _LARGEST
            for side, fixed in zip((height, width), self._input.shape[2:], strict=True)
        )
        if height > rows or width > columns:
            return None
        # Reverse RGB to BGR and move the channels first.
        padded = np.zeros((1, 3, rows, columns), np.float32)
        padded[0, :, :height, :width] = image[:, :, ::-1].transpose(2, 0, 1)
        return padded


def _same_faces(previous: Sequence[Face], current: Sequence[Face]) -> bool:
    """Whether two frames show the same faces: none appeared, disappeared or moved far."""
    return len(current) == len(previous) and all(
        any(may_be_same_face(face, other) for other in others)
        for faces, others in ((current, previous), (previous, current))
        for face in faces
    )


def _window(face: Face, width: int, height: int) -> Window:
    """The window around a face, clipped to the picture.

    It is aligned to the largest stride of the network, so that a face falls on the same grid
    cells as in the whole picture.
    """
    reach = _WINDOW_SCALE * max(face.w, face.h) / 2
    x, y = face.x + face.w / 2, face.y + face.h / 2
    return (
        max(0, math.floor((x - reach) / _LARGEST) * _LARGEST),
        max(0, math.floor((y - reach) / _LARGEST) * _LARGEST),
        min(width, math.ceil((x + reach) / _LARGEST) * _LARGEST),
        min(height, math.ceil((y + reach) / _LARGEST) * _LARGEST),
    )


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
        columns: cells per row of the grid; cells are in row-major order.

    Returns:
        Left, top, width, height and score of each box, then x and y of its landmarks, float32
        [N, 15], in pixels.
    """
    class_score, objectness, box, points = (output[0] for output in outputs)
    scores = np.sqrt(class_score[:, 0].clip(0, 1) * objectness[:, 0].clip(0, 1))
    (cells,) = np.nonzero(scores >= MIN_SCORE)
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
