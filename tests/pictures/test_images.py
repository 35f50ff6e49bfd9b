"""Pictures are opened in a few formats, up to a number of pixels, and shown as they are."""

import io
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifests.pictures.images import ImageError, open_image, to_rgb
from manifests.pictures.thumbnails import thumbnail

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n0 0 64 64 rectfill\n%%EOF\n"
)
#: Files of formats that Pillow would open, and their first bytes.
OTHERS = {
    "EPS": EPS,
    "PDF": b"%PDF-1.4\n%%EOF\n",
    "FITS": b"SIMPLE  =                    T" + bytes(5000),
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(100),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


def saved(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 10, 10)).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("name", [*OTHERS, "ICO", "PPM", "TGA", "SGI", "PCX", "DDS", "ICNS"])
def test_other_formats_are_no_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)  # Ghostscript is not started
    data = OTHERS.get(name) or saved(name)
    assert thumbnail(data) is None
    with pytest.raises(ImageError, match="no image in PNG or JPEG or") as raised:
        open_image(data)
    assert not raised.value.is_image


def chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(name + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + name + data + crc


BOMBS = {
    "PNG": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", (60_000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0")
    + chunk(b"IDAT", zlib.compress(bytes(9))),
    "GIF": b"GIF89a" + b"\xff\xff\xff\xff" + bytes(3) + b",\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;",
    "WEBP": b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\x00\xff\xff\x00",
    "BMP": b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + b"\xff\xff\0\0" * 2
    + b"\1\0\x18\0" + bytes(24),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_an_image_with_too_many_pixels_is_not_decoded(name: str) -> None:
    with pytest.raises(ImageError) as raised, open_image(BOMBS[name]) as image:
        image.load()
    assert raised.value.is_image or name == "WEBP"
    assert thumbnail(BOMBS[name]) is None


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, form: str) -> None:
    grey = np.linspace(0, 65_535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey", form)
    with open_image(tmp_path / "grey") as image:
        rgb = to_rgb(image)
    assert (rgb == (grey >> 8)[..., None]).all()


def test_values_of_an_unknown_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / "depth.tiff")
    with open_image(tmp_path / "depth.tiff") as image, pytest.raises(ImageError, match="mode F"):
        to_rgb(image)


def test_a_damaged_image_is_named_as_one() -> None:
    with open_image(saved("PNG")[:-30]) as image, pytest.raises(ImageError, match="damaged"):
        to_rgb(image)
