"""Measures of crops, one number each: brightness, sharpness, face size, place in the frame ..."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tqdm import tqdm

from dfdc_prep.crops.encoding import decode
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.reports.images import CropFiles
from dfdc_prep.video.timeline import evenly_spaced

Floats = npt.NDArray[np.float64]

#: Bytes of images measured, about; of more, evenly spaced ones are. On one core a megabyte takes
#: about 40 ms as JPEG and 30 ms as PNG.
MAX_BYTES = 500_000_000
#: Number of images whose size is taken to be that of all.
_WEIGHED = 100
#: Images a thread measures at a time; handing over single ones costs as much as measuring them.
_BLOCK = 64
_UNKNOWN = (np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Measure:
    """One number of every crop.

    Attributes:
        name: as shown, such as `face size`.
        unit: what the number is, such as `source pixels`.
        values: float64 [rows], NaN where unknown.
    """

    name: str
    unit: str
    values: Floats

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether the number of each row is known, bool [rows]."""
        return np.isfinite(self.values)

    @property
    def label(self) -> str:
        """The name and the unit, for the axis of a chart."""
        return f"{self.name}, {self.unit}"


@dataclass(frozen=True)
class ImageMeasures:
    """What the images of a table tell.

    Attributes:
        brightness: mean grey level, 0 to 255, float64 [rows]; NaN where unknown, as below.
        sharpness: variance of the Laplacian of the grey levels (Pech-Pacheco et al., 2000).
        size: of the file, bytes.
        tried: number of rows whose image was looked at.
        unreadable: number of those whose image is missing or does not decode.
    """

    brightness: Floats
    sharpness: Floats
    size: Floats
    tried: int
    unreadable: int


def measure_images(files: CropFiles, sha256: Sequence[str]) -> ImageMeasures:
    """Measure the images of a table, byte-identical ones once.

    Args:
        files: the images of the rows.
        sha256: of every row's file; equal hashes mean identical bytes.
    """
    first_row: dict[str, int] = {}
    same_as = np.array([first_row.setdefault(each, row) for row, each in enumerate(sha256)])
    distinct = np.unique(same_as)
    chosen = distinct[evenly_spaced(len(distinct), _affordable(files, distinct))]

    def measure(row: int) -> tuple[float, float, float]:
        return measure_image(files.read_one(row))

    # Unreadable images are counted, not printed.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    values = np.full((len(_UNKNOWN), len(sha256)), np.nan)
    values[:, chosen] = np.array(_mapped(measure, chosen.tolist())).T
    values = values[:, same_as]
    tried = np.isin(same_as, chosen)
    unreadable = int(np.isnan(values[0, tried]).sum())
    return ImageMeasures(values[0], values[1], values[2], int(tried.sum()), unreadable)


def _affordable(files: CropFiles, rows: npt.NDArray[np.int64]) -> int:
    """Return how many of the images can be measured, judged by the size of some of them."""
    some = rows[evenly_spaced(len(rows), _WEIGHED)].tolist()
    mean_size = np.mean([len(files.read_one(row) or b"") for row in some])
    return max(_WEIGHED, int(MAX_BYTES / max(float(mean_size), 1)))


def short_number(value: float) -> str:
    """Return a number with four digits, and with all of those before the decimal point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def measure_image(data: bytes | None) -> tuple[float, float, float]:
    """Return brightness, sharpness and size in bytes of an image file; NaN if it is unusable."""
    if data is None:
        return _UNKNOWN
    try:
        grey = decode(data, grey=True)
    except ValueError:
        return _UNKNOWN
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return cv2.mean(grey)[0], float(deviation[0, 0]) ** 2, float(len(data))


def row_measures(table: pa.Table, images: ImageMeasures) -> list[Measure]:
    """Return every measure of the rows of a manifest; all are unknown in some imported sets."""
    column = {name: _numbers(table, name) for name in _COLUMNS}
    with np.errstate(divide="ignore", invalid="ignore"):
        across = (column["x"] + column["w"] / 2) / column["width"]
        down = (column["y"] + column["h"] / 2) / column["height"]
        shape = column["w"] / column["h"]
    return [
        Measure("brightness", "mean grey level, 0 to 255", images.brightness),
        Measure("sharpness", "variance of the Laplacian", images.sharpness),
        Measure("face size", "side of the square cut out, source pixels", column["crop_size"]),
        Measure("detector score", "on the detector's own scale", column["score"]),
        Measure("position across", "centre of the box, share of the frame's width", across),
        Measure("position down", "centre of the box, share of the frame's height", down),
        Measure("box shape", "width over height", shape),
        Measure("frame width", "pixels", column["width"]),
        Measure("frame height", "pixels", column["height"]),
        Measure("time", "seconds into the clip", column["time_s"]),
        Measure("file size", "bytes", images.size),
    ]


_COLUMNS = ("x", "y", "w", "h", "width", "height", "crop_size", "score", "time_s")


def _numbers(table: pa.Table, name: str) -> Floats:
    """Return a column as float64 [rows], NaN for null."""
    values: Floats = table[name].cast(pa.float64()).fill_null(np.nan).to_numpy()
    return values


def _mapped(
    measure: Callable[[int], tuple[float, float, float]], rows: Sequence[int]
) -> list[tuple[float, float, float]]:
    """Measure rows in threads, with a progress bar; OpenCV decodes outside Python's lock."""

    def measure_block(start: int) -> list[tuple[float, float, float]]:
        return [measure(row) for row in rows[start : start + _BLOCK]]

    found: list[tuple[float, float, float]] = []
    bar = tqdm(total=len(rows), desc="images", unit=" images", disable=None)
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for block in pool.map(measure_block, range(0, len(rows), _BLOCK)):
            found += block
            bar.update(len(block))
    return found
