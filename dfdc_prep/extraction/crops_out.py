"""Writes the crops and masks of a clip, and makes their rows of the manifest."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.crops import encoding
from dfdc_prep.crops.encoding import MASK_SUFFIX
from dfdc_prep.crops.forgery import Comparison, compare, regions_of
from dfdc_prep.crops.placement import Placement
from dfdc_prep.detectors.base import Face
from dfdc_prep.video.picture import Image
from manifests.columns import CropRow, make_row
from manifests.folders import FacesFolder

#: Folder of the crops in the output: crops/<part>/<clip>/.
CROPS = FacesFolder.CROPS


@dataclass(frozen=True)
class Crop:
    """The crop of one face in one frame."""

    face: Face
    place: Placement
    image: Image


@dataclass(frozen=True)
class CroppedFrame:
    """One decoded frame, reduced to the crops that may be kept."""

    index: int
    time_s: float
    width: int
    height: int
    crops: list[Crop]


#: What the original shows at the crops of a frame; None where it is unknown.
OriginalCrops = list[Image | None]


@dataclass(frozen=True)
class CropWriter:
    """Writes the crops of one clip.

    Attributes:
        clip: the clip that the frames come from.
        out: the output folder.
        format: `png` or `jpg`.
        masks: also write a mask beside each crop that is compared.
        box_source: `own`, `original` or `sibling`.
        detector: name of the detector that found the boxes.
    """

    clip: Clip
    out: Path
    format: str
    masks: bool
    box_source: str
    detector: str

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
        _make_folder(path.parent)
        encoded = encoding.encode(crop.image, self.format)
        _write(path, encoded)
        compared, mask = None, None
        if original is not None:
            # Compared as stored, so that JPEG changes both.
            stored = encoding.as_stored(crop.image, self.format, encoded)
            regions = regions_of(crop.face, crop.place, frame.width, frame.height)
            compared = compare(stored, original, regions, self.masks)
            mask = self._write_mask(path, compared)
        given = {
            "frame": frame.index,
            "face": number,
            "path": path.relative_to(self.out).as_posix(),
            "sha256": hashlib.sha256(encoded).hexdigest(),
            "aligned": compared.shift if compared else None,
            "mask": mask and mask[0],
            "mask_sha256": mask and mask[1],
            **_coordinates(crop),
        }
        sources = (self.clip, self.clip.provenance, self, frame, crop.face, crop.place, compared)
        return make_row(CropRow, given, *sources)

    def _write_mask(self, crop: Path, compared: Comparison) -> tuple[str, str] | None:
        """Write the mask beside its crop; return its path below `out` and its hash."""
        if compared.mask is None:
            return None
        path = crop.with_suffix(MASK_SUFFIX)
        encoded = encoding.encode_mask(compared.mask)
        _write(path, encoded)
        return path.relative_to(self.out).as_posix(), hashlib.sha256(encoded).hexdigest()


def _coordinates(crop: Crop) -> dict[str, float]:
    """The columns of the square, of the affine map and of the landmarks, if there are any."""
    points = crop.face.landmarks._asdict() if crop.face.landmarks else {}
    return {
        **{f"crop_{name}": value for name, value in vars(crop.place.square).items()},
        **{f"affine_{name}": value for name, value in vars(crop.place.affine).items()},
        **{f"{name}_x": x for name, (x, _) in points.items()},
        **{f"{name}_y": y for name, (_, y) in points.items()},
    }


def _write(path: Path, data: bytes) -> None:
    """Write a file unless it has this content already.

    On a cluster, a worker that was given up may still be at work. It must not truncate a file that
    another worker has finished.
    """
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


def _make_folder(folder: Path) -> None:
    """Make a clip's folder and its part's folder.

    The output folder itself is not created: if it was removed meanwhile, writing must fail.
    """
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
