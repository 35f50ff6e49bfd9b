"""The page of a faces folder: clips, failures, shortcuts, families, crops."""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops.files import path_inside
from dfdc_prep.reports import charts
from dfdc_prep.reports.page import (
    Block,
    Chart,
    Filters,
    Gallery,
    Groups,
    Page,
    Picture,
    Section,
    Sheet,
    Table,
    Text,
    percent,
    sentences,
    settings,
    short_number,
)
from dfdc_prep.reports.shortcuts import (
    Measure,
    measure_images,
    row_measures,
    shortcuts_section,
    stream_measures,
)
from dfdc_prep.video.timeline import evenly_spaced
from manifests.arrow import MANIFEST_SCHEMA
from manifests.auditing.summary import Summary, summarize
from manifests.folders import FacesFolder
from manifests.labels import FAILURES, FAKE, LABELS, NO_LABEL, REAL, STATUSES, UNKNOWN
from manifests.schemas import CROP_SIZE
from manifests.tables.codes import (
    clip_codes,
    clip_lines,
    clips_known,
    factorize,
    label_codes,
    pair_codes,
)
from manifests.tables.families import family_column, source_column
from manifests.tables.parquet import manifest_hash, read_clip_log, read_table
from manifests.wording import counted

#: Rows of the table of clips that are not ok, of parts, and of the largest families.
MAX_CLIPS, MAX_PARTS, MAX_FAMILIES = 500, 120, 12
#: Crops of each label and status of their clips, at each extreme, pairs of original and fake.
MAX_CROPS, MAX_EXTREMES, MAX_PAIRS = 36, 18, 12
_NOT_CHECKED = (
    "Not checked: whether each crop shows the face that it should, and whether splits leak "
    "(dfdc-prep audit)."
)
#: Largest file read, bytes; a crop of 4096 x 4096 pixels as PNG fits.
MAX_BYTES = 64 << 20
#: What an extreme sheet shows, by the name of its measure; the smallest values come first.
_EXTREMES = {
    "face size": "Smallest faces, in source pixels",
    "brightness": "Darkest crops, by mean grey level",
    "sharpness": "Blurriest crops, by variance of the Laplacian",
    "detector score": "Least certain faces, by the detector's score",
}


def faces_page(path: Path) -> Page:
    """Return the page of a faces folder.

    Raises:
        TableError: the manifest is missing, or a table is invalid.
        OutputError: run.json is invalid.
    """
    made_from = manifest_hash(path)
    crops = read_table(path / FacesFolder.MANIFEST, MANIFEST_SCHEMA, "dfdc-prep extract")
    everything, crops = crops, crops.filter(pc.not_equal(crops["label"], NO_LABEL))
    unlabelled = everything.num_rows - crops.num_rows
    label = label_codes(crops) if crops.num_rows else None  # raises if one is neither REAL nor FAKE
    clips, run = read_clip_log(path, made_from), FacesFolder.read_run(path)
    sections, verdict = [_clips_section(crops, clips)], [_extracted(crops, clips)]
    if unlabelled:
        crop = counted(unlabelled, "crop")
        text = Text(f"{crop} without a label: among the crops below, and left out of the rest.")
        sections = [Section(title, [*blocks, text]) for title, blocks in sections]
    if label is not None:
        shown, told = crops_sections(path, crops, summarize(crops, clips), clips)
        sections += shown
        verdict.append(told)
    verdict.append(Text(_NOT_CHECKED))
    gallery = crop_gallery(path, everything)
    sections.append(gallery_section(gallery, clips if clips_known(crops) else None))
    made: list[Block] = [Text("There is no run.json.")]
    if run is not None:
        names = ("options", "detector", "versions")
        made = [settings({name: run.get(name) for name in names})]
    sections.append(Section("How it was made", made))
    lead = "Face crops, the clips they come from, and the clips without any."
    return Page(f"Faces: {path.resolve().name}", lead, sections, _facts(crops, clips), verdict)


def _extracted(crops: pa.Table, clips: pa.Table | None) -> Text:
    """How many clips gave crops, and how many did not."""
    if not clips_known(crops):
        return Text("Which crops are of one clip is not known.", "warning")
    if clips is None or not clips.num_rows:
        return Text("How many clips gave no crop is not known: clips.parquet does not say.")
    found, failed = _count(pc.greater(clips["faces"], 0)), _failed(clips)
    said = f"Faces were found in {found:,} of {counted(clips.num_rows, 'clip')}"
    without = _count(pc.equal(clips["status"], "no_face"))
    share = percent(found, clips.num_rows)
    return Text(
        f"{said}, {share}; {failed:,} failed, {without:,} showed no face.",
        "warning" if failed else "good" if found == clips.num_rows else "plain",
    )


