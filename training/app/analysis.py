"""Turns an upload into a result: faces in a worker process, scores in this one."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dfdc_prep.crops.encoding import encode
from dfdc_prep.detectors.base import Face
from dfdc_prep.parallel.processes import LocalWorkers, PoolBroken, WorkerDied, WorkerTimeout
from manifests.columns import CROP_SIZE
from training.app.annotate import annotate_in_worker, make_tracks, number_persons
from training.app.requests import Limits, Refused, Upload
from training.app.result import FaceResult, PersonResult, Result
from training.evaluation import heatmaps
from training.inference.face_crops import (
    DecodedFile,
    FaceCrop,
    ReadOptions,
    find_in_worker,
)
from training.inference.scorer import Scorer, predict_faces, sigmoid


class Analyzer:
    """Analyzes one upload at a time, with the crops, model and calibration of `predict`.

    Args:
        workers: processes prepared by `decoding.init_worker`.
        margin: margin of the crops; see `dfdc_prep.crops.placement.square`.
    """

    def __init__(
        self, scorer: Scorer, workers: LocalWorkers, margin: float, limits: Limits
    ) -> None:
        self._scorer = scorer
        self._workers = workers
        self._margin = margin
        self._limits = limits

    def warm_up(self) -> None:
        """Start the worker and compile the model, so that the first upload does not wait.

        TensorFlow compiles for the first batch size, and for all others at the second.
        """
        blank = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
        crop = FaceCrop(0, 0.0, Face(0, 0, CROP_SIZE, CROP_SIZE, 1.0), blank)
        for count in (1, 2):
            self._scorer.calibrated_logits([crop] * count)
            self._scorer.activations([crop] * count)
        self._call(time.time)

    def analyze(self, upload: Upload) -> Result:
        """Find, score and explain the faces of an upload.

        Raises:
            ClipError: the file is unreadable or exceeds a limit.
            Refused: the file crashed the decoder, took too long or has too many faces.
        """
        options = ReadOptions(
            margin=self._margin,
            frames=upload.frames,
            every_face=upload.every_face,
            align=self._scorer.crop_settings.align,
            max_pixels=self._limits.pixels,
            max_seconds=self._limits.clip_seconds,
        )
        decoded: DecodedFile = self._call(find_in_worker, upload.read(), upload.name, options)
        crops = decoded.crops
        self._limits.check_faces(len(crops))
        logits = self._scorer.calibrated_logits(crops)
        prediction = replace(predict_faces(upload.name, crops, logits), missing=decoded.missing)
        persons = self._persons(decoded, logits) if crops else []
        return Result(prediction, decoded.is_clip, decoded.views, persons)

    def annotate(self, upload: Upload, result: Result) -> None:
        """Add the annotated clip to a result, or the reason why there is none."""
        faces = result.faces
        if not result.is_clip or not faces:
            return
        tracks = make_tracks([(face.person, face.time_s, face.box, face.p_fake) for face in faces])
        try:
            result.annotated = self._call(annotate_in_worker, upload.read(), tracks)
        except Exception as error:
            result.annotation_error = str(error)
            raise

    def _persons(self, decoded: DecodedFile, logits: npt.NDArray[np.float64]) -> list[PersonResult]:
        crops = decoded.crops
        numbers = number_persons(crops) if decoded.is_clip else list(range(1, len(crops) + 1))
        views = {view.frame: place for place, view in enumerate(decoded.views)}
        activations = self._scorer.activations(crops)
        faces = [
            FaceResult(
                number=number,
                view=views[crop.frame],
                person=numbers[number],
                frame=crop.frame,
                time_s=crop.time_s,
                box=(crop.box.x, crop.box.y, crop.box.w, crop.box.h),
                p_fake=sigmoid(logits[number]),
                crop=encode(crop.crop, "png"),
                heatmap=encode(heatmaps.draw_overlay(crop.crop, activations[number]), "jpg"),
            )
            for number, crop in enumerate(crops)
        ]
        return [
            PersonResult(
                person,
                sigmoid(logits[[number == person for number in numbers]].mean()),
                tuple(face for face in faces if face.person == person),
            )
            for person in sorted(set(numbers))
        ]

    def _call(self, call: Callable[..., Any], *args: Any) -> Any:
        """Run a call in a worker process.

        Raises:
            Refused: the worker died or took too long.
        """
        while True:
            future: Future[Any] = self._workers.submit(call, *args)
            self._workers.wait([future])
            try:
                return future.result()
            except PoolBroken:
                continue
            except WorkerDied as error:
                raise Refused(
                    "expected an image or a clip, found a file that crashed the decoder; convert "
                    "it, for example with ffmpeg"
                ) from error
            except WorkerTimeout as error:
                raise Refused(
                    f"expected a file that is read within {self._limits.work_seconds:g} seconds, "
                    "found one that takes longer; cut it shorter or scale it down"
                ) from error
            except MemoryError as error:
                raise Refused(
                    "expected a file that fits in memory, found one that does not; scale it down "
                    "or choose fewer frames"
                ) from error
