"""The page of a faces folder: clips, failures, shortcuts, families, crops."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.output_folder import read_run
from dfdc_prep.reports.faces import crop_sheets
from dfdc_prep.reports.faces.clips import clips_section, families_section
from dfdc_prep.reports.faces.measures import measure_images, row_measures
from dfdc_prep.reports.faces.shortcut_section import sample_note, shortcuts_section
from dfdc_prep.reports.gallery import Gallery
from dfdc_prep.reports.images import CropFiles
from dfdc_prep.reports.page import Page, Section, Text, settings_table
from manifests.auditing.summary import summarize
from manifests.folders import FacesFolder
from manifests.labels import FAILURES, LABELS
from manifests.schema import MANIFEST_SCHEMA
from manifests.tables.codes import clip_codes, clip_lines, clips_known, label_codes, pair_codes
from manifests.tables.parquet import manifest_hash, read_clip_log, read_table


@dataclass(frozen=True)
class FacesContent:
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


def read_faces_folder(path: Path) -> FacesContent:
    """Read the tables of a faces folder.

    Raises:
        TableError: the manifest is missing, or a table is invalid.
        OutputError: run.json is invalid.
    """
    made_from = manifest_hash(path)
    crops = read_table(path / FacesFolder.MANIFEST, MANIFEST_SCHEMA, "dfdc-prep extract")
    if crops.num_rows:
        label_codes(crops)  # raises if a label is neither REAL nor FAKE
    return FacesContent(path, crops, read_clip_log(path, made_from), read_run(path))


def faces_page(path: Path) -> Page:
    """Return the page of a faces folder.

    Raises:
        TableError, OutputError: as `read_faces_folder`.
    """
    folder = read_faces_folder(path)
    sections = [_clips_section(folder)]
    if folder.crops.num_rows:
        sections += _crops_sections(folder)
    else:
        sections.append(Section("Crops", [Text("There is no crop in manifest.parquet.")]))
    sections.append(_run_section(folder.run))
    lead = "Face crops, the clips they come from, and the clips without any."
    return Page(f"Faces: {path.resolve().name}", lead, sections, _facts(folder))


def _clips_section(folder: FacesContent) -> Section:
    lines = [Text(line) for line in clip_lines(folder.crops)]
    if not clips_known(folder.crops):
        return Section("Clips", lines)
    section = clips_section(folder.clips)
    return Section(section.title, [*lines, *section.blocks])


def _facts(folder: FacesContent) -> list[tuple[str, object]]:
    labels = Counter(folder.crops["label"].to_pylist())
    facts: list[tuple[str, object]] = []
    if not clips_known(folder.crops):
        facts.append(("clips and families", "not known"))
        return facts + [(f"{label} crops", labels[label]) for label in LABELS]
    if folder.clips is not None:
        statuses = Counter(folder.clips["status"].to_pylist())
        found = int(pc.sum(pc.greater(folder.clips["faces"], 0)).as_py() or 0)
        failed = sum(statuses[status] for status in FAILURES)
        facts += [("clips", folder.clips.num_rows), ("clips with crops", found)]
        facts += [("clips that failed", failed)]
    facts += [(f"{label} crops", labels[label]) for label in LABELS]
    return [*facts, ("families", pc.count_distinct(folder.crops["family"]).as_py())]


def _crops_sections(folder: FacesContent) -> list[Section]:
    table = folder.crops
    files = CropFiles(os.path.realpath(folder.path), table["path"].to_pylist())
    images = measure_images(files, table["sha256"].to_pylist())
    measures = row_measures(table, images)
    label = label_codes(table)
    clip = pair_codes(clip_codes(table), label)
    gallery = Gallery(table, files)
    sampled = [Text(note)] if (note := sample_note(images)) else []
    pairs = crop_sheets.original_fake_pairs(gallery)
    no_pairs = Text("No original and fake of one family both have crops here.")
    return [
        shortcuts_section(measures, images, label, clip),
        families_section(table, summarize(table, folder.clips)),
        Section("Crops", crop_sheets.sheets_by_label(gallery)),
        Section("Extremes", [*sampled, *crop_sheets.extreme_sheets(gallery, measures, clip)]),
        Section("Originals and fakes", [pairs or no_pairs]),
    ]


def _run_section(run: dict[str, Any] | None) -> Section:
    title = "How it was made"
    if run is None:
        return Section(title, [Text("There is no run.json.")])
    tables = [settings_table(name, run.get(name)) for name in ("options", "detector", "versions")]
    return Section(title, [table for table in tables if table.rows])
