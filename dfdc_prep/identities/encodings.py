"""The encodings of a faces folder: a table of those that are known, and a journal of new ones.

The journal exists only while a run is unfinished. The table and the journal together are the
state of a run: a restarted run encodes only the clips that neither has.
"""

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.errors import OutputError, TableError
from dfdc_prep.identities.candidates import MAX_FACES, ClipCandidates
from dfdc_prep.identities.worker import EncodedFace
from manifests.columns import ENCODING_SIZE
from manifests.files import read_lines
from manifests.identities.evidence import encoding_matrix
from manifests.schema import ENCODING_SCHEMA
from manifests.tables.parquet import read_table, write_table

TABLE = "identity_encodings.parquet"
JOURNAL = "identity_journal.jsonl"
#: Above every number in a valid journal or table.
_LARGE = 1e6


class JournalEntry(TypedDict):
    """One line of the journal: a finished clip and its encoded faces, best first."""

    key: str
    faces: list[EncodedFace]


def known_keys(faces: Path) -> set[str]:
    """Return the keys of the clips that are encoded.

    Raises:
        TableError: the table of encodings is invalid.
        OutputError: the journal contains an invalid line.
    """
    return {entry["key"] for entry in _read_journal(faces)} | set(
        pc.unique(_read_table(faces)["key"]).to_pylist()
    )


def collect_encodings(faces: Path, clips: Iterable[tuple[str, ClipCandidates]]) -> pa.Table:
    """Return the encodings of some clips from the table and the journal.

    Args:
        clips: the key of each clip, and the clip, in the order of the result.
    """
    earlier = _read_table(faces)
    order, wanted = {}, {}
    for number, (key, clip) in enumerate(clips):
        order[key], wanted[key] = number, clip
    entries = {e["key"]: e["faces"] for e in _read_journal(faces) if e["key"] in wanted}
    earlier = earlier.filter(pc.is_in(earlier["key"], pa.array(list(wanted), pa.string())))
    earlier = earlier.filter(pc.invert(pc.is_in(earlier["key"], pa.array(list(entries), "string"))))
    table = pa.concat_tables([earlier, _table(entries, wanted)])
    position = np.array([order[key] for key in table["key"].to_pylist()], np.int64)
    return table.take(np.lexsort((table["rank"].to_numpy(), position))).combine_chunks()


def store_encodings(faces: Path, table: pa.Table) -> None:
    """Write the table of encodings, then remove the journal."""
    write_table(table, faces / TABLE)
    (faces / JOURNAL).unlink(missing_ok=True)


def _read_table(faces: Path) -> pa.Table:
    if not (faces / TABLE).exists():
        return ENCODING_SCHEMA.empty_table()
    table = read_table(faces / TABLE, ENCODING_SCHEMA, "dfdc-prep identify --forget")
    if not _in_range(encoding_matrix(table)):
        raise TableError(
            f"expected face encodings in {faces / TABLE}, found other numbers; run dfdc-prep "
            "identify --forget, and identify again"
        )
    return table.select(ENCODING_SCHEMA.names)


def _read_journal(faces: Path) -> Iterable[JournalEntry]:
    for number, entry in read_lines(faces / JOURNAL):
        if not _is_entry(entry):
            raise OutputError(
                f"expected an encoded clip in line {number} of {faces / JOURNAL}, found something "
                "else; remove the line to encode the clip again"
            )
        yield entry


def _is_entry(entry: Any) -> bool:
    try:
        return (
            isinstance(entry["key"], str)
            and len(entry["faces"]) <= MAX_FACES
            and all(_is_face(face) for face in entry["faces"])
        )
    except (TypeError, KeyError):
        return False


def _is_face(face: Any) -> bool:
    numbers = (face["asymmetry"], face["light"], face["size"] or 0)
    try:
        encoding = _decode(face["encoding"])
    except (binascii.Error, ValueError, TypeError):
        return False
    return (
        isinstance(face["path"], str)
        and all(type(number) in (int, float) and abs(number) < _LARGE for number in numbers)
        and encoding.shape == (ENCODING_SIZE,)
        and _in_range(encoding)
    )


def _in_range(encodings: np.ndarray) -> bool:
    """Whether numbers can be encodings, whose norms are about 1.4; not if any is NaN."""
    return bool((np.abs(encodings) < _LARGE).all())


def _decode(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")


def _table(entries: dict[str, list[EncodedFace]], clips: dict[str, ClipCandidates]) -> pa.Table:
    rows = [
        (key, clips[key], rank, face)
        for key, faces in entries.items()
        for rank, face in enumerate(faces)
    ]
    flat = np.array([_decode(face["encoding"]) for *_, face in rows], np.float32).ravel()
    columns = {
        "key": [key for key, *_ in rows],
        "part": [clip.part for _, clip, *_ in rows],
        "video": [clip.video for _, clip, *_ in rows],
        "family": [clip.family for _, clip, *_ in rows],
        "label": [clip.label for _, clip, *_ in rows],
        "rank": [rank for *_, rank, _ in rows],
        "path": [face["path"] for *_, face in rows],
        "size": [face["size"] for *_, face in rows],
        "asymmetry": [face["asymmetry"] for *_, face in rows],
        "light": [face["light"] for *_, face in rows],
    }
    arrays = [pa.array(columns[f.name], f.type) for f in list(ENCODING_SCHEMA)[:-1]]
    encodings = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), ENCODING_SIZE)
    return pa.Table.from_arrays([*arrays, encodings], schema=_schema(encodings))


def _schema(encodings: pa.Array) -> pa.Schema:
    return ENCODING_SCHEMA.set(
        len(ENCODING_SCHEMA) - 1, ENCODING_SCHEMA.field("encoding").with_type(encodings.type)
    )
