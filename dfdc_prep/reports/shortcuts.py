"""Shortcuts: single measures that tell REAL from FAKE, which a model takes instead of traces.

A measure is one number of every crop: brightness, sharpness, face size, position in the frame ...
For each the area under the ROC curve is computed, with each clip counted once, by the mean of its
crops, since the crops of a clip are not independent.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import beta, mannwhitneyu

from dfdc_prep.crops.encoding import decode
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.progress import Progress
from dfdc_prep.reports import charts
from dfdc_prep.reports.page import Block, Chart, Charts, Section, Table, Text
from dfdc_prep.video.timeline import evenly_spaced
from manifests.labels import FAKE, LABELS, REAL
from manifests.schemas import StreamRow
from manifests.tables.codes import Codes, Mask
from manifests.wording import counted

Floats = npt.NDArray[np.float64]

#: Bytes of images measured, about; of more, evenly spaced ones are. On one core a megabyte takes
#: about 40 ms as JPEG and 30 ms as PNG.
MAX_BYTES = 500_000_000
#: How many images are weighed to estimate the size of all.
_WEIGHED = 100
#: Images a thread measures at a time; handing over single ones costs as much as measuring them.
_BLOCK = 64
_UNKNOWN = (np.nan, np.nan, np.nan)

#: Smallest AUC, in the better direction, of a measure said to separate the labels.
SEPARATING_AUC = 0.65
#: Fewest clips of each label of which the AUC of a measure is said.
MIN_CLIPS = 10
#: Largest probability that none of the measures tried would reach its AUC by chance.
_SIGNIFICANCE = 0.05
#: An AUC of no measure is above this where the page says that all is well.
_GOOD_UPPER = 0.75


#: Commonest values of a column of the stream that are measures.
_MOST_VALUES = 5
_STREAM_UNITS = {
    "frame_rate": "frames a second",
    "duration_s": "seconds",
    "bit_rate": "bits a second",
    "gop_length": "frames",
    "b_frames": "share of the frames",
    "qp_mean": "quantisation parameter",
    "qp_deviation": "quantisation parameter",
}


class Measure(NamedTuple):
    """One number of every crop."""

    name: str  # as shown, such as `face size`
    unit: str  # what the number is, such as `source pixels`
    values: Floats  # float64 [rows], NaN where unknown
    drawn: bool = False  # whether its distribution is shown

    @property
    def known(self) -> Mask:
        """Whether the number of each row is known, bool [rows]."""
        return np.isfinite(self.values)


class ImageMeasures(NamedTuple):
    """What the images of a table tell."""

    brightness: Floats  # mean grey level, 0 to 255, float64 [rows]; NaN where unknown, as below
    sharpness: Floats  # variance of the Laplacian of the grey levels (Pech-Pacheco et al., 2000)
    size: Floats  # of the file, bytes
    tried: int  # number of rows whose image was looked at
    unreadable: int  # number of those whose image is missing or does not decode

    def sample_note(self) -> str:
        """Say how many images were measured, if not all were."""
        total = len(self.brightness)
        if self.tried == total:
            return ""
        return (
            f"Brightness, sharpness and file size are those of {self.tried:,} of "
            f"{counted(total, 'image')}, evenly spaced."
        )


def measure_images(read: Callable[[int], bytes | None], sha256: Sequence[str]) -> ImageMeasures:
    """Measure the images of a table, byte-identical ones once.

    Args:
        read: returns the encoded image of a row, None if it cannot be read.
        sha256: of every row's file; equal hashes mean identical bytes.
    """
    first_row: dict[str, int] = {}
    same_as = np.array([first_row.setdefault(each, row) for row, each in enumerate(sha256)])
    distinct = np.unique(same_as)
    # How many can be measured is judged by the size of some of them.
    some = distinct[evenly_spaced(len(distinct), _WEIGHED)].tolist()
    mean_size = max(float(np.mean([len(read(row) or b"") for row in some])), 1)
    affordable = max(_WEIGHED, int(MAX_BYTES / mean_size))
    chosen = distinct[evenly_spaced(len(distinct), affordable)]
    # Unreadable images are counted, not printed.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    blocks = [chosen[start : start + _BLOCK].tolist() for start in range(0, len(chosen), _BLOCK)]
    measured: list[tuple[float, float, float]] = []
    bar = Progress(len(chosen), "images", "measure")
    # In threads: OpenCV decodes outside Python's lock.
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for some in pool.map(lambda block: [measure_image(read(row)) for row in block], blocks):
            measured += some
            bar.update(len(some))
    values = np.full((len(_UNKNOWN), len(sha256)), np.nan)
    values[:, chosen] = np.array(measured).T
    brightness, sharpness, size = values[:, same_as]
    tried = np.isin(same_as, chosen)
    unreadable = int(np.isnan(brightness[tried]).sum())
    return ImageMeasures(brightness, sharpness, size, int(tried.sum()), unreadable)


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

    def column(name: str) -> Floats:
        if name not in table.column_names:  # of a table from elsewhere
            return np.full(table.num_rows, np.nan)
        values: Floats = table[name].cast(pa.float64()).fill_null(np.nan).to_numpy()
        return values

    width, height, w, h = (column(name) for name in ("width", "height", "w", "h"))
    with np.errstate(divide="ignore", invalid="ignore"):
        across, down = (column("x") + w / 2) / width, (column("y") + h / 2) / height
        shape = w / h
    size, score = column("crop_size"), column("score")
    return [
        Measure("brightness", "mean grey level, 0 to 255", images.brightness, True),
        Measure("sharpness", "variance of the Laplacian", images.sharpness, True),
        Measure("face size", "side of the square cut out, source pixels", size, True),
        Measure("detector score", "on the detector's own scale", score, True),
        Measure("position across", "centre of the box, share of the frame's width", across, True),
        Measure("position down", "centre of the box, share of the frame's height", down, True),
        Measure("box shape", "width over height", shape),
        Measure("frame width", "pixels", width),
        Measure("frame height", "pixels", height),
        Measure("time", "seconds into the clip", column("time_s")),
        Measure("file size", "bytes", images.size, True),
    ]


def stream_measures(crops: pa.Table, clips: pa.Table | None) -> list[Measure]:
    """Return what the clips' streams give away: numbers, and 1 or 0 for a value that many have.

    Args:
        crops: rows of a manifest; a crop has the measures of its clip.
        clips: the clip log; None if the folder has no such file.
    """
    if clips is None:
        return []
    keys = zip(clips["part"].to_pylist(), clips["video"].to_pylist(), strict=True)
    position = {key: number for number, key in enumerate(keys)}
    of_crops = zip(crops["part"].to_pylist(), crops["video"].to_pylist(), strict=True)
    row = np.array([position.get(key, clips.num_rows) for key in of_crops], np.int64)
    used, found = np.unique(row[row < clips.num_rows]).tolist(), []
    for name in StreamRow.__annotations__:
        words, column = name.replace("_", " "), clips[name]
        if not pa.types.is_string(column.type):
            numbers = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
            unit = _STREAM_UNITS.get(name, "")
            found.append(Measure(words, unit, np.append(numbers, np.nan)[row]))
            continue
        said = column.to_pylist()
        values = [said[number] or "not said" for number in used]
        for value, count in Counter(values).most_common(_MOST_VALUES):
            if MIN_CLIPS <= count < len(used):
                has = np.full(clips.num_rows + 1, np.nan)
                has[used] = [each == value for each in values]
                short = value if len(value) <= 40 else f"{value[:37]}..."
                found.append(Measure(f"{words} {short}", "1 if it is so, else 0", has[row]))
    return found


class Shortcut(NamedTuple):
    """How well one measure alone tells REAL from FAKE."""

    measure: Measure
    auc: float  # area under the ROC curve in the better direction, 0.5 to 1
    # Probability of such an AUC if the measure told nothing (Mann-Whitney test), times the number
    # of measures tried.
    by_chance: float
    larger: str  # the label with the larger values
    medians: dict[str, str]  # the median of each label's clips
    clips: dict[str, int]  # number of clips with a known value, by label
    # The AUC that such clips can hide, the upper end of its 95 % interval: that of a share of as
    # many clips as the rarer label has, the largest variance that an AUC can have (Birnbaum and
    # Klose, 1957).
    upper: float

    @property
    def few(self) -> bool:
        """Whether a label has too few clips for its AUC to say anything."""
        return min(self.clips.values()) < MIN_CLIPS

    @property
    def separates(self) -> bool:
        """Whether the measure is a shortcut, and not by chance."""
        return not self.few and self.auc >= SEPARATING_AUC and self.by_chance < _SIGNIFICANCE

    def sentence(self) -> str:
        """What the measure gives away, in words."""
        real, fake = (self.medians[label] for label in LABELS)
        medians = f"{real} against {fake}" if self.larger == REAL else f"{fake} against {real}"
        return (
            f"{self.measure.name.capitalize()} alone tells REAL from FAKE with an AUC of "
            f"{self.auc:.2f} (chance is 0.50): it is larger in {self.larger} clips, median "
            f"{medians}."
        )


def find_shortcuts(measures: Sequence[Measure], label: Codes, clip: Codes) -> list[Shortcut]:
    """Return how well each measure alone separates the labels, the worst shortcut first.

    Args:
        measures: measures of the rows; those unknown for one of the labels are left out.
        label: index in LABELS of each row, int64 [rows].
        clip: number of each row's clip, int64 [rows].
    """
    found = (_shortcut(measure, label, clip, len(measures)) for measure in measures)
    return sorted((each for each in found if each), key=lambda each: -each.auc)


def clip_means(measure: Measure, label: Codes, clip: Codes) -> dict[str, Floats]:
    """The mean of each clip's crops of known value, float64 [clips], by label."""
    known = measure.known
    clips, index = np.unique(clip[known], return_inverse=True)
    means = np.bincount(index, measure.values[known]) / np.maximum(np.bincount(index), 1)
    clip_label = np.zeros(len(clips), np.int64)
    clip_label[index] = label[known]
    return {name: means[clip_label == code] for code, name in enumerate(LABELS)}


