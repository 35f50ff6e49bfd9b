"""Reads what the original shows at the places of a fake's crops.

Where the fake was cropped at the boxes of its original, that is the original's crop, whose file
exists. Otherwise the original is decoded again, and cut at the fake's own boxes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.crops import encoding
from dfdc_prep.errors import ClipError
from dfdc_prep.extraction.crops_out import CroppedFrame, OriginalCrops, crop_path
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip


@dataclass(frozen=True)
class Original:
    """The original of a fake.

    Attributes:
        clip: the original; None if it is unknown, or was not decoded.
        out: the output folder, which holds its crops.
        format: their format, `png` or `jpg`.
        shares_boxes: its crops lie where the fake's do.
    """

    clip: Clip | None
    out: Path
    format: str
    shares_boxes: bool

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
            paths = (
                crop_path(self.out, clip, frame.index, number, self.format)
                for number in range(len(frame.crops))
            )
            found: OriginalCrops | None
            try:
                found = [
                    _read_image(path, crop.place.size)
                    for path, crop in zip(paths, frame.crops, strict=True)
                ]
            except (OSError, ValueError):
                found = None
            if found is None:
                yield from self._decode(clip, [frame])
            else:
                yield frame, found

    def _decode(
        self, clip: Clip, frames: Sequence[CroppedFrame]
    ) -> Iterator[tuple[CroppedFrame, OriginalCrops]]:
        """Decode the original; frames that do not decode, or have another size, are unknown."""
        found: dict[int, OriginalCrops] = {}
        try:
            with open_clip(Path(clip.path)) as video:
                wanted = {frame.index: frame for frame in frames if frame.crops}
                for decoded in video.frames(list(wanted)):
                    frame = wanted[decoded.index]
                    if (decoded.width, decoded.height) == (frame.width, frame.height):
                        images = (crop.place.cut(decoded) for crop in frame.crops)
                        found[frame.index] = [
                            encoding.as_stored(image, self.format) for image in images
                        ]
        except ClipError:
            pass
        for frame in frames:
            yield frame, found.get(frame.index) or [None] * len(frame.crops)


def _read_image(path: Path, size: int) -> Image:
    image = encoding.decode(path.read_bytes())
    if image.shape != (size, size, 3):
        raise ValueError(f"expected {size}x{size} pixels")
    return image
