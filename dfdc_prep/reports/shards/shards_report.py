"""The page of a shards folder: what is in which split, what the splits share, near-identical crops.

The figures are those of `dfdc-prep audit`, computed by the same code.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.errors import ShardError
from dfdc_prep.reports import charts
from dfdc_prep.reports.gallery import Gallery
from dfdc_prep.reports.images import ShardRecords
from dfdc_prep.reports.page import (
    Block,
    Chart,
    Group,
    Groups,
    Page,
    Section,
    Sheet,
    Table,
    Text,
    settings_table,
)
from dfdc_prep.reports.shards.near_pairs import nearest_pairs
from dfdc_prep.writing import tfds_metadata
from dfdc_prep.writing.audit_inputs import AuditInputs, read_audit_inputs
from dfdc_prep.writing.layout import iter_shards
from manifests.auditing.audit import NO_LEAK_FOUND, NOT_KNOWN, Audit, audit
from manifests.auditing.leakage import fraction
from manifests.errors import TableError
from manifests.files import parse_json
from manifests.folders import ShardsFolder
from manifests.labels import FAKE, LABELS, REAL
from manifests.pictures.near_identical import MIN_LIKENESS
from manifests.tables.codes import clips_known

#: Crops shown of the training split (Fig. 3 of the paper), and near-identical pairs.
MAX_CROPS, MAX_PAIRS = 15, 12
#: Rows of the table of shard files.
MAX_FILES = 200


def shards_page(path: Path) -> Page:
    """Return the page of a shards folder.

    Raises:
        TableError, ShardError: the manifest or a shard is missing or damaged.
    """
    if not (path / tfds_metadata.INFO).is_file():
        raise ShardError(
            f"expected {tfds_metadata.INFO} in {path}, found none; write the shards again with "
            "dfdc-prep shard --overwrite"
        )
    inputs = read_audit_inputs(path)
    table = inputs.table
    records = ShardRecords(path, table)
    gallery = Gallery(table, records)
    splits = list(dict.fromkeys(table["split"].to_pylist()))
    sections = [
        Section("Splits", _split_blocks(table, splits)),
        Section("Training crops", [_training_sheet(gallery, splits[0])]),
        *_leak_sections(inputs, gallery),
        Section("Files", [_file_table(path, table)]),
        Section("How it was made", [_metadata_table(path)]),
    ]
    lead = "The crops that a model is trained, validated and tested on."
    return Page(f"Shards: {path.resolve().name}", lead, sections, _facts(table, splits))


def _facts(table: pa.Table, splits: list[str]) -> list[tuple[str, object]]:
    counts = Counter(table["split"].to_pylist())
    return [
        ("crops", table.num_rows),
        *((f"{split} crops", counts[split]) for split in splits),
        ("families", _clips_and_families(table)[1]),
        ("shard files", pc.count_distinct(table["shard"]).as_py()),
    ]


def _split_blocks(table: pa.Table, splits: list[str]) -> list[Block]:
    """The paper's Fig. 2: crops by split and label, as a chart and a table."""
    pairs = zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True)
    counts = Counter(pairs)
    series = {label: [counts[label, split] for split in splits] for label in LABELS}
    said = "; ".join(f"{label} {split} {counts[label, split]:,}" for label, split in counts)
    svg = charts.bars(splits, series, "splits", "crops")
    rows = []
    for split in splits:
        part = table.filter(pc.equal(table["split"], split))
        share = f"{100 * fraction(part.num_rows, table.num_rows):.1f} %"
        numbers = (counts[REAL, split], counts[FAKE, split], part.num_rows, share)
        rows.append((split, *numbers, *_clips_and_families(part)))
    header = ("split", REAL, FAKE, "crops", "of all", "clips", "families")
    return [
        Chart("Crops by split and label", svg, f"Bar chart of crops by split: {said}"),
        Table("Crops, clips and families of each split", header, rows),
    ]


def _clips_and_families(table: pa.Table) -> tuple[int | str, int | str]:
    """How many there are."""
    if not clips_known(table):
        return "not known", "not known"
    clips = table.group_by(["part", "video"]).aggregate([]).num_rows
    return clips, int(pc.count_distinct(table["family"]).as_py())


def _training_sheet(gallery: Gallery, split: str) -> Sheet:
    """The paper's Fig. 3: random training crops. Records are shuffled, so the first are random."""
    rows = np.flatnonzero(pc.equal(gallery.table["split"], split).to_numpy())[:MAX_CROPS]
    caption = f"{len(rows)} random {split} crops: the first records, which are shuffled"
    return Sheet(caption, gallery.pictures(rows))