def _shortcut(measure: Measure, label: Codes, clip: Codes, tried: int) -> Shortcut | None:
    means = clip_means(measure, label, clip)
    real, fake = means[REAL], means[FAKE]
    if not len(real) or not len(fake):
        return None
    # The statistic counts the pairs in which the FAKE clip has the larger value; ties are half.
    statistic, probability = mannwhitneyu(fake, real)
    auc = float(statistic) / (len(real) * len(fake))
    best, rarer = max(auc, 1 - auc), min(len(real), len(fake))
    upper = beta.ppf(0.975, best * rarer + 1, (1 - best) * rarer) if best < 1 else 1.0
    return Shortcut(
        measure,
        best,
        min(1.0, float(probability) * tried),
        FAKE if auc >= 0.5 else REAL,
        charts.medians(means),
        {name: len(each) for name, each in means.items()},
        float(upper),
    )


def shortcuts_section(
    measures: Sequence[Measure], images: ImageMeasures, label: Codes, clip: Codes
) -> tuple[Section, Text]:
    """Which single measures give the label away, in words, as a table and as distributions.

    The arguments are those of `find_shortcuts`, and what the images tell.

    Returns:
        The section, and its verdict.
    """
    found = find_shortcuts(measures, label, clip)
    sentences = _sentences(found, label)
    blocks: list[Block] = [*sentences]
    verdict = sentences[0]
    if names := [f"{each.measure.name} (AUC {each.auc:.2f})" for each in found if each.separates]:
        said = f"Single measures that tell REAL from FAKE: {', '.join(names)}"
        verdict = Text(
            f"{said}. A model can learn them instead of the traces of a fake.", "warning"
        )
    rows = []
    for each in found:
        if not each.few:
            medians = (each.medians[name] for name in LABELS)
            chance = f"{each.by_chance:.2g}"
            cells = (f"{each.auc:.3f}", each.larger, *medians, chance, each.measure.unit)
            rows.append((each.measure.name, *cells))
    if rows:
        header = ("measure", "AUC", "larger in", "median REAL", "median FAKE", "by chance", "unit")
        caption = "How well each single measure tells REAL from FAKE, the worst first"
        blocks.append(Table(caption, header, rows))
    explained = (
        "The AUC is the probability that a clip of the label with larger values has the larger one "
        "of two; 0.5 is chance. Each clip counts once, by the mean of its crops. By chance is the "
        "probability of such an AUC if the measure told nothing, times the number of measures "
        f"(Mann-Whitney test). A measure is said to separate the labels from {SEPARATING_AUC} on, "
        "where that is below 0.05."
    )
    verb = "image is" if images.unreadable == 1 else "images are"
    unreadable = f"{images.unreadable:,} {verb} missing or unreadable." if images.unreadable else ""
    notes = (explained if found else "", images.sample_note(), unreadable)
    blocks.append(Text(" ".join(note for note in notes if note)))
    drawn = (measure for measure in measures if measure.drawn and measure.known.any())
    blocks.append(Charts([_distribution(each, clip_means(each, label, clip)) for each in drawn]))
    return Section("Shortcuts", blocks), verdict


