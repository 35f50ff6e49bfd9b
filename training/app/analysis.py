"""Turns an upload into a result: faces in the decoding process, scores in this one."""

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from dfdc_prep.crops.encoding import decode, encode
from dfdc_prep.detectors.base import Face
from dfdc_prep.errors import ClipError
from manifests.schemas import CROP_SIZE
from manifests.wording import counted
from training.app.annotate import annotate_clip, make_tracks, number_persons
from training.app.jobs import Limits, Refused, Upload
from training.app.result import FaceResult, PersonResult, Result
from training.evaluation import heatmaps
from training.inference.face_crops import (
    DecodingWorker,
    FaceCrop,
    FaceCropOptions,
    FoundFaces,
    View,
)
from training.inference.scorer import Scorer, predict_faces

#: The box of a crop in itself.
_WHOLE = Face(0, 0, CROP_SIZE, CROP_SIZE, 1.0)


class Analyzer:
    """Analyzes one upload at a time, with the crops, model and calibration of `predict`."""

    def __init__(self, scorer: Scorer, worker: DecodingWorker, limits: Limits) -> None:
        self._scorer, self._worker, self._limits = scorer, worker, limits

    def warm_up(self) -> None:
        """Start the process and compile the model, so that the first upload does not wait.

        TensorFlow compiles for the first batch size, and for all others at the second.
        """
        blank = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
        crop = FaceCrop(0, 0.0, _WHOLE, blank)
        for count in (1, 2):
            self._scorer.calibrated_logits([crop] * count)
            self._scorer.activations([crop] * count)
        self._worker.call(time.time)

    def analyze(self, upload: Upload) -> Result:
        """Find, score and explain the faces of an upload; a crop of the set is scored as it is.

        Raises ClipError if the file is unreadable, exceeds a limit, or stops the process, and
        Refused if it has too many faces.
        """
        found = self._sample(upload) if upload.sample else self._find(upload)
        crops = found.crops
        if len(crops) > self._limits.faces:
            raise Refused(
                f"expected at most {counted(self._limits.faces, 'face')}, found {len(crops)}; "
                "choose the main face or fewer frames"
            )
        logits = self._scorer.calibrated_logits(crops)
        prediction = replace(
            predict_faces(upload.name, crops, logits),
            missing=found.missing,
            confinement=self._worker.confinement,
        )
        persons = self._persons(found, logits) if crops else []
        return Result(prediction, found.is_clip, found.views, persons)

    def _find(self, upload: Upload) -> FoundFaces:
        options = FaceCropOptions(
            self._scorer.margin,
            upload.frames,
            upload.every_face,
            self._scorer.align,
            self._limits.pixels,
            self._limits.clip_seconds,
            views=True,
        )
        return self._worker.find(upload.read(), options, upload.name)

    def _sample(self, upload: Upload) -> FoundFaces:
        try:
            crop = self._worker.call(decode, upload.read())
        except ValueError as error:
            raise ClipError(f"{error}; run dfdc-prep verify on the shards") from error
        view = View(0, 0.0, CROP_SIZE, CROP_SIZE, encode(crop, "jpg"))
        return FoundFaces([FaceCrop(0, 0.0, _WHOLE, crop)], False, views=[view])

    def annotate(self, upload: Upload, result: Result) -> None:
        """Add the annotated clip to a result, or the reason why there is none."""
        faces = result.faces
        if not result.is_clip or not faces:
            return
        tracks = make_tracks([(face.person, face.time_s, face.box, face.p_fake) for face in faces])
        try:
            result.annotated = self._worker.call(annotate_clip, upload.read(), tracks)
        except Exception as error:
            result.annotation_error = str(error)
            raise

    def _persons(self, found: FoundFaces, logits: npt.NDArray[np.float64]) -> list[PersonResult]:
        crops = found.crops
        numbers = number_persons(crops) if found.is_clip else list(range(1, len(crops) + 1))
        views = {view.frame: position for position, view in enumerate(found.views)}
        activations = self._scorer.activations(crops)
        faces = [
            FaceResult(
                number=number,
                view=views[crop.frame],
                person=numbers[number],
                frame=crop.frame,
                time_s=crop.time_s,
                box=(crop.box.x, crop.box.y, crop.box.w, crop.box.h),
                p_fake=float(expit(logits[number])),
                crop=encode(crop.crop, "png"),
                heatmap=encode(heatmaps.draw_overlay(crop.crop, activations[number]), "jpg"),
                scale=heatmaps.visible_scale(activations[number]),
            )
            for number, crop in enumerate(crops)
        ]
        return [
            PersonResult(
                person,
                float(expit(logits[[number == person for number in numbers]].mean())),
                tuple(face for face in faces if face.person == person),
            )
            for person in sorted(set(numbers))
        ]
