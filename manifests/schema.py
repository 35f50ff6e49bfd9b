"""The Arrow schemas of the tables, made from the declarations in `manifests.columns`.

All code that reads or writes a table uses these schemas; `manifests.tables.parquet` checks
tables against them.
"""

from types import NoneType
from typing import Any, get_args, get_type_hints

import pyarrow as pa

from manifests.columns import (
    ENCODING_SIZE,
    ClipRow,
    CropRow,
    EncodingRow,
    IdentityRow,
    ImportedRow,
    ShardRow,
    Single,
    SplitRow,
)

_TYPES = {
    str: pa.string(),
    int: pa.int32(),
    float: pa.float64(),
    bool: pa.bool_(),
    Single: pa.float32(),
    list[float]: pa.list_(pa.float32(), ENCODING_SIZE),
}


def _field(name: str, declared: Any) -> pa.Field:
    hint, meaning = get_args(declared)
    kinds = set(get_args(hint)) if hint not in _TYPES else {hint}
    (kind,) = kinds - {NoneType}
    metadata = {"description": meaning}
    return pa.field(name, _TYPES[kind], nullable=NoneType in kinds, metadata=metadata)


def schema_of(row: type) -> pa.Schema:
    """The schema of a row type of `manifests.columns`; each field's metadata has its meaning."""
    hints = get_type_hints(row, include_extras=True)
    return pa.schema([_field(*column) for column in hints.items()])


MANIFEST_SCHEMA = schema_of(CropRow)
CLIP_SOURCE_FIELD = schema_of(ImportedRow).field("clip_source")
CLIP_LOG_SCHEMA = schema_of(ClipRow)
SPLIT_SCHEMA = schema_of(SplitRow)
SHARD_MANIFEST_SCHEMA = schema_of(ShardRow)
IDENTITY_SCHEMA = schema_of(IdentityRow)
ENCODING_SCHEMA = schema_of(EncodingRow)
