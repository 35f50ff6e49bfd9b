"""Extract the crops of one clip: write the files and return their rows. Runs in a worker.

Frames are streamed: only the crops that may be kept stay in memory.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.crops import geometry
from dfdc_prep.detectors import Detector, Face
from dfdc_prep.detectors.base import iou
from dfdc_prep.detectors.tracking import select_detections
from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Frame, Image
from dfdc_prep.video.reader import Video, open_clip
from dfdc_prep.video.sampling import EVEN, choose_frames
from manifests.labels import REAL
from manifests.rows import CROP_SIZE, CropRow

#: Values of `box_source`: where the box of a crop was detected.
OWN, ORIGINAL, SIBLING = "own", "original", "sibling"
#: Folder of the crops in the output: crops/<part>/<clip>/.
CROPS = "crops"
#: Values of `CropOptions.faces`.
LARGEST, ALL = "largest", "all"

#: A shared box is confirmed if one of the clip's own detections exceeds this IoU with it.
_MIN_IOU = 0.5
#: Number of frames of a clip on which shared boxes are checked.
_CHECKED_FRAMES = 3


@dataclass(frozen=True)
class CropOptions:
    """Options that determine the bytes of the crops.

    Attributes:
        frames: number of frames to sample from each clip.
        sampling: one of `video.sampling.SAMPLINGS`.
        faces: `largest` (the clip's main face) or `all`.
        margin: see `crops.geometry.square`.
        size: side of a crop, pixels.
        format: `png` or `jpg`.
        share_boxes: crop a fake at the face boxes of its original.
    """

    frames: int = 1
    sampling: str = EVEN
    faces: str = LARGEST
    margin: float = geometry.MARGIN
    size: int = CROP_SIZE
    format: str = "png"
    share_boxes: bool = True


@dataclass(frozen=True)
class Boxes:
    """Face boxes of a clip, shared with the other clips of its family.

    Attributes:
        source: `original` or `sibling`; becomes `box_source` in the rows of the other clips.
        width, height: frame size, pixels; clips with another frame size cannot use the boxes.
        frames: indices of the sampled frames.
        faces: the kept faces of each frame.
    """

    source: str
    width: int
    height: int
    frames: tuple[int, ...]
    faces: tuple[tuple[Face, ...], ...]


@dataclass(frozen=True)
class ClipResult:
    """Result of one clip: the fields of its clip log row, and the rows of its crops."""

    status: str
    error: str | None = None
    frames_wanted: int = 0
    frames_decoded: int = 0
    seconds: float = 0.0
    rows: tuple[CropRow, ...] = ()
    boxes: Boxes | None = None


@dataclass(frozen=True)
class _Crop:
    """The crop of one face in one frame."""

    face: Face
    square: geometry.Square
    image: Image


@dataclass(frozen=True)
class _CroppedFrame:
    """One decoded frame, reduced to the crops that may be kept."""

    index: int
    time_s: float
    width: int
    height: int
    crops: list[_Crop]


@dataclass(frozen=True)
class _CropWriter:
    """Writes the crops of one clip.

    Attributes:
        clip: the clip that the frames come from.
        out: the output folder.
        format: `png` or `jpg`.
        box_source: `own`, `original` or `sibling`.
        detector: name of the detector that found the boxes.
    """

    clip: Clip
    out: Path
    format: str
    box_source: str
    detector: str

    def write(self, frames: Sequence[_CroppedFrame]) -> tuple[CropRow, ...]:
        """Write all crops and return their manifest rows, by frame and face."""
        return tuple(
            self._write_crop(frame, number, crop)
            for frame in frames
            for number, crop in enumerate(frame.crops)
        )

    def _write_crop(self, frame: _CroppedFrame, number: int, crop: _Crop) -> CropRow:
        folder = crop_folder(self.out, self.clip)
        _make_folder(folder)
        path = folder / f"{frame.index:06d}_{number}.{self.format}"
        encoded = geometry.encode(crop.image, self.format)
        path.write_bytes(encoded)
        return CropRow(
            video=self.clip.video,
            part=self.clip.part,
            label=self.clip.label,
            original=self.clip.original,
            family=self.clip.family,
            frame=frame.index,
            time_s=frame.time_s,
            face=number,
            x=crop.face.x,
            y=crop.face.y,
            w=crop.face.w,
            h=crop.face.h,
            crop_x=crop.square.x,
            crop_y=crop.square.y,
            crop_size=crop.square.size,
            score=crop.face.score,
            box_source=self.box_source,
            detector=self.detector,
            width=frame.width,
            height=frame.height,
            path=path.relative_to(self.out).as_posix(),
            sha256=hashlib.sha256(encoded).hexdigest(),
        )


def extract_clip(
    clip: Clip, out: Path, options: CropOptions, detector: Detector, shared: Boxes | None
) -> ClipResult:
    """Write the crops of one clip below `out`/crops and return its result.

    Args:
        shared: boxes of another clip of the family, or None to detect.

    Raises:
        OSError: the output cannot be written.
        SourceUnreachable: the system cannot read the clip file. A damaged clip does not raise:
            its result has a failure status.
    """
    started = time.perf_counter()
    try:
        with open_clip(Path(clip.path)) as video:
            wanted = _choose_frames(video, options, shared)
            frames, source = _crop_frames(video, wanted, options, detector, shared)
    except ClipError as error:
        result = ClipResult(error.status, str(error), frames_wanted=options.frames)
    else:
        rows = _CropWriter(clip, out, options.format, source, detector.name).write(frames)
        status, reason = _clip_status(clip.video, len(wanted), len(frames), len(rows))
        boxes = _boxes_of(clip, frames) if source == OWN else None
        result = ClipResult(status, reason, len(wanted), len(frames), rows=rows, boxes=boxes)
    return replace(result, seconds=round(time.perf_counter() - started, 3))


def crop_folder(out: Path, clip: Clip) -> Path:
    """The folder of a clip's crops."""
    return out / CROPS / clip.part / clip.folder


def _make_folder(folder: Path) -> None:
    """Make a clip's folder and its part's folder.

    The output folder itself is not created: if it was removed meanwhile, writing must fail.
    """
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)


