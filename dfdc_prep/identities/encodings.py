"""The encodings of a faces folder: a table of those that are known, and a journal of new ones.

The journal exists only while a run is unfinished. The table and the journal together are the
state of a run: a restarted run encodes only the clips that neither has.
"""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from dfdc_prep.errors import OutputError, TableError
from dfdc_prep.identities.encoder import MAX_FACES, ClipCandidates
from manifests.arrow import ENCODING_SCHEMA
from manifests.files import read_lines
from manifests.folders import FacesFolder
from manifests.identities.evidence import encoding_matrix
from manifests.schemas import ENCODING_SIZE
from manifests.tables.parquet import read_table, write_table

#: Above every number in a valid journal or table.
_LARGE = 1e6


def _in_range(encodings: np.ndarray) -> bool:
    """Whether numbers can be encodings, whose norms are about 1.4; not if any is NaN."""
    return bool((np.abs(encodings) < _LARGE).all())


def _decode(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4")


def _checked(text: str) -> str:
    encoding = _decode(text)
    if encoding.shape != (ENCODING_SIZE,) or not _in_range(encoding):
        raise ValueError("no encoding")
    return text


_Number = Annotated[float, Field(gt=-_LARGE, lt=_LARGE, allow_inf_nan=False)]


class EncodedFace(BaseModel, strict=True):
    """One encoded crop: columns of `ENCODING_SCHEMA`, the encoding in base64."""

    path: str
    size: _Number | None
    asymmetry: _Number
    light: _Number
    encoding: Annotated[str, AfterValidator(_checked)]


class JournalEntry(BaseModel, strict=True):
    """One line of the journal: a finished clip and its encoded faces, best first."""

    key: str
    faces: Annotated[list[EncodedFace], Field(max_length=MAX_FACES)]


def known_keys(faces: Path) -> set[str]:
    """Return the keys of the clips that are encoded.

    Raises:
        TableError: the table of encodings is invalid.
        OutputError: the journal contains an invalid line.
    """
    table = set(pc.unique(_read_table(faces)["key"]).to_pylist())
    return table | {entry.key for entry in _read_journal(faces)}


def collect_encodings(faces: Path, clips: Iterable[tuple[str, ClipCandidates]]) -> pa.Table:
    """Return the encodings of clips and their keys, in this order, from the table and journal."""
    wanted = dict(clips)
    new = {entry.key: entry.faces for entry in _read_journal(faces) if entry.key in wanted}
    rows = []
    for key, encoded in new.items():
        names = ("part", "video", "family", "label")
        clip = {name: getattr(wanted[key], name) for name in names}
        for rank, face in enumerate(encoded):
            row = face.model_dump() | {"encoding": _decode(face.encoding)}
            rows.append({"key": key, "rank": rank, **clip, **row})
    earlier = _read_table(faces)
    kept = pa.array([key for key in wanted if key not in new], pa.string())
    earlier = earlier.filter(pc.is_in(earlier["key"], kept))
    table = pa.concat_tables([earlier, pa.Table.from_pylist(rows, ENCODING_SCHEMA)])
    position = pc.index_in(table["key"], pa.array(list(wanted), pa.string())).to_numpy()
    return table.take(np.lexsort((table["rank"].to_numpy(), position))).combine_chunks()


def store_encodings(faces: Path, table: pa.Table) -> None:
    """Write the table of encodings, then remove the journal."""
    write_table(table, faces / FacesFolder.ENCODINGS)
    (faces / FacesFolder.ENCODINGS_JOURNAL).unlink(missing_ok=True)


def _read_table(faces: Path) -> pa.Table:
    file = faces / FacesFolder.ENCODINGS
    if not file.exists():
        return ENCODING_SCHEMA.empty_table()
    table = read_table(file, ENCODING_SCHEMA, "dfdc-prep identify --forget")
    if not _in_range(encoding_matrix(table)):
        raise TableError(
            f"expected face encodings in {file}, found other numbers; run dfdc-prep "
            "identify --forget, and identify again"
        )
    return table.select(ENCODING_SCHEMA.names)


def _read_journal(faces: Path) -> Iterator[JournalEntry]:
    file = faces / FacesFolder.ENCODINGS_JOURNAL
    for number, entry in read_lines(file):
        try:
            yield JournalEntry.model_validate(entry)
        except ValidationError as error:
            raise OutputError(
                f"expected an encoded clip in line {number} of {file}, found something "
                "else; remove the line to encode the clip again"
            ) from error
