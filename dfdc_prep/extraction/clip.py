"""Extracts one clip: decodes frames, finds the faces, cuts and writes the crops. Runs in a worker.

Frames are streamed: only the crops that may be kept stay in memory.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.crops import placement
from dfdc_prep.detectors.base import Detector, Face, iou, select_detections
from dfdc_prep.errors import ClipError
from dfdc_prep.extraction.crops_out import (
    Crop,
    CroppedFrame,
    CropWriter,
    Original,
    with_given_masks,
)
from dfdc_prep.video.picture import Frame
from dfdc_prep.video.reader import AnyVideo, clip_length, open_clip
from dfdc_prep.video.timeline import choose_frames, common_length, evenly_spaced
from manifests.labels import FAILURES, FAKE, REAL
from manifests.schemas import CropRow, StreamRow
from manifests.wording import counted

#: Values of `box_source`: where the box of a crop was detected.
OWN, ORIGINAL, SIBLING = "own", "original", "sibling"
#: Values of `CropOptions.faces`.
LARGEST, ALL = "largest", "all"

#: Value of `ClipRow.copy` of a file that is not cropped.
OTHER_CLIP = "other clip"

#: A shared box is confirmed if one of the clip's own detections exceeds this IoU with it.
_MIN_IOU = 0.5
#: Number of frames of a clip on which shared boxes are checked.
_CHECKED_FRAMES = 3


@dataclass(frozen=True)
class CropOptions:
    """Options that determine the bytes of the crops."""

    frames: int | Mapping[str, int]  # sampled from each clip; or from clips of each label
    sampling: str  # one of `video.timeline.SAMPLINGS`
    faces: str  # the clip's main face, or all
    margin: float  # see `crops.placement.place`
    size: int  # side of a crop, pixels
    format: str  # png or jpg
    share_boxes: bool  # crop a fake at the face boxes of its original
    align: str  # see `crops.placement.place`
    compare: bool  # the crops of a fake with those of its original
    masks: bool  # also write where they differ; needs `compare`

    def frames_of(self, clip: Clip) -> int:
        """Frames sampled from a clip; where labels differ, one without a label counts as REAL."""
        if isinstance(self.frames, int):
            return self.frames
        return self.frames[FAKE if clip.label == FAKE else REAL]


@dataclass(frozen=True)
class Boxes:
    """Face boxes of a clip, shared with the other clips of its family.

    They fit clips of the same frame size. `source` is the `box_source` of the other clips.
    """

    source: str
    width: int | None  # None for any, as `height`
    height: int | None
    frames: tuple[int, ...]  # indices of the sampled frames
    faces: tuple[tuple[Face, ...], ...]  # those kept of each frame
    origin: tuple[str, str] | None = None  # part and video of the clip in which they were found


@dataclass(frozen=True)
class Given:
    """What a recipe says of a clip, so that nothing has to be detected in it."""

    boxes: Boxes  # of its crops; `source` is their `box_source`
    detector: str  # name of the detector that found them
    status: str  # the author's; for a clip without crops
    # what a file is beside the author's copy of the clip, `ClipRow.copy`; None if there was none.
    # It raises SourceUnreachable, and must be picklable
    describe: Callable[[Path], str] | None


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
    stream: StreamRow | None = None
    copy: str | None = None
    mask_error: str | None = None


def missing_clip(clip: Clip, options: CropOptions) -> ClipResult:
    """The result of a clip that metadata names and that is not there."""
    reason = f"expected {clip.video} in {clip.part}, found no such file"
    return ClipResult("missing", reason, options.frames_of(clip), version=clip.version)


@dataclass(frozen=True)
class Relatives:
    """What is known of a clip from its family."""

    boxes: Boxes | None = None  # of another clip; None to detect
    original: Clip | None = None  # the one that a fake is compared with
    others: tuple[Clip, ...] = ()  # those that will be cropped at the frames of this one
    given: Given | None = None  # of the clip itself: no face is detected


class ClipExtractor:
    """Extracts clips, one after another, with the same options and detector.

    Without a detector, it crops clips of which a recipe gives the faces.
    """

    def __init__(self, options: CropOptions, detector: Detector | None) -> None:
        self.options = options
        self._detector = detector

    def extract(self, clip: Clip, out: Path, relatives: Relatives = Relatives()) -> ClipResult:
        """Write the crops of one clip below `out`/crops and return its result.

        Raises:
            OSError: the output cannot be written.
            SourceUnreachable: the system cannot read the clip file. A damaged clip does not raise:
                its result has a failure status.
        """
        started = time.perf_counter()
        given = relatives.given
        copy = given.describe(Path(clip.path)) if given and given.describe else None
        if given and (copy == OTHER_CLIP or not given.boxes.frames):
            result = _not_cropped(clip, given, copy)
        else:
            result = self._cropped(clip, out, relatives)
        seconds = round(time.perf_counter() - started, 3)
        return replace(result, copy=copy, seconds=seconds)

    def _cropped(self, clip: Clip, out: Path, relatives: Relatives) -> ClipResult:
        is_given = relatives.given is not None
        shared = relatives.given.boxes if relatives.given else relatives.boxes
        try:
            with open_clip(Path(clip.path)) as video:
                wanted = self._choose_frames(clip, video, relatives)
                cropped = self._crop_at(shared, video, wanted, is_given)
                frames = self._detect(video, wanted) if cropped is None else cropped
                shortfall = video.shortfall
                stream = video.stream
        except ClipError as error:
            return ClipResult(error.status, str(error), self.options.frames_of(clip))
        mask_error = None
        if clip.mask_video and any(frame.crops for frame in frames):
            frames, mask_error = with_given_masks(clip.mask_video, frames)
        rows = self._write(clip, out, frames, relatives, None if cropped is None else shared)
        status, reason = _failure(clip.video, len(wanted), len(frames), shortfall)
        status = status or ("ok" if rows else "no_face")
        boxes = None
        if cropped is None and frames:
            boxes = Boxes(
                ORIGINAL if clip.label == REAL else SIBLING,
                frames[0].width,
                frames[0].height,
                tuple(frame.index for frame in frames),
                tuple(tuple(crop.face for crop in frame.crops) for frame in frames),
                (clip.part, clip.video),
            )
        return ClipResult(
            *(status, reason, len(wanted), len(frames)),
            rows=rows,
            boxes=boxes,
            stream=stream,
            mask_error=mask_error,
        )

    def _write(
        self,
        clip: Clip,
        out: Path,
        frames: Sequence[CroppedFrame],
        relatives: Relatives,
        boxes: Boxes | None,
    ) -> tuple[CropRow, ...]:
        """Write the crops, compared with those of the original; return their rows.

        Args:
            boxes: those that the clip was cropped at; None if its faces were detected.
        """
        options, original, given = self.options, relatives.original, relatives.given
        source, shares_boxes = OWN, False
        if boxes:
            source = boxes.source
            of_original = original is not None and boxes.origin == (original.part, original.video)
            shares_boxes = source == ORIGINAL and of_original
        pairs = Original(original, out, options.format, shares_boxes).crops_at(frames)
        detector = given.detector if given else self._looking.name
        writer = CropWriter(clip, out, options.format, options.masks, source, detector)
        return writer.write(pairs)

    def _choose_frames(self, of: Clip, video: AnyVideo, relatives: Relatives) -> list[int]:
        """Indices of the frames to decode.

        They are those given, or else those of the shared boxes, if the clip has all of them.
        Otherwise they are chosen by the options, such that the clips that will share them have them
        too.
        """
        if relatives.given:
            return list(relatives.given.boxes.frames)
        clip, shared, options = video.timeline, relatives.boxes, self.options
        wanted = options.frames_of(of)
        if shared and all(index < clip.count for index in shared.frames):
            if isinstance(options.frames, int):
                return list(shared.frames)
            if wanted <= len(shared.frames):
                return [shared.frames[i] for i in evenly_spaced(len(shared.frames), wanted)]
        chosen = choose_frames(options.sampling, wanted, clip)
        lengths = [clip_length(Path(other.path)) for other in relatives.others]
        common = common_length(wanted, clip.count, lengths)
        if chosen[-1] < common:
            return chosen
        return choose_frames(options.sampling, wanted, clip.limited(common))

    @property
    def _looking(self) -> Detector:
        assert self._detector is not None, "the faces are not given, and no detector is there"
        return self._detector

    def _detect(self, video: AnyVideo, wanted: Sequence[int]) -> list[CroppedFrame]:
        """Detect faces on every frame, then keep those that the tracking across frames selects."""
        frames: list[CroppedFrame] = []
        faces: list[Face] = []
        every_face = self.options.faces == ALL
        for frame in video.frames(wanted):
            # The quick detection is None where uncertain, and misses small faces, which count too
            # if all faces are wanted.
            quick = None if every_face else self._looking.detect_fast(frame, faces)
            faces = self._looking.detect(frame) if quick is None else quick
            frames.append(self._cut(frame, faces))
        kept = select_detections([[crop.face for crop in f.crops] for f in frames], every_face)
        return [
            replace(frame, crops=[frame.crops[i] for i in numbers])
            for frame, numbers in zip(frames, kept, strict=True)
        ]

    def _crop_at(
        self, shared: Boxes | None, video: AnyVideo, wanted: Sequence[int], are_given: bool
    ) -> list[CroppedFrame] | None:
        """Crop the frames at the shared boxes, or at those that are given.

        Returns None if there are none for these frames, the frame size differs or the clip's own
        detections contradict them.

        Raises:
            ClipError: the size of the frames is not that of boxes that are given.
        """
        if not shared or not any(shared.faces) or not set(wanted) <= set(shared.frames):
            return None
        faces = dict(zip(shared.frames, shared.faces, strict=True))
        with_boxes = [index for index in wanted if faces[index]]
        count = 0 if are_given else _CHECKED_FRAMES
        checked = {with_boxes[i] for i in evenly_spaced(len(with_boxes), count)}
        frames = []
        for frame in video.frames(wanted):
            if shared.width and (frame.width, frame.height) != (shared.width, shared.height):
                if are_given:
                    raise ClipError(
                        f"expected frames of {shared.width}x{shared.height}, as in the recipe, "
                        f"found {frame.width}x{frame.height}"
                    )
                return None
            boxes = faces[frame.index]
            if frame.index in checked:  # every box must overlap one of the clip's own detections
                quick = self._looking.detect_fast(frame, boxes)
                own = self._looking.detect(frame) if quick is None else quick
                if not all(any(iou(box, face) > _MIN_IOU for face in own) for box in boxes):
                    return None
            frames.append(self._cut(frame, boxes))
        return frames

    def _cut(self, frame: Frame, faces: Sequence[Face]) -> CroppedFrame:
        options, crops = self.options, []
        for face in faces:
            place = placement.place(face, options.align, options.margin, options.size)
            crops.append(Crop(face, place, place.cut(frame)))
        return CroppedFrame(frame.index, frame.time_s, frame.width, frame.height, crops)


def _not_cropped(clip: Clip, given: Given, copy: str | None) -> ClipResult:
    """The result of a clip that is not the author's, or of which the recipe has no crop."""
    if copy == OTHER_CLIP:
        reason = f"expected the author's {clip.video}, found another clip of that name"
        return ClipResult("missing", reason, len(given.boxes.frames))
    failed = f"expected no crop of {clip.video}: {given.status} when the recipe was made"
    return ClipResult(given.status, failed if given.status in FAILURES else None)


def _failure(
    video: str, wanted: int, decoded: int, shortfall: str | None
) -> tuple[str | None, str | None]:
    """Failure status and error message of a clip that was opened; None if it is whole."""
    if decoded == 0:
        lacks = f": {shortfall}" if shortfall else ""
        return "unreadable", f"expected {counted(wanted, 'frame')} of {video}, none decoded{lacks}"
    what = f"{counted(wanted, 'frame')} of {video}"
    if decoded < wanted:
        return "truncated", f"expected {what}, {decoded} decoded"
    if shortfall:
        return "truncated", f"expected the whole of {video}, {shortfall}; it has {what}"
    return None, None