def _failed(clips: pa.Table) -> int:
    return _count(pc.is_in(clips["status"], pa.array(FAILURES)))


def _facts(crops: pa.Table, clips: pa.Table | None) -> list[tuple[str, object]]:
    counts = Counter(crops["label"].to_pylist())
    labels: list[tuple[str, object]] = [(f"{label} crops", counts[label]) for label in LABELS]
    if not clips_known(crops):
        return [("clips and families", "not known"), *labels]
    labels.append(("families", pc.count_distinct(crops["family"]).as_py()))
    if clips is None:
        return labels
    found = ("clips with crops", _count(pc.greater(clips["faces"], 0)))
    failed = ("clips that failed", _failed(clips))
    return [("clips", clips.num_rows), found, failed, *labels]


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def crops_sections(
    path: Path, crops: pa.Table, summary: Summary, clips: pa.Table | None = None
) -> tuple[list[Section], Text]:
    """What the crops show, and whether a single measure gives their label away.

    Args:
        path: the folder that the paths of the crops begin in.
        crops: of a faces folder, or of a table with the columns video, label, family and path.
        clips: the clip log, if there is one.
    """
    label = label_codes(crops)
    # Equal keys mean identical bytes.
    keys = crops["sha256" if "sha256" in crops.column_names else "path"].to_pylist()
    gallery = crop_gallery(path, crops)
    images = measure_images(lambda row: gallery.read([row])[row], keys)
    measures = [*row_measures(crops, images), *stream_measures(crops, clips)]
    clip = pair_codes(clip_codes(crops), label)
    sampled = [Text(note)] if (note := images.sample_note()) else []
    shortcuts, verdict = shortcuts_section(measures, images, label, clip)
    sections = [
        shortcuts,
        families_section(crops, summary),
        Section("Extremes", [*sampled, *_extreme_sheets(gallery, measures)]),
        Section("Originals and fakes", [_original_fake_pairs(gallery)]),
    ]
    return sections, verdict


def crop_gallery(folder: Path, table: pa.Table) -> Gallery:
    """Return the crops of a table whose paths begin in `folder`.

    A file that is missing, too large or outside the folder has no picture.
    """
    root, paths = os.path.realpath(folder), _column(table, "path")
    return Gallery(table, lambda rows: {row: _read_crop(root, paths[row] or "") for row in rows})


def _read_crop(root: str, path: str) -> bytes | None:
    file = path_inside(root, path)
    with suppress(OSError):
        if file is not None and stat.S_ISREG((found := os.stat(file)).st_mode):
            return Path(file).read_bytes() if found.st_size <= MAX_BYTES else None
    return None


def _clips_section(crops: pa.Table, clips: pa.Table | None) -> Section:
    """What became of the clips."""
    blocks: list[Block] = [*sentences(clip_lines(crops))]
    if clips_known(crops) and clips is None:
        blocks.append(Text("There is no clips.parquet, so failed clips are unknown."))
    elif clips_known(crops) and clips is not None:
        blocks.append(_label_table(clips))
        not_ok = clips.filter(pc.not_equal(clips["status"], "ok"))
        if not_ok.num_rows:
            found = f"{counted(not_ok.num_rows, 'clip')} of another status than ok"
            blocks.append(_status_chart(clips))
            blocks.append(Text(f"{found}: under Crops, with the reason; filter them by status."))
    return Section("Clips", blocks)


def _label_table(clips: pa.Table) -> Table:
    rows = []
    for label in [*LABELS, NO_LABEL, None]:
        mask = pc.is_null(clips["label"]) if label is None else pc.equal(clips["label"], label)
        part = clips.filter(mask)
        if part.num_rows:
            found, crops = _count(pc.greater(part["faces"], 0)), _count(part["faces"])
            no_face, share = _count(pc.equal(part["status"], "no_face")), percent(found, len(part))
            row = (label or "no label", len(part), found, share, no_face, _failed(part), crops)
            rows.append(row)
    header = ("label", "clips", "with crops", "yield", "without a face", "failed", "crops")
    return Table("Clips and crops by label", header, rows)


