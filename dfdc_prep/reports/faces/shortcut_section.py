"""The section about shortcuts: which single measures give the label away, and distributions."""

from collections.abc import Sequence

import numpy as np

from dfdc_prep.reports import charts
from dfdc_prep.reports.faces.measures import ImageMeasures, Measure, short_number
from dfdc_prep.reports.faces.shortcuts import SEPARATING_AUC, Shortcut, find_shortcuts
from dfdc_prep.reports.page import Block, Chart, Charts, Section, Table, Text
from manifests.labels import FAKE, LABELS, REAL
from manifests.tables.codes import Codes
from manifests.wording import counted

#: An AUC of no measure is above this where the page says that all is well.
_GOOD_UPPER = 0.75
#: Measures drawn as distributions.
_DRAWN = (
    *("brightness", "sharpness", "face size", "detector score"),
    *("position across", "position down", "file size"),
)


def shortcuts_section(
    measures: Sequence[Measure], images: ImageMeasures, label: Codes, clip: Codes
) -> Section:
    """Which single measures give the label away, in words, as a table and as distributions.

    Args:
        measures: of every crop.
        images: brightness and sharpness of the images, and how many were read.
        label: index in LABELS of each row, int64 [rows].
        clip: number of each row's clip, int64 [rows].
    """
    found = find_shortcuts(measures, label, clip)
    blocks: list[Block] = [*_shortcut_sentences(found, label)]
    rows = [
        (
            each.measure.name,
            f"{each.auc:.3f}",
            each.larger,
            short_number(each.medians[REAL]),
            short_number(each.medians[FAKE]),
            f"{each.by_chance:.2g}",
            each.measure.unit,
        )
        for each in found
        if not each.few
    ]
    if rows:
        header = ("measure", "AUC", "larger in", "median REAL", "median FAKE", "by chance", "unit")
        caption = "How well each single measure tells REAL from FAKE, the worst first"
        blocks.append(Table(caption, header, rows))
    blocks.append(Text(_shortcut_note(found, images)))
    blocks.append(Charts([_distribution(each, label) for each in measures if _is_drawn(each)]))
    return Section("Shortcuts", blocks)


def _shortcut_sentences(found: Sequence[Shortcut], label: Codes) -> list[Text]:
    if not found:
        only = LABELS[int(label[0])]
        return [Text(f"All crops are {only}, so no measure can be compared between labels.")]
    separating = [each for each in found if each.separates]
    if separating:
        return [
            *(Text(each.sentence(), "warning") for each in separating),
            Text(
                "A model can learn this instead of the traces of a fake. Balance it, crop or "
                "re-encode both labels in the same way, or test on data without it."
            ),
        ]
    told = [each for each in found if not each.few]
    if not told:
        known = max(found, key=lambda each: sum(each.clips.values())).clips
        shown = " and ".join(counted(count, f"{name} clip") for name, count in known.items())
        return [Text(f"{shown}: too few to say whether a single measure tells the labels apart.")]
    strongest = told[0]
    clips = sum(strongest.clips.values())
    if strongest.auc >= SEPARATING_AUC:
        return [
            Text(
                f"There are too few clips to tell: {strongest.measure.name} has an AUC of "
                f"{strongest.auc:.2f} over {clips:,} clips, but chance alone would give one of the "
                f"measures such an AUC with a probability of up to {strongest.by_chance:.2g}."
            )
        ]
    return [
        Text(
            f"No single measure is seen to separate the labels. The strongest is "
            f"{strongest.measure.name}, AUC {strongest.auc:.2f} over {clips:,} clips, which leave "
            f"room for an AUC of up to {strongest.upper:.2f}.",
            "good" if strongest.upper < _GOOD_UPPER else "plain",
        )
    ]


def _shortcut_note(found: Sequence[Shortcut], images: ImageMeasures) -> str:
    note = (
        "The AUC is the probability that a clip of the label with larger values has the larger one "
        "of two; 0.5 is chance. Each clip counts once, by the mean of its crops. By chance is the "
        "probability of such an AUC if the measure told nothing, times the number of measures "
        f"(Mann-Whitney test). A measure is said to separate the labels from {SEPARATING_AUC} on, "
        "where that is below 0.05."
        if found
        else ""
    )
    note = f"{note} {sample_note(images)}"
    if images.unreadable:
        verb = "image is" if images.unreadable == 1 else "images are"
        note += f" {images.unreadable:,} {verb} missing or unreadable."
    return note.strip()


def sample_note(images: ImageMeasures) -> str:
    """Say how many images were measured, if not all were."""
    total = len(images.brightness)
    if images.tried == total:
        return ""
    return (
        f"Brightness, sharpness and file size are those of {images.tried:,} of {total:,} images, "
        "evenly spaced."
    )


def _is_drawn(measure: Measure) -> bool:
    return measure.name in _DRAWN and bool(measure.known.any())


def _distribution(measure: Measure, label: Codes) -> Chart:
    values = {
        name: measure.values[measure.known & (label == code)] for code, name in enumerate(LABELS)
    }
    medians = ", ".join(
        f"{name} {short_number(float(np.median(each)))}"
        for name, each in values.items()
        if len(each)
    )
    svg = charts.histogram(values, measure.name, measure.unit)
    alt = f"Histogram of {measure.label}. Medians: {medians}"
    return Chart(measure.name.capitalize(), svg, alt, f"Medians: {medians}")