def _leak_sections(inputs: AuditInputs, gallery: Gallery) -> list[Section]:
    title = "What the splits share"
    try:
        found = audit(inputs.table, inputs.near, inputs.pictures)
    except TableError as error:  # a single split shares nothing
        return [Section(title, [Text(f"Not compared: {error}")])]
    known = [Text(line) for line in (*found.fakes.lines(), *found.originals.lines())]
    blocks: list[Block] = [_verdict(found), *known, _leak_table(found)]
    if found.neighbours:
        text = found.neighbours.text()
        blocks.append(Text(f"{text[0].upper()}{text[1:]}."))
    if found.worst:
        rows = [
            (family.name, *(family.rows.get(split, 0) for split in found.rows))
            for family in found.worst
        ]
        blocks.append(Table("Families in more than one split", ("family", *found.rows), rows))
    kinds = _kinds_table(found)
    alike = [Section("Kinds of crops in the splits", kinds)] if kinds else []
    return [Section(title, blocks), *alike, *_pairs_section(inputs, gallery)]


def _verdict(found: Audit) -> Text:
    said = found.caption()
    said = f"{said[0].upper()}{said[1:]}. {found.compared:,} images were compared."
    if found.verdict == NOT_KNOWN:
        return Text(f"{said} Their originals may be in another split.", "warning")
    if found.verdict == NO_LEAK_FOUND:
        return Text(said, "good")
    only_near = not any(leak.shared for leak in [*found.families, *(found.files or [])])
    if only_near:
        return Text(
            f"{said} Look at the pairs below: different clips of one person or room can look alike."
        )
    return Text(
        f"{said} A model can recognise test crops from training. Split again with dfdc-prep shard, "
        "whose default keeps known families together.",
        "warning",
    )


def _kinds_table(found: Audit) -> list[Block]:
    """How the splits differ in kind: means over families."""
    rows = [
        (
            each.measure,
            *(f"{each.means[split]:.3g}" for split in found.rows),
            each.split,
            f"{each.by:+.2g}",
            f"{each.z:+.1f}",
        )
        for each in found.differences
    ]
    header = ("measure", *found.rows, "differs most", "by", "z")
    caption = "Are the splits alike? Means over families; beyond a z of 3 it is hardly chance"
    return [Table(caption, header, rows)] if rows else []


def _leak_table(found: Audit) -> Table:
    rows: list[tuple[object, ...]] = []
    for what, leaks in found.kinds().items():
        if leaks is None:
            rows.append((what, "not compared", *[None] * 5))
        for leak in leaks or ():
            crops = sum(leak.touched.values())
            rates = [
                f"{100 * fraction(leak.touched[label], leak.rows[label]):.1f} %" for label in LABELS
            ]
            pair = f"{leak.second} and {leak.first}"
            rows.append((what, pair, leak.shared, crops, f"{100 * leak.rate:.1f} %", *rates))
    header = ("what", "splits", "shared", "crops of the first", "of all", *LABELS)
    return Table("What dfdc-prep audit finds", header, rows)


def _pairs_section(inputs: AuditInputs, gallery: Gallery) -> list[Section]:
    pairs = nearest_pairs(inputs, MAX_PAIRS)
    if not pairs:
        return []
    pictures = gallery.pictures([row for pair in pairs for row in (pair.first, pair.second)])
    groups = []
    for at, pair in enumerate(pairs):
        first, second = (inputs.table["split"][row].as_py() for row in (pair.first, pair.second))
        line = f"{first} and {second}: likeness {pair.likeness:.2f}"
        groups.append(Group(pictures[2 * at : 2 * at + 2], line))
    caption = (
        f"The nearest pairs of different splits, {len(groups)} shown; from a likeness of "
        f"{MIN_LIKENESS} on, pictures count as near-identical"
    )
    return [Section("Near-identical crops", [Groups(caption, groups)])]


def _file_table(path: Path, table: pa.Table) -> Table:
    rows = []
    for name, part in iter_shards(table):
        file = path / Path(name).name
        size = f"{file.stat().st_size / 1e6:,.2f}" if file.is_file() else None
        rows.append((name, part.num_rows, size))
    header = ("shard", "records", "MB")
    caption = "Shards; dfdc-prep verify compares every byte with SHA256SUMS"
    return Table(caption, header, rows[:MAX_FILES], more=max(0, len(rows) - MAX_FILES))


def _metadata_table(path: Path) -> Block:
    try:
        metadata: object = parse_json((path / tfds_metadata.METADATA).read_bytes())
    except (OSError, ValueError):
        metadata = None
    table = settings_table(ShardsFolder.METADATA, metadata)
    return table if table.rows else Text("There is no readable metadata.json.")
