"""The pages of a table of crops, with or without splits, and of the result of an audit."""

import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError

from dfdc_prep.crops.files import path_inside
from dfdc_prep.reports.faces_report import (
    crop_gallery,
    crops_sections,
    families_section,
    gallery_section,
)
from dfdc_prep.reports.page import (
    Block,
    Page,
    Section,
    Table,
    Text,
    percent,
    sentences,
    short_number,
)
from dfdc_prep.reports.shards_report import (
    compare_splits,
    leak_verdict,
    shared_sections,
    split_blocks,
)
from dfdc_prep.video.timeline import evenly_spaced
from dfdc_prep.writing.audit_inputs import read_audit_inputs
from manifests.auditing.audit import Audit
from manifests.auditing.summary import Summary, summarize
from manifests.errors import TableError
from manifests.tables.codes import set_column, text_column
from manifests.tables.external import Reading, read_bare_table

#: An audit has no crops.
_PAIRS = "the pairs in the report of the data set"
#: How many images are looked for to tell whether a table has any.
_LOOKED_FOR = 100


def table_page(path: Path, reading: Reading) -> Page:
    """Return the page of a CSV or parquet table, whose paths begin in its folder.

    Raises:
        TableError: it cannot be used.
    """
    crops, notes = read_bare_table(path, reading)
    summary = summarize(crops)
    verdict, unchecked = [Text(f"{summary.caption()}.")], ["whether the labels are right"]
    facts: list[tuple[str, object]] = [(f"{k} crops", v) for k, v in summary.classes.items()]
    facts.append(("families", "not known" if summary.families is None else summary.families))
    sections = [_rows_section(summary, notes)]
    gallery = crop_gallery(path.parent, crops)
    if "split" in crops.column_names:
        names = pc.coalesce(text_column(crops, "split"), "no split")
        counts = Counter(names.to_pylist())
        blocks = split_blocks(
            set_column(crops, "split", names), [name for name, _ in counts.most_common()]
        )
        inputs = read_audit_inputs(path, reading=reading)
        splits = compare_splits(inputs, gallery)
        sections += [Section("Splits", blocks), *splits.sections]
        verdict += splits.verdict
        facts.insert(0, ("leak verdict", splits.leaks))
    else:
        unchecked.append("leaks, as the table has no column split")
    if _has_images(path.parent, crops):
        shown, told = crops_sections(path.parent, crops, summary)
        sections += [*shown, gallery_section(gallery, None)]
        verdict.append(told)
    else:
        sections.append(families_section(crops, summary))
        unchecked.append("the images, as none is found beside the table")
    verdict.append(Text(f"Not checked: {'; '.join(unchecked)}."))
    lead = "The crops or clips of a table, and what it says of them."
    return Page(f"Table: {path.name}", lead, sections, facts, verdict)


def _has_images(folder: Path, crops: pa.Table) -> bool:
    if "path" not in crops.column_names:
        return False
    rows = pa.array(evenly_spaced(crops.num_rows, _LOOKED_FOR), pa.int64())
    files = (
        path_inside(os.path.realpath(folder), p or "") for p in crops["path"].take(rows).to_pylist()
    )
    return any(file is not None and os.path.isfile(file) for file in files)


def _rows_section(summary: Summary, notes: tuple[str, ...]) -> Section:
    """Labels, columns, and the spread of families and sizes."""
    clips = summary.clips or {}
    labels = [(label, rows, clips.get(label)) for label, rows in summary.classes.items()]
    spread = {
        "crops per family": summary.family_sizes,
        "fakes per original": summary.fakes_per_original,
        "longer side of a face, source pixels": summary.face_sizes,
    }
    rows = [
        (what, *map(short_number, vars(found).values())) for what, found in spread.items() if found
    ]
    header = ("what", "least", "first quarter", "median", "third quarter", "most", "mean")
    columns = summary.cells()
    blocks: list[Block] = [
        *sentences(notes),
        Table("Crops and clips of each label", ("label", "crops", "clips"), labels),
        *([Table("Families and sizes", header, rows)] if rows else []),
        Table(
            "The paper's columns",
            columns.header,
            [(*row[:-1], f"{row[-1]:.2f}") for row in columns.rows],
        ),
    ]
    return Section("Rows", blocks)


def audit_page(path: Path) -> Page:
    """Return the page of what `dfdc-prep audit --json` printed.

    Raises:
        TableError: it is not that.
    """
    try:
        found = TypeAdapter(Audit).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            why = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
        raise TableError(
            f"expected what dfdc-prep audit --json prints in {path}, found {why}; print it again, "
            f"with > {path.name}"
        ) from error
    total = sum(found.rows.values())
    rows = [(split, crops, percent(crops, total)) for split, crops in found.rows.items()]
    blocks: list[Block] = [
        *sentences(found.notes),
        Table("Crops", ("split", "crops", "of all"), rows),
    ]
    sections = [Section("Splits", blocks), *shared_sections(found)]
    facts = [("leak verdict", found.verdict), *((f"{split} crops", n) for split, n, _ in rows)]
    lead = "What the splits of a data set share, as an audit has found it."
    return Page(f"Audit: {path.name}", lead, sections, facts, leak_verdict(found, _PAIRS))