def _status_chart(clips: pa.Table) -> Chart:
    counts = Counter(zip(clips["label"].to_pylist(), clips["status"].to_pylist(), strict=True))
    present = {status for _, status in counts}
    statuses = [status for status in STATUSES if status in present]
    series = {
        label: [counts[label, status] for status in statuses] for label in (*LABELS, NO_LABEL)
    }
    series = {label: values for label, values in series.items() if any(values)}
    said = "; ".join(
        f"{label} {status} {counts[label, status]:,}" for label in series for status in statuses
    )
    svg = charts.bars([_words(status) for status in statuses], series, "status", "clips")
    return Chart("Clips by status and label", svg, f"Bar chart of clips by status: {said}")


def _status_table(not_ok: pa.Table) -> Table:
    order = {status: at for at, status in enumerate((*FAILURES, "no_face"))}
    columns = ("video", "part", "label", "family", "status", "error")
    rows = [tuple(row.values()) for row in not_ok.select(columns).to_pylist()]
    rows.sort(key=lambda row: order.get(row[4], len(order)))
    shown = [(*row[:4], _words(row[4]), row[5] or "") for row in rows[:MAX_CLIPS]]
    caption = f"Clips that are not ok: {len(rows):,}; clips.parquet names all of them"
    header = ("clip", "part", "label", "family", "status", "why")
    return Table(caption, header, shown, more=len(rows) - len(shown))


def _words(status: str) -> str:
    return status.replace("_", " ")


def families_section(table: pa.Table, summary: Summary) -> Section:
    """How many fakes and crops the originals have, and what each part gave."""
    if summary.families is None:
        return Section("Families and parts", [Text("Not known, as the clips are not.")])
    known = pc.not_equal(source_column(table), UNKNOWN).fill_null(True)
    fakes = table.filter(pc.and_(pc.equal(table["label"], FAKE), known))
    keys = [name for name in ("family", "part", "video") if name in table.column_names]
    clips = fakes.group_by(keys).aggregate([])
    fakes_of = Counter(clips["family"].to_pylist())
    said = (*summary.fakes.lines(), *summary.originals.lines())
    blocks: list[Block] = [*sentences(said)]
    if fakes_of:
        blocks.append(_fakes_chart(Counter(fakes_of.values())))
    families = table.group_by("family").aggregate([([], "count_all")])
    order = [("count_all", "descending"), ("family", "ascending")]
    largest = families.sort_by(order).slice(0, MAX_FAMILIES).to_pylist()
    rows = [(each["family"], fakes_of[each["family"]], each["count_all"]) for each in largest]
    more = families.num_rows - len(rows)
    header = ("original", "fake clips", "crops")
    blocks.append(Table("Largest families", header, rows, more=more))
    if summary.oddities:
        blocks.append(Table("Inconsistencies", ("what", "rows"), list(summary.oddities.items())))
    parts = [
        (each.part, each.label or "no label", each.clips, each.with_faces, each.crops)
        for each in summary.yields[:MAX_PARTS]
    ]
    more = len(summary.yields) - len(parts)
    columns = ("part", "label", "clips", "with crops", "crops")
    blocks.append(Table("Clips and crops by part", columns, parts, more=more))
    return Section("Families and parts", blocks)


def _fakes_chart(sizes: Counter[int]) -> Chart:
    counts = {f"{size:,}": sizes[size] for size in sorted(sizes)[:15]}
    if rest := sum(sizes.values()) - sum(counts.values()):
        counts["more"] = rest
    svg = charts.bars([*counts], {FAKE: [*counts.values()]}, "fakes", "originals")
    said = ", ".join(f"{group}: {n:,}" for group, n in counts.items())
    alt = f"Bar chart: number of originals by how many fake clips they have. {said}"
    return Chart("Fake clips per original", svg, alt)


def gallery_section(gallery: Gallery, clips: pa.Table | None) -> Section:
    """Crops of each label, and the clips that are not ok, to be filtered."""
    blocks: list[Sheet | Table] = [*_sheets_by_label(gallery, clips)]
    if clips is not None:
        not_ok = clips.filter(pc.not_equal(clips["status"], "ok"))
        blocks += [_status_table(not_ok)] if not_ok.num_rows else []
    none = [] if gallery.table.num_rows else [Text("There is no crop in manifest.parquet.")]
    filters = [Filters(("label", "family", "status"), blocks)] if blocks else []
    return Section("Crops", [*none, *filters])


