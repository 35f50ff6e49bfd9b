"""One clip in, its crops on disk and their rows out. Runs inside a worker.

Frames stream through: of each only the crops that may be kept stay in memory.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.crops import CROP_SIZE, geometry
from dfdc_prep.detectors import Detector, Face
from dfdc_prep.detectors.base import iou
from dfdc_prep.detectors.tracking import select_detections
from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Frame, Image
from dfdc_prep.video.reader import Video, open_clip
from dfdc_prep.video.sampling import EVEN, choose_frames
from manifests.labels import REAL

OWN, ORIGINAL, SIBLING = "own", "original", "sibling"
#: Where crops lie in the output, a folder a part and in it one a clip.
CROPS = "crops"
LARGEST, ALL = "largest", "all"

#: A relative's box is trusted where a clip's own detection overlaps it by more than this.
_SAME_FACE = 0.5
#: Frames of a clip on which a relative's boxes are checked.
_CHECKS = 3


@dataclass(frozen=True)
class CropOptions:
    """What decides the bytes of the crops.

    Attributes:
        frames: frames wanted of each clip.
        sampling: `even`, `first` or `keyframes`.
        faces: `largest` (the clip's main face) or `all`.
        margin: see `crops.square`.
        size: side of a crop, pixels.
        format: `png` or `jpg`.
        share_boxes: cut a fake where its original's face is.
        exact_frames: `even` takes its positions themselves, not neighbours that cost less.
    """

    frames: int = 1
    sampling: str = EVEN
    faces: str = LARGEST
    margin: float = geometry.MARGIN
    size: int = CROP_SIZE
    format: str = "png"
    share_boxes: bool = True
    exact_frames: bool = False


@dataclass(frozen=True)
class Boxes:
    """Where the faces of a clip are, for its relatives to be cut at the same places.

    Attributes:
        source: `original` or `sibling`, what a relative writes as its `box_source`.
        width, height: of the frames, pixels; a relative of another size cannot use them.
        frames: positions of the sampled frames.
        faces: the kept faces of each frame.
    """

    source: str
    width: int
    height: int
    frames: tuple[int, ...]
    faces: tuple[tuple[Face, ...], ...]


@dataclass(frozen=True)
class ClipResult:
    """What became of a clip: the fields of its row in the clip log, and its crops' rows."""

    status: str
    error: str | None = None
    frames_wanted: int = 0
    frames_decoded: int = 0
    seconds: float = 0.0
    rows: tuple[dict[str, Any], ...] = ()
    boxes: Boxes | None = None


@dataclass(frozen=True)
class _Cut:
    """One face of one frame, cut out."""

    face: Face
    square: geometry.Square
    image: Image


@dataclass(frozen=True)
class _CutFrame:
    """One decoded frame, reduced to what may be kept of it."""

    index: int
    time_s: float
    width: int
    height: int
    cuts: list[_Cut]


def extract_clip(
    clip: Clip, out: Path, options: CropOptions, detector: Detector, shared: Boxes | None
) -> ClipResult:
    """Write a clip's crops below `out`/crops and say what became of the clip.

    Args:
        shared: boxes of a relative, or None to detect.

    Raises:
        OSError: the output cannot be written.
        SourceUnreachable: the clip cannot be read, through no fault of its bytes. What is
            wrong with them raises nothing: it is the result's status.
    """
    started = time.perf_counter()
    try:
        with open_clip(Path(clip.path)) as video:
            wanted = _wanted(video, options, shared)
            frames, source = _cut_frames(video, wanted, options, detector, shared)
    except ClipError as error:
        result = ClipResult(error.status, str(error), frames_wanted=options.frames)
    else:
        rows = _write(frames, clip, out, options, source, detector.name)
        status, reason = _verdict(clip.video, len(wanted), len(frames), len(rows))
        boxes = _boxes(clip, frames) if source == OWN else None
        result = ClipResult(status, reason, len(wanted), len(frames), rows=rows, boxes=boxes)
    return replace(result, seconds=round(time.perf_counter() - started, 3))


def crop_folder(out: Path, clip: Clip) -> Path:
    """Where a clip's crops lie."""
    return out / CROPS / clip.part / clip.folder


def _make(folder: Path) -> None:
    """Make a clip's folder and its part's, but not the output itself anew: it may be gone."""
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)


def _wanted(video: Video, options: CropOptions, shared: Boxes | None) -> list[int]:
    if shared:
        return [index for index in shared.frames if index < video.timeline.count]
    return choose_frames(options.sampling, options.frames, video.timeline, options.exact_frames)


def _verdict(video: str, wanted: int, decoded: int, faces: int) -> tuple[str, str | None]:
    if decoded == 0:
        return "unreadable", f"expected {wanted} frames of {video}, none decoded"
    if decoded < wanted:
        return "truncated", f"expected {wanted} frames of {video}, {decoded} decoded"
    return ("ok" if faces else "no_face"), None


