"""Writes the crops and masks of a clip, and makes their rows of the manifest.

A fake's crops are compared with what its original shows there. Where the fake was cropped at the
boxes of its original, that is the original's crop, whose file exists. Otherwise the original is
decoded again, and cut at the fake's own boxes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.crops import encoding
from dfdc_prep.crops.encoding import MASK_SUFFIX
from dfdc_prep.crops.forgery import compare, given_mask, regions_of
from dfdc_prep.crops.placement import Placement
from dfdc_prep.detectors.base import Face
from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip
from manifests.folders import FacesFolder
from manifests.schemas import CropRow, make_row
from manifests.wording import counted

#: Folder of the crops in the output: crops/<part>/<clip>/.
CROPS = FacesFolder.CROPS
#: Values of `mask_source`.
GIVEN, COMPUTED = "given", "computed"


@dataclass(frozen=True)
class Crop:
    """The crop of one face in one frame."""

    face: Face
    place: Placement
    image: Image
    given: Image | None = None  # its mask by the data set's mask video, uint8 [size, size]


@dataclass(frozen=True)
class CroppedFrame:
    """One decoded frame, reduced to the crops that may be kept."""

    index: int
    time_s: float | None  # None if not known
    width: int
    height: int
    crops: list[Crop]


#: What the original shows at the crops of a frame; None where it is unknown.
OriginalCrops = list[Image | None]


@dataclass(frozen=True)
class Original:
    """The original of a fake; its clip is None if it is unknown, or was not decoded."""

    clip: Clip | None
    out: Path  # the output folder, which holds its crops
    format: str
    shares_boxes: bool  # its crops lie where the fake's do

    def crops_at(
        self, frames: Sequence[CroppedFrame]
    ) -> Iterator[tuple[CroppedFrame, OriginalCrops]]:
        """Yield each frame with the original's crops at the places of its crops.

        They are the pixels that the files of the original's crops hold, or would hold.

        Raises:
            SourceUnreachable: the system cannot read the original.
        """
        if self.clip is None:
            for frame in frames:
                yield frame, [None] * len(frame.crops)
        elif self.shares_boxes:
            yield from self._read(self.clip, frames)
        else:
            yield from self._decode(self.clip, frames)

    def _read(
        self, clip: Clip, frames: Sequence[CroppedFrame]
    ) -> Iterator[tuple[CroppedFrame, OriginalCrops]]:
        """Read the original's files; decode the frames of those that are lost or damaged."""
        for frame in frames:
            found: OriginalCrops = []
            try:
                for number, crop in enumerate(frame.crops):
                    path = crop_path(self.out, clip, frame.index, number, self.format)
                    image = encoding.decode(path.read_bytes())
                    if image.shape != (crop.place.size, crop.place.size, 3):
                        raise ValueError("expected the size of the crop")
                    found.append(image)
            except (OSError, ValueError):
                yield from self._decode(clip, [frame])
            else:
                yield frame, found

    def _decode(
        self, clip: Clip, frames: Sequence[CroppedFrame]
    ) -> Iterator[tuple[CroppedFrame, OriginalCrops]]:
        """Decode the original; frames that do not decode, or have another size, are unknown."""
        found: dict[int, OriginalCrops] = {}
        with suppress(ClipError):
            for frame, crops in _cut_again(clip.path, clip.video, frames):
                found[frame.index] = [encoding.as_stored(crop, self.format) for crop in crops]
        for frame in frames:
            yield frame, found.get(frame.index) or [None] * len(frame.crops)


def _cut_again(
    path: str, name: str, frames: Sequence[CroppedFrame]
) -> Iterator[tuple[CroppedFrame, list[Image]]]:
    """Cut the frames of another clip, which decode there in the same size, at the same places.

    Raises:
        ClipError: it cannot be read; or, at the end, another size was found.
        SourceUnreachable: the system cannot read it.
    """
    wanted, other = {frame.index: frame for frame in frames if frame.crops}, None
    with open_clip(Path(path), name) as video:
        for decoded in video.frames(list(wanted)):
            frame = wanted[decoded.index]
            if (decoded.width, decoded.height) == (frame.width, frame.height):
                yield frame, [crop.place.cut(decoded) for crop in frame.crops]
            else:
                size = f"{frame.width}x{frame.height}"
                other = f"expected {size} in {name}, found {decoded.width}x{decoded.height}"
    if other:
        raise ClipError(other)


