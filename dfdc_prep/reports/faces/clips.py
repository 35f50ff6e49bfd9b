"""Sections about the clips of a faces folder: statuses, failures, families, parts."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import Block, Chart, Section, Table, Text
from manifests.auditing.leakage import fraction
from manifests.auditing.summary import Summary
from manifests.labels import FAILURES, FAKE, LABELS, STATUSES, UNKNOWN
from manifests.tables.families import source_column

#: Rows of the table of clips that are not ok, of parts, and of the largest families.
MAX_CLIPS, MAX_PARTS, MAX_FAMILIES = 500, 120, 12


def clips_section(clips: pa.Table | None) -> Section:
    """What became of the clips.

    Args:
        clips: the clip log; None if there is none.
    """
    if clips is None:
        return Section("Clips", [Text("There is no clips.parquet, so failed clips are unknown.")])
    blocks: list[Block] = [_label_table(clips)]
    statuses = [name for name in STATUSES if name in clips["status"].to_pylist()]
    if statuses:
        blocks.append(_status_chart(clips, statuses))
    not_ok = clips.filter(pc.not_equal(clips["status"], "ok"))
    if not_ok.num_rows:
        blocks.append(_status_table(not_ok))
    elif clips.num_rows:
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
        f"Clips that are not ok: {len(rows):,}; clips.parquet names all of them",
        ("clip", "part", "label", "status", "why"),
        shown,
        more=len(rows) - len(shown),
        searchable=True,
    )


def _words(status: str) -> str:
    return status.replace("_", " ")


def families_section(table: pa.Table, summary: Summary) -> Section:
    """How many fakes and crops the originals have, and what each part gave.

    Args:
        table: the manifest.
        summary: its statistics.
    """
    if summary.families is None:
        return Section("Families and parts", [Text("Not known, as the clips are not.")])
    known_fakes = pc.and_(
        pc.equal(table["label"], FAKE),
        pc.not_equal(source_column(table), UNKNOWN).fill_null(True),
    )
    fakes = table.filter(known_fakes).group_by(["family", "part", "video"])
    per_family = Counter(fakes.aggregate([])["family"].to_pylist())
    sizes = Counter(per_family.values())
    known = (*summary.fakes.lines(), *summary.originals.lines())
    blocks: list[Block] = [Text(line) for line in known]
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
    if summary.oddities:
        rows = list(summary.oddities.items())
        blocks.append(Table("Inconsistencies", ("what", "rows"), rows))
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