def _cut_frames(
    video: Video,
    wanted: Sequence[int],
    options: CropOptions,
    detector: Detector,
    shared: Boxes | None,
) -> tuple[list[_CutFrame], str]:
    """The decoded frames with their kept faces, and where the boxes came from."""
    if shared and any(shared.faces):
        frames = _cut_at(shared, video, wanted, options, detector)
        if frames is not None:
            return frames, shared.source
    return _cut_detected(video, wanted, options, detector), OWN


def _cut_detected(
    video: Video, wanted: Sequence[int], options: CropOptions, detector: Detector
) -> list[_CutFrame]:
    """Detect on every frame, and keep the faces that time agrees on."""
    frames = []
    found: list[Face] = []
    for frame in video.frames(wanted):
        # Where every face counts, so does a small one that only a full look shows.
        all_faces = options.faces == ALL
        found = detector.detect(frame) if all_faces else _detect(frame, detector, found)
        frames.append(_cut(frame, found, options))
    chosen = select_detections(
        [[cut.face for cut in frame.cuts] for frame in frames], options.faces == ALL
    )
    return [
        replace(frame, cuts=[frame.cuts[i] for i in kept])
        for frame, kept in zip(frames, chosen, strict=True)
    ]


def _detect(frame: Frame, detector: Detector, before: Sequence[Face]) -> list[Face]:
    """The faces of a frame, by a full look only where a quick one leaves a doubt."""
    quick = detector.detect_fast(frame, before)
    return detector.detect(frame) if quick is None else quick


def _cut_at(
    shared: Boxes,
    video: Video,
    wanted: Sequence[int],
    options: CropOptions,
    detector: Detector,
) -> list[_CutFrame] | None:
    """Cut where a relative's faces are; None where the clip's own detections disagree."""
    faces = dict(zip(shared.frames, shared.faces, strict=True))
    checked = _some([index for index in wanted if faces[index]], _CHECKS)
    frames = []
    for frame in video.frames(wanted):
        if (frame.width, frame.height) != (shared.width, shared.height):
            return None
        boxes = faces[frame.index]
        if frame.index in checked and not _confirmed(boxes, _detect(frame, detector, boxes)):
            return None
        frames.append(_cut(frame, boxes, options))
    return frames


def _some(indices: Sequence[int], count: int) -> set[int]:
    """At most `count` of the positions, first and last among them."""
    if len(indices) <= count:
        return set(indices)
    return {indices[i * (len(indices) - 1) // (count - 1)] for i in range(count)}


def _confirmed(boxes: Sequence[Face], detected: Sequence[Face]) -> bool:
    return all(any(iou(box, own) > _SAME_FACE for own in detected) for box in boxes)


def _cut(frame: Frame, faces: Sequence[Face], options: CropOptions) -> _CutFrame:
    cuts = []
    for face in faces:
        square = geometry.square(face, options.margin)
        cuts.append(_Cut(face, square, geometry.cut(frame, square, options.size)))
    return _CutFrame(frame.index, frame.time_s, frame.width, frame.height, cuts)


def _boxes(clip: Clip, frames: Sequence[_CutFrame]) -> Boxes | None:
    if not frames:
        return None
    return Boxes(
        ORIGINAL if clip.label == REAL else SIBLING,
        frames[0].width,
        frames[0].height,
        tuple(frame.index for frame in frames),
        tuple(tuple(cut.face for cut in frame.cuts) for frame in frames),
    )


def _write(
    frames: Sequence[_CutFrame],
    clip: Clip,
    out: Path,
    options: CropOptions,
    source: str,
    detector: str,
) -> tuple[dict[str, Any], ...]:
    """Write the crops; the manifest rows, in order."""
    folder = crop_folder(out, clip)
    rows = []
    for frame in frames:
        for number, cut in enumerate(frame.cuts):
            _make(folder)
            path = folder / f"{frame.index:06d}_{number}.{options.format}"
            encoded = geometry.encode(cut.image, options.format)
            path.write_bytes(encoded)
            rows.append(
                {
                    "video": clip.video,
                    "part": clip.part,
                    "label": clip.label,
                    "original": clip.original,
                    "family": clip.family,
                    "frame": frame.index,
                    "time_s": frame.time_s,
                    "face": number,
                    "x": cut.face.x,
                    "y": cut.face.y,
                    "w": cut.face.w,
                    "h": cut.face.h,
                    "crop_x": cut.square.x,
                    "crop_y": cut.square.y,
                    "crop_size": cut.square.size,
                    "score": cut.face.score,
                    "box_source": source,
                    "detector": detector,
                    "width": frame.width,
                    "height": frame.height,
                    "path": path.relative_to(out).as_posix(),
                    "sha256": hashlib.sha256(encoded).hexdigest(),
                }
            )
    return tuple(rows)
