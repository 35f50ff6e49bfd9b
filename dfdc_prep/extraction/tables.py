"""Writes the tables of a run from its journal."""

from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from json import dumps
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pyarrow import json

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.errors import OutputError
from dfdc_prep.extraction.output import read_journal
from manifests.columns import PROVENANCE_COLUMNS, ClipRow, CropRow
from manifests.schema import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
from manifests.tables.parquet import sort_manifest, write_faces_tables

#: Number of rows converted to columns at a time.
_BATCH = 20_000


def write_tables(out: Path, journal: Path, families: Mapping[str, Family]) -> None:
    """Write manifest.parquet, metadata.csv and clips.parquet of the families with these keys.

    The provenance columns and family_source are those of the families' clips, so that a run
    continued with other lists of splits has them too.

    Raises:
        OutputError: the journal lacks a family or contains an invalid row.
    """
    newest = {entry["key"]: n for n, entry in enumerate(read_journal(journal))}
    missing = [key for key in families if key not in newest]
    if missing:
        raise OutputError(
            f"expected every finished family in {journal}, found {len(missing):,} missing: another "
            "process changed the folder; run the same command again"
        )
    chosen = {newest[key] for key in families}

    def rows(kind: Literal["clips", "crops"]) -> Iterator[ClipRow | CropRow]:
        for number, entry in enumerate(read_journal(journal)):
            if number in chosen:
                clips = {(clip.part, clip.video): clip for clip in families[entry["key"]].clips}
                for row in entry[kind]:
                    yield _with_provenance(row, clips)

    try:
        manifest = sort_manifest(_table(rows("crops"), MANIFEST_SCHEMA))
        clips = _table(rows("clips"), CLIP_LOG_SCHEMA)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
        raise OutputError(
            f"expected the rows of clips and crops in {journal}, found invalid values ({error}); "
            "use --overwrite"
        ) from error
    clips = clips.sort_by([("part", "ascending"), ("video", "ascending")])
    write_faces_tables(out, manifest, clips)


def _with_provenance(
    row: ClipRow | CropRow, clips: Mapping[tuple[str, str], Clip]
) -> ClipRow | CropRow:
    """Set the provenance columns and the source of the family to those of the clip."""
    clip = clips[row["part"], row["video"]]
    for name in PROVENANCE_COLUMNS:
        row[name] = getattr(clip.provenance, name)  # type: ignore[literal-required]
    row["family_source"] = clip.family_source
    return row


def _table(rows: Iterable[ClipRow | CropRow], schema: pa.Schema) -> pa.Table:
    """Convert rows to a table, via JSON: pyarrow's other conversions import pandas."""
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    lines = (dumps(row, separators=(",", ":")).encode() for row in rows)
    tables = [
        json.read_json(BytesIO(b"\n".join(batch)), parse_options=options)
        for batch in iter(lambda: list(islice(lines, _BATCH)), [])
    ]
    return pa.concat_tables(tables).cast(schema) if tables else schema.empty_table()
