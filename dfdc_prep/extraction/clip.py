"""Extract the crops of one clip: write the files and return their rows. Runs in a worker.

Frames are streamed: only the crops that may be kept stay in memory.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.crops import placement
from dfdc_prep.detectors.base import Detector, Face, iou, select_detections
from dfdc_prep.errors import ClipError
from dfdc_prep.extraction.crops_out import Crop, CroppedFrame, CropWriter
from dfdc_prep.extraction.originals import Original
from dfdc_prep.video.picture import Frame
from dfdc_prep.video.reader import AnyVideo, clip_length, open_clip
from dfdc_prep.video.timeline import EVEN, choose_frames, common_length
from manifests.columns import CROP_SIZE, CropRow
from manifests.labels import REAL

#: Values of `box_source`: where the box of a crop was detected.
OWN, ORIGINAL, SIBLING = "own", "original", "sibling"
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
        sampling: one of `video.timeline.SAMPLINGS`.
        faces: `largest` (the clip's main face) or `all`.
        align: `none`, `eyes` or `five-point`; see `crops.placement.place`.
        margin: see `crops.placement.place`.
        size: side of a crop, pixels.
        format: `png` or `jpg`.
        share_boxes: crop a fake at the face boxes of its original.
        compare: compare the crops of a fake with those of its original.
        masks: also write where they differ; needs `compare`.
    """

    frames: int = 1
    sampling: str = EVEN
    faces: str = LARGEST
    margin: float = placement.MARGIN
    size: int = CROP_SIZE
    format: str = "png"
    share_boxes: bool = True
    align: str = placement.NONE
    compare: bool = False
    masks: bool = False


@dataclass(frozen=True)
class Preset:
    """The options that a preset sets; see `CropOptions`."""

    frames: int
    faces: str
    align: str
    margin: float
    size: int


#: `paper`: the defaults, after Zhalgasbayev, Aiteni and Khaimuldin. `deepfakebench`: Yan et al.,
#: 2023, `preprocessing/preprocess.py`; its template is enlarged by 1.3 in all, hence by 0.15 on
#: each side. `selimsef`: the challenge's winner, `preprocessing/extract_crops.py`.
PRESETS = {
    "paper": Preset(1, LARGEST, placement.NONE, placement.MARGIN, CROP_SIZE),
    "deepfakebench": Preset(32, LARGEST, placement.FIVE_POINT, 0.15, 256),
    "selimsef": Preset(32, LARGEST, placement.NONE, 0.3, CROP_SIZE),
}


@dataclass(frozen=True)
class Boxes:
    """Face boxes of a clip, shared with the other clips of its family.

    Attributes:
        source: `original` or `sibling`; becomes `box_source` in the rows of the other clips.
        width, height: frame size, pixels; clips with another frame size cannot use the boxes.
        frames: indices of the sampled frames.
        faces: the kept faces of each frame.
        origin: the clip in which they were found; None if that is not known.
    """

    source: str
    width: int
    height: int
    frames: tuple[int, ...]
    faces: tuple[tuple[Face, ...], ...]
    origin: Clip | None = None


@dataclass(frozen=True)
class ClipResult:
    """Result of one clip: the fields of its clip log row, and the rows of its crops."""

    status: str
    error: str | None = None
    frames_wanted: int = 0
    frames_decoded: int = 0
    seconds: float = 0.0
    version: str | None = None
    rows: tuple[CropRow, ...] = ()
    boxes: Boxes | None = None


@dataclass(frozen=True)
class Relatives:
    """What is known of a clip from its family.

    Attributes:
        boxes: boxes of another clip of the family, or None to detect.
        original: the clip that a fake is compared with, None if there is none.
        others: the clips that will be cropped at the frames of this one.
    """

    boxes: Boxes | None = None
    original: Clip | None = None
    others: tuple[Clip, ...] = ()


def extract_clip(
    clip: Clip,
    out: Path,
    options: CropOptions,
    detector: Detector,
    relatives: Relatives = Relatives(),
) -> ClipResult:
    """Write the crops of one clip below `out`/crops and return its result.

    Raises:
        OSError: the output cannot be written.
        SourceUnreachable: the system cannot read the clip file. A damaged clip does not raise:
            its result has a failure status.
    """
    started = time.perf_counter()
    shared = relatives.boxes
    try:
        decoded = _decode(clip, options, detector, relatives)
    except ClipError as error:
        result = ClipResult(error.status, str(error), frames_wanted=options.frames)
    else:
        frames, wanted, source = decoded.frames, decoded.wanted, decoded.source
        shares_boxes = (
            source == ORIGINAL and shared is not None and shared.origin == relatives.original
        )
        original = Original(relatives.original, out, options.format, shares_boxes)
        writer = CropWriter(clip, out, options.format, options.masks, source, detector.name)
        rows = writer.write(original.crops_at(frames))
        status, reason = _clip_status(clip.video, decoded, len(rows))
        boxes = _boxes_of(clip, frames) if source == OWN else None
        result = ClipResult(status, reason, wanted, len(frames), rows=rows, boxes=boxes)
    return replace(result, seconds=round(time.perf_counter() - started, 3))


