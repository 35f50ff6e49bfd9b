"""The page of a faces folder: clips, failures, families, shortcuts, crops."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.output_folder import read_run
from dfdc_prep.report import charts
from dfdc_prep.report.crop_sheets import CropGallery
from dfdc_prep.report.images import CropFiles
from dfdc_prep.report.measures import ImageMeasures, Measure, measure_images, row_measures
from dfdc_prep.report.page import Block, Chart, Charts, Page, Section, Table, Text
from dfdc_prep.report.shortcuts import SEPARATING_AUC, Shortcut, find_shortcuts
from manifests.auditing.leakage import fraction
from manifests.auditing.summary import Summary, summarize
from manifests.labels import FAILURES, FAKE, LABELS, REAL, STATUSES
from manifests.schema import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
from manifests.tables.factorize import Codes, factorize, label_codes, pair_codes
from manifests.tables.parquet import read_table

#: Rows of the table of clips that are not ok, of parts, and of the largest families.
MAX_CLIPS, MAX_PARTS, MAX_FAMILIES = 500, 120, 12
#: Measures drawn as distributions.
_DRAWN = (
    *("brightness", "sharpness", "face size", "detector score"),
    *("position across", "position down", "file size"),
)


@dataclass(frozen=True)
class FacesFolder:
    """What a faces folder holds.

    Attributes:
        path: the folder.
        crops: the manifest; it may have no rows.
        clips: the clip log; None if there is none.
        run: the content of run.json; None if there is none.
    """

    path: Path
    crops: pa.Table
    clips: pa.Table | None
    run: dict[str, Any] | None


def read_faces_folder(path: Path) -> FacesFolder:
    """Read the tables of a faces folder.

    Raises:
        TableError: the manifest is missing, or a table is invalid.
        OutputError: run.json is invalid.
    """
    crops = read_table(path / "manifest.parquet", MANIFEST_SCHEMA, "dfdc-prep extract")
    if crops.num_rows:
        label_codes(crops)  # raises if a label is neither REAL nor FAKE
    log = path / "clips.parquet"
    clips = read_table(log, CLIP_LOG_SCHEMA, "dfdc-prep extract") if log.is_file() else None
    return FacesFolder(path, crops, clips, read_run(path))


def faces_page(path: Path) -> Page:
    """Return the page of a faces folder.

    Raises:
        TableError, OutputError: as `read_faces_folder`.
    """
    folder = read_faces_folder(path)
    sections = [_clips_section(folder)]
    if folder.crops.num_rows:
        sections += _crops_sections(folder)
    sections.append(_run_section(folder.run))
    lead = "What dfdc-prep found in the clips: crops of faces, and clips without any."
    return Page(f"Faces: {path.resolve().name}", lead, sections, _facts(folder))


def _facts(folder: FacesFolder) -> list[tuple[str, object]]:
    labels = Counter(folder.crops["label"].to_pylist())
    facts: list[tuple[str, object]] = []
    if folder.clips is not None:
        statuses = Counter(folder.clips["status"].to_pylist())
        found = int(pc.sum(pc.greater(folder.clips["faces"], 0)).as_py() or 0)
        failed = sum(statuses[status] for status in FAILURES)
        facts += [("clips", folder.clips.num_rows), ("clips with crops", found)]
        facts += [("clips that failed", failed)]
    facts += [(f"{label} crops", labels[label]) for label in LABELS]
    return [*facts, ("families", pc.count_distinct(folder.crops["family"]).as_py())]


def _clips_section(folder: FacesFolder) -> Section:
    if folder.clips is None:
        return Section("Clips", [Text("There is no clips.parquet, so failed clips are unknown.")])
    blocks: list[Block] = [_label_table(folder.clips)]
    statuses = [name for name in STATUSES if name in folder.clips["status"].to_pylist()]
    if statuses:
        blocks.append(_status_chart(folder.clips, statuses))
    not_ok = folder.clips.filter(pc.not_equal(folder.clips["status"], "ok"))
    if not_ok.num_rows:
        blocks.append(_status_table(not_ok))
    elif folder.clips.num_rows:
        blocks.append(Text("Every clip was read, and a face was found in each.", "good"))
    return Section("Clips", blocks)


def _label_table(clips: pa.Table) -> Table:
    rows = []
    for label in [*LABELS, None]:
        mask = pc.is_null(clips["label"]) if label is None else pc.equal(clips["label"], label)
        part = clips.filter(mask)
        if not part.num_rows:
            continue
        found = int(pc.sum(pc.greater(part["faces"], 0)).as_py())
        failed = int(pc.sum(pc.is_in(part["status"], pa.array(FAILURES))).as_py())
        no_face = int(pc.sum(pc.equal(part["status"], "no_face")).as_py())
        share = f"{100 * fraction(found, part.num_rows):.1f} %"
        crops = int(pc.sum(part["faces"]).as_py())
        rows.append(
            (label or "no label", part.num_rows, found, share, no_face, failed, crops),
        )
    header = ("label", "clips", "with crops", "yield", "without a face", "failed", "crops")
    return Table("Clips and crops by label", header, rows)


def _status_chart(clips: pa.Table, statuses: Sequence[str]) -> Chart:
    pairs = zip(clips["label"].to_pylist(), clips["status"].to_pylist(), strict=True)
    counts = Counter(pairs)
    series = {
        label: [counts[label, status] for status in statuses]
        for label in LABELS
        if any(counts[label, status] for status in statuses)
    }
    said = "; ".join(
        f"{label} {status} {counts[label, status]:,}" for label in series for status in statuses
    )
    svg = charts.bars([_words(status) for status in statuses], series, "status", "clips")
    return Chart("Clips by status and label", svg, f"Bar chart of clips by status: {said}")


def _status_table(not_ok: pa.Table) -> Table:
    order = {status: at for at, status in enumerate((*FAILURES, "no_face"))}
    columns = ("video", "part", "label", "status", "error")
    rows = [tuple(row.values()) for row in not_ok.select(columns).to_pylist()]
    rows.sort(key=lambda row: order.get(row[3], len(order)))
    shown = [(*row[:3], _words(row[3]), row[4] or "") for row in rows[:MAX_CLIPS]]
    return Table(
        f"The {len(rows):,} clips that are not ok; clips.parquet names all of them",
        ("clip", "part", "label", "status", "why"),
        shown,
        more=len(rows) - len(shown),
        searchable=True,
    )


def _words(status: str) -> str:
    return status.replace("_", " ")


def _crops_sections(folder: FacesFolder) -> list[Section]:
    table = folder.crops
    files = CropFiles(os.path.realpath(folder.path), table["path"].to_pylist())
    images = measure_images(files, table["sha256"].to_pylist())
    measures = row_measures(table, images)
    label = label_codes(table)
    (part, video), _ = factorize(table["part"], table["video"])
    clip = pair_codes(pair_codes(part, video), label)
    gallery = CropGallery(table, files)
    pairs = gallery.pairs()
    return [
        _shortcuts_section(measures, images, label, clip),
        _families_section(table, summarize(table, folder.clips)),
        Section("Crops", gallery.by_label()),
        Section("Extremes", gallery.extremes(measures, clip)),
        Section(
            "Originals and fakes",
            [pairs or Text("No original and fake of one family both have crops here.")],
        ),
    ]


def _shortcuts_section(
    measures: Sequence[Measure], images: ImageMeasures, label: Codes, clip: Codes
) -> Section:
    found = find_shortcuts(measures, label, clip)
    blocks: list[Block] = [*_shortcut_sentences(found, label)]
    rows = [
        (
            each.measure.name,
            f"{each.auc:.3f}",
            each.larger,
            f"{each.medians[REAL]:,.4g}",
            f"{each.medians[FAKE]:,.4g}",
            f"{each.by_chance:.2g}",
            each.measure.unit,
        )
        for each in found
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
    strongest = found[0]
    return [
        Text(
            f"No single measure separates the labels. The strongest is {strongest.measure.name}, "
            f"AUC {strongest.auc:.2f} over {sum(strongest.clips.values()):,} clips.",
            "good",
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
    total = len(images.brightness)
    if images.tried < total:
        note += f" Images: {images.tried:,} of {total:,} were measured, evenly spaced."
    if images.unreadable:
        note += f" {images.unreadable:,} images are missing or unreadable."
    return note.strip()


def _is_drawn(measure: Measure) -> bool:
    return measure.name in _DRAWN and bool(measure.known.any())


def _distribution(measure: Measure, label: Codes) -> Chart:
    values = {
        name: measure.values[measure.known & (label == code)] for code, name in enumerate(LABELS)
    }
    medians = ", ".join(
        f"{name} {np.median(each):,.4g}" for name, each in values.items() if len(each)
    )
    svg = charts.histogram(values, measure.name, measure.unit)
    alt = f"Histogram of {measure.label}. Medians: {medians}"
    return Chart(measure.name.capitalize(), svg, alt, f"Medians: {medians}")


def _families_section(table: pa.Table, summary: Summary) -> Section:
    fakes = table.filter(pc.equal(table["label"], FAKE)).group_by(["family", "part", "video"])
    per_family = Counter(fakes.aggregate([])["family"].to_pylist())
    sizes = Counter(per_family.values())
    blocks: list[Block] = []
    if sizes:
        most = sorted(sizes)[:15]
        rest = sum(count for size, count in sizes.items() if size > most[-1])
        groups = [f"{size:,}" for size in most] + (["more"] if rest else [])
        counts = [sizes[size] for size in most] + ([rest] if rest else [])
        svg = charts.bars(groups, {FAKE: counts}, "fakes", "originals")
        said = ", ".join(f"{group}: {n:,}" for group, n in zip(groups, counts, strict=True))
        alt = f"Bar chart: number of originals by how many fake clips they have. {said}"
        blocks.append(Chart("Fake clips per original", svg, alt))
    blocks.append(_largest_families(table, per_family))
    blocks += [
        Table("Inconsistencies", ("what", "rows"), list(summary.oddities.items()))
        for _ in range(bool(summary.oddities))
    ]
    parts = [
        (each.part, each.label or "no label", each.clips, each.with_faces, each.crops)
        for each in summary.yields[:MAX_PARTS]
    ]
    header = ("part", "label", "clips", "with crops", "crops")
    more = len(summary.yields) - len(parts)
    blocks.append(Table("Clips and crops by part", header, parts, more=more))
    return Section("Families and parts", blocks)


def _largest_families(table: pa.Table, fakes: Counter[str]) -> Table:
    counted = table.group_by("family").aggregate([([], "count_all")])
    order = [("count_all", "descending"), ("family", "ascending")]
    largest = counted.sort_by(order).slice(0, MAX_FAMILIES).to_pylist()
    rows = [(each["family"], fakes[each["family"]], each["count_all"]) for each in largest]
    more = counted.num_rows - len(rows)
    return Table("Largest families", ("original", "fake clips", "crops"), rows, more=more)


def _run_section(run: dict[str, Any] | None) -> Section:
    if run is None:
        return Section("How it was made", [Text("There is no run.json.")])
    options = [(name, _option(value)) for name, value in run["options"].items()]
    blocks: list[Block] = [Table("Options", ("option", "value"), options)]
    versions = run.get("versions")
    if isinstance(versions, dict):
        rows = [(name, _option(value)) for name, value in versions.items()]
        blocks.append(Table("Versions", ("package", "version"), rows))
    return Section("How it was made", blocks)


def _option(value: Any) -> str:
    return "none" if value is None else str(value)