def with_given_masks(
    clip: Clip, frames: Sequence[CroppedFrame]
) -> tuple[list[CroppedFrame], str | None]:
    """Give the crops their masks, cut out of a mask video.

    Args:
        clip: the mask video; its frames are those of the clip.

    Returns:
        The frames; and why some crops have no mask from it, None if all have.

    Raises:
        SourceUnreachable: the system cannot read the mask video.
    """
    name, cut, error = f"the mask video {clip.video}", dict[int, list[Crop]](), None
    try:
        for frame, shown in _cut_again(clip.path, name, frames):
            pairs = zip(frame.crops, map(given_mask, shown), strict=True)
            cut[frame.index] = [replace(crop, given=mask) for crop, mask in pairs]
    except ClipError as raised:
        error = str(raised)
    wanted = sum(bool(frame.crops) for frame in frames)
    if error is None and len(cut) < wanted:
        error = f"expected {counted(wanted, 'frame')} of {name}, found {len(cut):,}"
    return [replace(each, crops=cut.get(each.index, each.crops)) for each in frames], error


@dataclass(frozen=True)
class CropWriter:
    """Writes the crops of one clip."""

    clip: Clip
    out: Path  # the output folder
    format: str
    masks: bool  # also write a mask beside each crop that is compared or has one given
    box_source: str
    detector: str  # the one that found the boxes

    def write(self, frames: Iterable[tuple[CroppedFrame, OriginalCrops]]) -> tuple[CropRow, ...]:
        """Write all crops and return their manifest rows, by frame and face."""
        return tuple(
            self._write_crop(frame, number, original)
            for frame, originals in frames
            for number, original in enumerate(originals)
        )

    def _write_crop(self, frame: CroppedFrame, number: int, original: Image | None) -> CropRow:
        crop = frame.crops[number]
        path = crop_path(self.out, self.clip, frame.index, number, self.format)
        # The output folder itself is not created: if it was removed meanwhile, writing must fail.
        path.parents[1].mkdir(exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        encoded = encoding.encode(crop.image, self.format)
        _write(path, encoded)
        compared, mask, source, mask_sha256 = None, crop.given, GIVEN, None
        if original is not None:
            # Compared as stored, so that JPEG changes both.
            stored = encoding.as_stored(crop.image, self.format, encoded)
            regions = regions_of(crop.face, crop.place, frame.width, frame.height)
            compared = compare(stored, original, regions, self.masks and mask is None)
            if mask is None:
                mask, source = compared.mask, COMPUTED
        mask_path = path.with_suffix(MASK_SUFFIX)
        if mask is not None:
            encoded_mask = encoding.encode_mask(mask)
            _write(mask_path, encoded_mask)
            mask_sha256 = hashlib.sha256(encoded_mask).hexdigest()
        points = crop.face.landmarks._asdict() if crop.face.landmarks else {}
        given = {
            "frame": frame.index,
            "face": number,
            "path": path.relative_to(self.out).as_posix(),
            "sha256": hashlib.sha256(encoded).hexdigest(),
            "aligned": compared.shift if compared else None,
            "mask": None if mask is None else mask_path.relative_to(self.out).as_posix(),
            "mask_sha256": mask_sha256,
            "mask_source": None if mask is None else source,
            **{f"crop_{name}": value for name, value in vars(crop.place.square).items()},
            **{f"affine_{name}": value for name, value in vars(crop.place.affine).items()},
            **{f"{name}_x": x for name, (x, _) in points.items()},
            **{f"{name}_y": y for name, (_, y) in points.items()},
        }
        sources = (self.clip, self.clip.provenance, self, frame, crop.face, crop.place, compared)
        return make_row(CropRow, given, *sources)


def _write(path: Path, data: bytes) -> None:
    # On a cluster, a worker that was given up may still be at work. It must not truncate a file
    # that another worker has finished.
    if not (path.exists() and path.read_bytes() == data):
        path.write_bytes(data)


def crop_folder(out: Path, clip: Clip) -> Path:
    """The folder of a clip's crops."""
    return out / CROPS / clip.part / clip.folder


def crop_files(crops: Iterable[CropRow]) -> Iterator[str]:
    """Yield the paths of crops and of their masks, relative to the output folder."""
    for crop in crops:
        yield crop["path"]
        if crop["mask"] is not None:
            yield crop["mask"]


def crop_path(out: Path, clip: Clip, frame: int, face: int, file_format: str) -> Path:
    """The file of a crop."""
    return crop_folder(out, clip) / f"{frame:06d}_{face}.{file_format}"