@dataclass(frozen=True)
class _DecodedClip:
    """The cropped frames of a clip.

    Attributes:
        wanted: number of frames that were to be decoded.
        source: where the boxes come from; becomes `box_source`.
        shortfall: what the end of the file lacks; None if nothing.
    """

    frames: list[CroppedFrame]
    wanted: int
    source: str
    shortfall: str | None


def _decode(
    clip: Clip, options: CropOptions, detector: Detector, relatives: Relatives
) -> _DecodedClip:
    """Decode and crop the frames of a clip.

    Raises:
        ClipError: the clip cannot be opened.
    """
    with open_clip(Path(clip.path)) as video:
        wanted = _choose_frames(video, options, relatives)
        frames, source = _crop_frames(video, wanted, options, detector, relatives.boxes)
        return _DecodedClip(frames, len(wanted), source, video.shortfall)


def _choose_frames(video: AnyVideo, options: CropOptions, relatives: Relatives) -> list[int]:
    """Indices of the frames to decode.

    They are those of the shared boxes, if the clip has all of them. Otherwise they are chosen by
    `options.sampling`, such that the clips that will share them have them too.
    """
    clip, shared = video.timeline, relatives.boxes
    if shared and all(index < clip.count for index in shared.frames):
        return list(shared.frames)
    chosen = choose_frames(options.sampling, options.frames, clip)
    lengths = [clip_length(Path(other.path)) for other in relatives.others]
    common = common_length(options.frames, clip.count, lengths)
    if chosen[-1] < common:
        return chosen
    return choose_frames(options.sampling, options.frames, clip.limited(common))


def _clip_status(video: str, clip: _DecodedClip, faces: int) -> tuple[str, str | None]:
    """Status and error message of a clip that was opened, from its counts."""
    decoded = len(clip.frames)
    if decoded == 0:
        lacks = f": {clip.shortfall}" if clip.shortfall else ""
        return "unreadable", f"expected {clip.wanted} frames of {video}, none decoded{lacks}"
    if decoded < clip.wanted or clip.shortfall:
        what = f"{clip.wanted} {'frame' if clip.wanted == 1 else 'frames'} of {video}"
        if decoded < clip.wanted:
            return "truncated", f"expected {what}, {decoded} decoded"
        return "truncated", f"expected the whole of {video}, {clip.shortfall}; it has {what}"
    return ("ok" if faces else "no_face"), None


def _crop_frames(
    video: AnyVideo,
    wanted: Sequence[int],
    options: CropOptions,
    detector: Detector,
    shared: Boxes | None,
) -> tuple[list[CroppedFrame], str]:
    """Decode and crop the wanted frames; also return the `box_source` of the boxes used."""
    if shared and any(shared.faces) and set(wanted) <= set(shared.frames):
        frames = _crop_at_boxes(shared, video, wanted, options, detector)
        if frames is not None:
            return frames, shared.source
    return _crop_detected(video, wanted, options, detector), OWN


def _crop_detected(
    video: AnyVideo, wanted: Sequence[int], options: CropOptions, detector: Detector
) -> list[CroppedFrame]:
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
    video: AnyVideo,
    wanted: Sequence[int],
    options: CropOptions,
    detector: Detector,
) -> list[CroppedFrame] | None:
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


def _crop_faces(frame: Frame, faces: Sequence[Face], options: CropOptions) -> CroppedFrame:
    crops = []
    for face in faces:
        place = placement.place(face, options.align, options.margin, options.size)
        crops.append(Crop(face, place, place.cut(frame)))
    return CroppedFrame(frame.index, frame.time_s, frame.width, frame.height, crops)


def _boxes_of(clip: Clip, frames: Sequence[CroppedFrame]) -> Boxes | None:
    """The boxes that the clip shares with its family, None if no frame decoded."""
    if not frames:
        return None
    return Boxes(
        ORIGINAL if clip.label == REAL else SIBLING,
        frames[0].width,
        frames[0].height,
        tuple(frame.index for frame in frames),
        tuple(tuple(crop.face for crop in frame.crops) for frame in frames),
        clip,
    )