def _sheets_by_label(gallery: Gallery, clips: pa.Table | None) -> Iterator[Sheet]:
    """Crops of each label and status of their clip, evenly spaced over the manifest."""
    family = family_column(gallery.table).to_pylist()
    statuses = {}
    if clips is not None:
        columns = (clips[name].to_pylist() for name in ("part", "video", "status"))
        statuses = {(part, video): status for part, video, status in zip(*columns, strict=True)}
    columns = (_column(gallery.table, name) for name in ("part", "video", "label"))
    rows: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, (part, video, label) in enumerate(zip(*columns, strict=True)):
        rows[label, statuses.get((part, video), "")].append(row)
    for label in (*LABELS, NO_LABEL):
        groups = {status: found for (own, status), found in sorted(rows.items()) if own == label}
        pictures: list[Picture] = []
        for status, found in groups.items():
            chosen = [found[at] for at in evenly_spaced(len(found), MAX_CROPS)]
            for row, picture in zip(chosen, gallery.pictures(chosen, side=CROP_SIZE), strict=True):
                tags = ("label", label), ("family", family[row] or ""), ("status", _words(status))
                pictures.append(picture._replace(tags=tags))
        if pictures:
            whole = f"{counted(sum(map(len, groups.values())), 'crop')}, evenly spaced"
            each = " for each status" if len(groups) > 1 else ""
            yield Sheet(f"{label}: {len(pictures):,} of {whole}{each}", pictures)


def _extreme_sheets(gallery: Gallery, measures: Sequence[Measure]) -> list[Sheet]:
    """The smallest, darkest, blurriest and least certain crops, one of each family.

    An original and its fakes look alike, so the most extreme crops are often all of one family.
    """
    by_name = {measure.name: measure for measure in measures}
    (family,), _ = factorize(family_column(gallery.table))
    sheets = []
    for name, caption in _EXTREMES.items():
        measure = by_name[name]
        order = np.argsort(np.where(measure.known, measure.values, np.inf), kind="stable")
        order = order[: int(measure.known.sum())]
        _, first = np.unique(family[order], return_index=True)
        if rows := order[np.sort(first)][:MAX_EXTREMES].tolist():
            values = [short_number(float(measure.values[row])) for row in rows]
            pictures = gallery.pictures(rows, values)
            sheets.append(Sheet(f"{caption}; one crop of each family", pictures))
    return sheets


def _original_fake_pairs(gallery: Gallery) -> Groups | Text:
    """Originals beside one of their fakes, at the same or the nearest frame."""
    found = list(_pairs(gallery.table))
    if not found:
        return Text("No original and fake of one family both have crops here.")
    shown = [found[at] for at in evenly_spaced(len(found), MAX_PAIRS)]
    lines, frames = [], _column(gallery.table, "frame")
    for pair in shown:
        first, second = (frames[row] for row in pair)
        if first is None or second is None:
            lines.append("")
        else:
            same = f"frame {first:,}"
            lines.append(same if first == second else f"frames {first:,} and {second:,}")
    caption = (
        f"An original and one of its fakes: {len(shown):,} of {counted(len(found), 'original')}"
    )
    return Groups(caption, gallery.pairs(shown, lines))


def _column(table: pa.Table, name: str) -> list[Any]:
    """The values of a column; None of each row where there is no such column."""
    if name not in table.column_names:
        return [None] * table.num_rows
    return list(table[name].to_pylist())


def _pairs(table: pa.Table) -> Iterator[tuple[int, int]]:
    """Yield, for each original with crops, its row and that of a fake at the nearest frame."""
    columns = (table[name].to_pylist() for name in ("video", "label", "original"))
    frames = _column(table, "frame")
    reals: defaultdict[str, list[int]] = defaultdict(list)
    fakes: dict[str, int] = {}
    for row, (video, label, original) in enumerate(zip(*columns, strict=True)):
        if label == REAL:
            reals[video].append(row)
        elif label == FAKE and original is not None:
            fakes.setdefault(original, row)

    for name, rows in reals.items():
        if name in fakes:
            fake = fakes[name]
            frame = frames[fake]
            known = [row for row in rows if frame is not None and frames[row] is not None]
            yield min(known, key=lambda row: abs(frames[row] - frame), default=rows[0]), fake
