"""The journal, the state of a run: one JSON line per finished family; and the tables made of it."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from dfdc_prep.catalog.clips import Family
from dfdc_prep.errors import OutputError
from dfdc_prep.extraction.crops_out import crop_files
from dfdc_prep.storage.urls import is_url
from dfdc_prep.video.source_file import is_version
from manifests.files import read_lines
from manifests.labels import LABELS, NO_LABEL, STATUSES
from manifests.schemas import PROVENANCE_COLUMNS, ClipRow, CropRow

if TYPE_CHECKING:
    import pyarrow as pa

#: Number of rows converted to columns at a time.
_BATCH = 20_000


class JournalEntry(TypedDict):
    """A finished family; `versions` are of the clips' files, null for a clip that was missing."""

    key: str  # see `family_key`
    versions: list[str | None]
    clips: list[ClipRow]
    crops: list[CropRow]


def family_key(family: Family) -> str:
    """Hash of everything that determines the work on a family, 32 hexadecimal digits.

    The key changes if a clip or mask video is added or removed or its file size changes, so that a
    restarted run processes the family again. A file of the same size is known by its version, which
    is not part of the key: it would have to be computed for every clip at every start.
    """
    clips = [
        [c.part, c.video, c.label, c.original, c.folder, c.size]
        + ([c.mask_video.size] if c.mask_video else [])
        for c in family.clips
    ]
    return hashlib.sha256(json.dumps([family.name, clips]).encode()).hexdigest()[:32]


def read_journal(path: Path) -> Iterator[JournalEntry]:
    """Yield the finished families in the order in which they finished; skip a partial last line.

    Raises:
        OutputError: a complete line is not a valid entry.
    """
    for number, entry in read_lines(path):
        if not _is_entry(entry):
            raise OutputError(
                f"expected a finished family in line {number} of {path}, found something "
                "else; remove the line to process the family again"
            )
        yield entry


def _is_entry(entry: Any) -> bool:
    """Whether a parsed line has the structure of an entry; not every value is checked."""
    try:
        return (
            isinstance(entry["key"], str)
            and len(entry["versions"]) == len(entry["clips"])
            and all(isinstance(version, str | None) for version in entry["versions"])
            and all(
                clip.keys() == ClipRow.__annotations__.keys()
                and clip["label"] in (*LABELS, NO_LABEL, None)
                and clip["status"] in STATUSES
                and isinstance(clip["faces"], int)
                for clip in entry["clips"]
            )
            and all(
                crop.keys() == CropRow.__annotations__.keys()
                and isinstance(crop["path"], str)
                and isinstance(crop["mask"], str | None)
                for crop in entry["crops"]
            )
        )
    except (TypeError, KeyError, AttributeError):
        return False


def finished_families(
    families: Mapping[str, Family],
    entries: Iterable[JournalEntry],
    has_content: Callable[[str], bool],
    again: Collection[str] = (),
) -> dict[str, list[ClipRow]]:
    """Clip log rows of the families that are finished, by key.

    A family with a missing or empty crop or mask file does not count as finished, nor one with a
    clip that was replaced since.

    Args:
        has_content: whether the file of a crop or mask is there and not empty.
        again: statuses of clips that are to be processed again.
    """
    finished: dict[str, list[ClipRow]] = {}
    for entry in entries:
        family = families.get(entry["key"])
        if family is None:
            continue
        finished.pop(entry["key"], None)
        if (
            not any(clip["status"] in again for clip in entry["clips"])
            and all(map(has_content, crop_files(entry["crops"])))
            and _has_same_clips(family, entry)
        ):
            finished[entry["key"]] = entry["clips"]
    return finished


def _has_same_clips(family: Family, entry: JournalEntry) -> bool:
    """Whether the files of a family's clips are those that were processed."""
    clips = {(clip.part, clip.video): clip for clip in family.clips}
    for row, version in zip(entry["clips"], entry["versions"], strict=True):
        clip = clips.get((row["part"], row["video"]))
        if clip is None or (clip.size is None) != (version is None):
            return False
        if version is None or version == clip.version:
            continue
        if is_url(clip.path) or not is_version(Path(clip.path), version):
            return False
    return True


def write_tables(out: Path, journal: Path, families: Mapping[str, Family]) -> None:
    """Write manifest.parquet, metadata.csv and clips.parquet of the families with these keys.

    The provenance columns and family_source are those of the families' clips, so that a run
    continued with other lists of splits has them too.

    Raises:
        OutputError: the journal lacks a family or contains an invalid row.
    """
    # Imported late because it loads slowly: the workers must not wait for it.
    import pyarrow as pa

    from manifests.arrow import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
    from manifests.tables.parquet import sort_manifest, write_faces_tables

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
                    clip = clips[row["part"], row["video"]]
                    for name in PROVENANCE_COLUMNS:
                        row[name] = getattr(clip.provenance, name)  # type: ignore[literal-required]
                    row["family_source"] = clip.family_source
                    yield row

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


def _table(rows: Iterable[ClipRow | CropRow], schema: "pa.Schema") -> "pa.Table":
    """Convert rows to a table, via JSON: pyarrow's other conversions import pandas."""
    import pyarrow as pa
    from pyarrow.json import ParseOptions, read_json

    options = ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    lines = (json.dumps(row, separators=(",", ":")).encode() for row in rows)
    tables = [
        read_json(BytesIO(b"\n".join(batch)), parse_options=options)
        for batch in iter(lambda: list(islice(lines, _BATCH)), [])
    ]
    return pa.concat_tables(tables).cast(schema) if tables else schema.empty_table()
