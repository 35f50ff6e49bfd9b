"""Code that runs in a worker process: encodes the best faces of one clip."""

import base64
from typing import NamedTuple, TypedDict

from dfdc_prep.crops.files import read_verified, resolve_inside
from dfdc_prep.identities.candidates import MAX_FACES, Candidate, ClipCandidates
from dfdc_prep.identities.encoder import Encoder, Image, Look
from manifests.identities.evidence import flaws, quality
from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, to_rgb


class EncodedFace(TypedDict):
    """One encoded crop, as the journal stores it.

    `encoding` is float32 [128] in base64; the other keys are columns of `ENCODING_SCHEMA`.
    """

    path: str
    size: float | None
    asymmetry: float
    light: float
    encoding: str


class _Seen(NamedTuple):
    crop: Candidate
    look: Look

    @property
    def quality(self) -> float:
        return quality(self.look.light, self.look.asymmetry, self.crop.size, self.crop.score)

    @property
    def good(self) -> bool:
        return not flaws(self.look.light, self.look.asymmetry, self.crop.size)


_root = ""
_encoder = Encoder()


def init_worker(root: str) -> None:
    """Set up a worker process.

    Args:
        root: real path of the faces folder.
    """
    global _root
    _root = root


def encode_clip(clip: ClipCandidates) -> list[EncodedFace]:
    """Encode the best faces of a clip, at most `MAX_FACES`, best first.

    If any face is good, weak ones are left out. A crop that does not decode is left out.

    Raises:
        ShardError: a crop is missing, differs from the manifest, or is outside the folder.
    """
    seen = [look for crop in clip.crops if (look := _look(crop))]
    best = sorted(seen, key=lambda each: -each.quality)[:MAX_FACES]
    if any(each.good for each in best):
        best = [each for each in best if each.good]
    return [_encode(each) for each in best]


def _look(crop: Candidate) -> _Seen | None:
    data = read_verified(resolve_inside(_root, crop.path), crop.path, crop.sha256)
    image = decode(data)
    return None if image is None else _Seen(crop, _encoder.look(image, crop.box))


def decode(data: bytes) -> Image | None:
    """Decode a PNG or JPEG to RGB; None if that fails or it has too many pixels."""
    try:
        with open_image(data, CROP_FORMATS) as image:
            return to_rgb(image)
    except ImageError:
        return None


def _encode(seen: _Seen) -> EncodedFace:
    encoding = _encoder.encode(seen.look)
    return EncodedFace(
        path=seen.crop.path,
        size=seen.crop.size,
        asymmetry=round(seen.look.asymmetry, 4),
        light=round(seen.look.light, 2),
        encoding=base64.b64encode(encoding.astype("<f4").tobytes()).decode(),
    )