def _sentences(found: Sequence[Shortcut], label: Codes) -> list[Text]:
    if not found:
        why = "No measure is known of both labels"
        if len(np.unique(label)) == 1:
            why = f"All crops are {LABELS[int(label[0])]}"
        return [Text(f"{why}, so none can be compared between labels.")]
    if separating := [each for each in found if each.separates]:
        advice = (
            "A model can learn this instead of the traces of a fake. Balance it, crop or "
            "re-encode both labels in the same way, or test on data without it."
        )
        return [*(Text(each.sentence(), "warning") for each in separating), Text(advice)]
    told = [each for each in found if not each.few]
    if not told:
        known = max(found, key=lambda each: sum(each.clips.values())).clips
        shown = " and ".join(counted(count, f"{name} clip") for name, count in known.items())
        return [Text(f"{shown}: too few to say whether a single measure tells the labels apart.")]
    strongest = told[0]
    name, clips = strongest.measure.name, counted(sum(strongest.clips.values()), "clip")
    if strongest.auc >= SEPARATING_AUC:
        said = (
            f"There are too few clips to tell: {name} has an AUC of "
            f"{strongest.auc:.2f} over {clips}, but chance alone would give one of the "
            f"measures such an AUC with a probability of up to {strongest.by_chance:.2g}."
        )
        return [Text(said)]
    said = (
        f"No single measure is seen to separate the labels. The strongest is {name}, AUC "
        f"{strongest.auc:.2f} over {clips}, which leave room for an AUC of up to "
        f"{strongest.upper:.2f}."
    )
    return [Text(said, "good" if strongest.upper < _GOOD_UPPER else "plain")]


def _distribution(measure: Measure, means: dict[str, Floats]) -> Chart:
    found = ", ".join(" ".join(each) for each in charts.medians(means).items())
    svg = charts.histogram(means, measure.name, measure.unit)
    alt = f"Histogram of the clips' {measure.name}, {measure.unit}. Medians: {found}"
    return Chart(measure.name.capitalize(), svg, alt, f"Medians of the clips: {found}")
