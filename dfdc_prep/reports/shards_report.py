"""The page of a shards folder: what is in which split, what the splits share, near-identical crops.

The figures are those of `dfdc-prep audit`, computed by the same code.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.errors import ShardError
from dfdc_prep.reports import charts
from dfdc_prep.reports.page import (
    Block,
    Chart,
    Gallery,
    Groups,
    Page,
    Section,
    Sheet,
    Table,
    Text,
    percent,
    sentences,
    settings,
    target_share,
)
from dfdc_prep.reports.probes import probe_sections
from dfdc_prep.writing.audit_inputs import AuditInputs, read_audit_inputs
from dfdc_prep.writing.sharding import iter_shards
from dfdc_prep.writing.tfrecord import parse_example, read_records
from manifests.auditing.audit import NO_LEAK_FOUND, NOT_KNOWN, Audit, audit
from manifests.errors import TableError
from manifests.files import parse_json
from manifests.folders import ShardsFolder
from manifests.labels import FAKE, LABELS, REAL
from manifests.pictures.near_identical import MIN_LIKENESS
from manifests.tables.codes import Codes, clips_known, factorize
from manifests.tables.families import family_column
from manifests.wording import counted

#: Crops shown of the training split (Fig. 3 of the paper), and near-identical pairs.
MAX_CROPS, MAX_PAIRS = 15, 12
#: Rows of the table of shard files.
MAX_FILES = 200


def shards_page(path: Path) -> Page:
    """Return the page of a shards folder.

    Raises:
        TableError, ShardError: the manifest or a shard is missing or damaged.
    """
    if not (path / ShardsFolder.INFO).is_file():
        raise ShardError(
            f"expected {ShardsFolder.INFO} in {path}, found none; write the shards again with "
            "dfdc-prep shard --overwrite"
        )
    inputs = read_audit_inputs(path)
    table = inputs.table
    gallery = Gallery(table, partial(read_images, path, table))
    counts = Counter(table["split"].to_pylist())
    # The paper's Fig. 3: random training crops. Records are shuffled, so the first are random.
    split = next(iter(counts))
    rows = np.flatnonzero(pc.equal(table["split"], split).to_numpy())[:MAX_CROPS]
    caption = f"{counted(len(rows), f'random {split} crop')}: the first records, which are shuffled"
    splits = compare_splits(inputs, gallery)
    try:
        metadata: object = parse_json((path / ShardsFolder.METADATA).read_bytes())
    except (OSError, ValueError):
        metadata = None
    made = settings({ShardsFolder.METADATA: metadata})
    unreadable = Text("There is no readable metadata.json.")
    files = []
    for shard in iter_shards(table):
        file = path / Path(shard.name).name
        size = f"{file.stat().st_size / 1e6:,.2f}" if file.is_file() else None
        files.append((shard.name, shard.rows.num_rows, size))
    header = ("shard", "records", "MB")
    shards = "Shards; dfdc-prep verify compares every byte with SHA256SUMS"
    sections = [
        Section("Splits", split_blocks(table, [*counts], metadata)),
        Section("Training crops", [Sheet(caption, gallery.pictures(rows))]),
        *splits.sections,
        *probe_sections(path),
        Section(
            "Files", [Table(shards, header, files[:MAX_FILES], max(0, len(files) - MAX_FILES))]
        ),
        Section("How it was made", [made if made.tables else unreadable]),
    ]
    facts = [
        ("leak verdict", splits.leaks),
        ("crops", table.num_rows),
        *((f"{split} crops", count) for split, count in counts.items()),
        ("families", _clips_and_families(table)[1]),
        ("shard files", pc.count_distinct(table["shard"]).as_py()),
    ]
    lead = "The crops that a model is trained, validated and tested on."
    return Page(f"Shards: {path.resolve().name}", lead, sections, facts, splits.verdict)


def read_images(folder: Path, table: pa.Table, rows: Iterable[int]) -> dict[int, bytes | None]:
    """Return the encoded image of some rows of a shards folder's manifest.

    Reads each shard up to the last row wanted; raises ShardError if one is damaged.
    """
    wanted, found, start = sorted(set(rows)), dict[int, bytes | None](), 0
    for shard in iter_shards(table):
        count = shard.rows.num_rows
        inside = {row - start for row in wanted if start <= row < start + count}
        records = read_records(folder / Path(shard.name).name) if inside else iter(())
        for index, record in enumerate(islice(records, max(inside, default=-1) + 1)):
            if index in inside:
                image = (parse_example(record).get("image") or [None])[0]
                found[start + index] = image if isinstance(image, bytes) else None
        start += count
    return {row: found.get(row) for row in wanted}


def split_blocks(table: pa.Table, splits: list[str], metadata: object = None) -> list[Block]:
    """The paper's Fig. 2: crops by split and label, as a chart and a table.

    `metadata` is the content of metadata.json, which has the shares that were wanted.
    """
    counts = Counter(zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True))
    series = {label: [counts[label, split] for split in splits] for label in LABELS}
    said = "; ".join(f"{label} {split} {count:,}" for (label, split), count in counts.items())
    svg = charts.bars(splits, series, "splits", "crops")
    rows = []
    for split in splits:
        part = table.filter(pc.equal(table["split"], split))
        target = target_share(metadata, split) or "not known"
        shares = (percent(len(part), len(table)), target)
        numbers = (counts[REAL, split], counts[FAKE, split], len(part), *shares)
        rows.append((split, *numbers, *_clips_and_families(part)))
    header = ("split", REAL, FAKE, "crops", "of all", "target", "clips", "families")
    return [
        Chart("Crops by split and label", svg, f"Bar chart of crops by split: {said}"),
        Table("Crops, clips and families of each split", header, rows),
    ]


def _clips_and_families(table: pa.Table) -> tuple[int | str, int | str]:
    """How many there are."""
    if not clips_known(table):
        return "not known", "not known"
    keys = [name for name in ("part", "video") if name in table.column_names]
    clips = table.group_by(keys).aggregate([]).num_rows
    return clips, int(pc.count_distinct(table["family"]).as_py())


class ComparedSplits(NamedTuple):
    """What a comparison of splits found."""

    leaks: str  # the verdict of the audit, or why there is no verdict
    verdict: list[Text]
    sections: list[Section]


def compare_splits(inputs: AuditInputs, gallery: Gallery) -> ComparedSplits:
    """Audit the splits; `gallery` shows the rows of `inputs`."""
    try:
        found = audit(inputs.table, inputs.near, inputs.pictures)
    except TableError as error:  # a single split shares nothing
        return ComparedSplits("not compared", [Text(f"Not compared: {error}.", "warning")], [])
    sections = [*shared_sections(found), *_near_section(inputs, gallery)]
    return ComparedSplits(found.verdict, leak_verdict(found), sections)


def shared_sections(found: Audit) -> list[Section]:
    """What the splits share, and whether they are alike."""
    known = sentences([*found.fakes.lines(), *found.originals.lines()])
    blocks: list[Block] = [*known, _leak_table(found)]
    if found.neighbours:
        blocks += sentences([f"{found.neighbours.text()}."])
    if found.worst:
        rows = [(each.name, *(each.rows.get(s, 0) for s in found.rows)) for each in found.worst]
        blocks.append(Table("Families in more than one split", ("family", *found.rows), rows))
    sections = [Section("What the splits share", blocks)]
    if found.differences:
        kinds = [
            (
                each.measure,
                *(f"{each.means[split]:.3g}" for split in found.rows),
                *(each.split, f"{each.by:+.2g}", f"{each.z:+.1f}"),
            )
            for each in found.differences
        ]
        header = ("measure", *found.rows, "differs most", "by", "z")
        caption = "Are the splits alike? Means over families; beyond a z of 3 it is hardly chance"
        sections.append(Section("Kinds of crops in the splits", [Table(caption, header, kinds)]))
    return sections


def _near_section(inputs: AuditInputs, gallery: Gallery) -> list[Section]:
    """The nearest pairs of crops of different splits, if any."""
    (family,), _ = factorize(family_column(inputs.table))
    if pairs := nearest_pairs(inputs, family, MAX_PAIRS):
        splits = inputs.table["split"]
        lines = (
            f"{splits[pair.first]} and {splits[pair.second]}: likeness {pair.likeness:.2f}"
            for pair in pairs
        )
        caption = (
            f"The nearest pairs of different splits, one of each two families, {len(pairs)} "
            f"shown; from a likeness of {MIN_LIKENESS} on, pictures count as near-identical"
        )
        groups = gallery.pairs([(pair.first, pair.second) for pair in pairs], lines)
        return [Section("Near-identical crops", [Groups(caption, groups)])]
    return []


def leak_verdict(found: Audit, pairs: str = "the pairs below") -> list[Text]:
    """Whether the splits leak, what that rests on, and the largest leak.

    `pairs` says where near-identical crops are shown side by side.
    """
    images = counted(sum(found.rows.values()), "image")
    (said,) = sentences([f"{found.caption()}. {found.compared:,} of {images} were compared."])
    if found.verdict == NOT_KNOWN:
        more = f"{said.text} Their originals may be in another split."
        return [Text(more, "warning")]
    if found.verdict == NO_LEAK_FOUND:
        return [said._replace(kind="good")]
    what, most = max(
        ((what, leak) for what, leaks in found.kinds().items() for leak in leaks or ()),
        key=lambda each: each[1].rate,
    )
    means = f"Different clips of one person or room can look alike: look at {pairs}."
    people = found.people
    if people and any(leak.shared for leak in [*people.leaks, *(people.faces or [])]):
        means = (
            "A model can recognise people of the test from training. dfdc-prep split --group-by "
            "identity keeps the people filmed apart."
        )
    if any(leak.shared for leak in [*found.families, *(found.files or [])]):
        means = (
            "A model can recognise test crops from training. Split again with dfdc-prep shard, "
            "whose default keeps known families together."
        )
    return [said._replace(kind="warning"), Text(f"The largest leak: {most.text(what)}. {means}")]


def _leak_table(found: Audit) -> Table:
    rows: list[tuple[object, ...]] = []
    for what, leaks in found.kinds().items():
        if leaks is None:
            rows.append((what, "not compared", *[None] * 5))
        for leak in leaks or ():
            pair, crops = f"{leak.second} and {leak.first}", sum(leak.touched.values())
            shares = (percent(leak.touched[name], leak.rows[name]) for name in LABELS)
            rows.append((what, pair, leak.shared, crops, percent(leak.rate, 1), *shares))
    header = ("what", "splits", "shared", "crops of the first", "of all", *LABELS)
    return Table("What dfdc-prep audit finds", header, rows)


class NearPair(NamedTuple):
    """Two crops of different splits whose images are near-identical."""

    likeness: float  # 0 to 1, how well their details correlate; 1 for equal images
    first: int  # first and second: their rows
    second: int


def nearest_pairs(inputs: AuditInputs, family: Codes, most: int) -> list[NearPair]:
    """Return the most similar near-identical crops that are in different splits.

    Two families, or one, give one pair, since the frames of two clips resemble each other. Pairs
    are sorted by likeness, then by row. `family` is int64 [rows].
    """
    near = inputs.near
    if near is None:
        return []
    # The first row of each picture in each split.
    first: list[dict[str, int]] = [{} for _ in range(int(near.picture.max(initial=-1)) + 1)]
    splits = inputs.table["split"].to_pylist()
    for row, (picture, split) in enumerate(zip(near.picture.tolist(), splits, strict=True)):
        if picture >= 0:
            first[picture].setdefault(split, row)
    found = {NearPair(1.0, *sorted(each.values())[:2]) for each in first if len(each) > 1}
    pairs = zip(near.first.tolist(), near.second.tolist(), near.likeness.tolist(), strict=True)
    for one, other, likeness in pairs:
        across = [
            NearPair(likeness, min(row, second), max(row, second))
            for split, row in first[one].items()
            for name, second in first[other].items()
            if split != name
        ]
        found.update(sorted(across)[:1])
    nearest: dict[frozenset[int], NearPair] = {}
    for pair in sorted(found, key=lambda pair: (-pair.likeness, *pair[1:])):
        nearest.setdefault(frozenset(family[[pair.first, pair.second]].tolist()), pair)
    return list(nearest.values())[:most]