def _choose_frames(video: Video, options: CropOptions, shared: Boxes | None) -> list[int]:
    """Indices of the frames to decode: those of the shared boxes, else by `options.sampling`."""
    if shared:
        return [index for index in shared.frames if index < video.timeline.count]
    return choose_frames(options.sampling, options.frames, video.timeline)


def _clip_status(video: str, wanted: int, decoded: int, faces: int) -> tuple[str, str | None]:
    """Status and error message of a clip that was opened, from its counts."""
    if decoded == 0:
        return "unreadable", f"expected {wanted} frames of {video}, none decoded"
    if decoded < wanted:
        return "truncated", f"expected {wanted} frames of {video}, {decoded} decoded"
    return ("ok" if faces else "no_face"), None


def _crop_frames(
    video: Video,
    wanted: Sequence[int],
    options: CropOptions,
    detector: Detector,
    shared: Boxes | None,
) -> tuple[list[_CroppedFrame], str]:
    """Decode and crop the wanted frames; also return the `box_source` of the boxes used."""
    if shared and any(shared.faces):
        frames = _crop_at_boxes(shared, video, wanted, options, detector)
        if frames is not None:
            return frames, shared.source
    return _crop_detected(video, wanted, options, detector), OWN


def _crop_detected(
    video: Video, wanted: Sequence[int], options: CropOptions, detector: Detector
) -> list[_CroppedFrame]:
    """Detect faces on every frame, then keep those that the tracking across frames selects."""
    frames = []
    found: list[Face] = []
    for frame in video.frames(wanted):
        # With `all`, small faces count too, and only the full detection finds them.
        all_faces = options.faces == ALL
        found = detector.detect(frame) if all_faces else _detect_faces(frame, detector, found)
        frames.append(_crop_faces(frame, found, options))
    chosen = select_detections(
        [[crop.face for crop in frame.crops] for frame in frames], options.faces == ALL
    )
    return [
        replace(frame, crops=[frame.crops[i] for i in kept])
        for frame, kept in zip(frames, chosen, strict=True)
    ]


def _detect_faces(frame: Frame, detector: Detector, before: Sequence[Face]) -> list[Face]:
    """Detect the faces of a frame; run the full detection only if the quick one is uncertain.

    Args:
        before: faces expected in the frame, e.g. those of the previous frame.
    """
    quick = detector.detect_fast(frame, before)
    return detector.detect(frame) if quick is None else quick


def _crop_at_boxes(
    shared: Boxes,
    video: Video,
    wanted: Sequence[int],
    options: CropOptions,
    detector: Detector,
) -> list[_CroppedFrame] | None:
    """Crop the frames at the shared boxes.

    Returns None if the frame size differs or the clip's own detections contradict the boxes.
    """
    faces = dict(zip(shared.frames, shared.faces, strict=True))
    checked = _evenly_spaced([index for index in wanted if faces[index]], _CHECKED_FRAMES)
    frames = []
    for frame in video.frames(wanted):
        if (frame.width, frame.height) != (shared.width, shared.height):
            return None
        boxes = faces[frame.index]
        if frame.index in checked and not _boxes_confirmed(
            boxes, _detect_faces(frame, detector, boxes)
        ):
            return None
        frames.append(_crop_faces(frame, boxes, options))
    return frames


def _evenly_spaced(indices: Sequence[int], count: int) -> set[int]:
    """At most `count` of the indices, including the first and the last."""
    if len(indices) <= count:
        return set(indices)
    return {indices[i * (len(indices) - 1) // (count - 1)] for i in range(count)}


def _boxes_confirmed(boxes: Sequence[Face], detected: Sequence[Face]) -> bool:
    """Whether every box overlaps one of the clip's own detections."""
    return all(any(iou(box, own) > _MIN_IOU for own in detected) for box in boxes)


def _crop_faces(frame: Frame, faces: Sequence[Face], options: CropOptions) -> _CroppedFrame:
    crops = []
    for face in faces:
        square = geometry.square(face, options.margin)
        crops.append(_Crop(face, square, geometry.cut(frame, square, options.size)))
    return _CroppedFrame(frame.index, frame.time_s, frame.width, frame.height, crops)


def _boxes_of(clip: Clip, frames: Sequence[_CroppedFrame]) -> Boxes | None:
    """The boxes that the clip shares with its family, None if no frame decoded."""
    if not frames:
        return None
    return Boxes(
        ORIGINAL if clip.label == REAL else SIBLING,
        frames[0].width,
        frames[0].height,
        tuple(frame.index for frame in frames),
        tuple(tuple(crop.face for crop in frame.crops) for frame in frames),
    )
