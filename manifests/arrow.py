"""The Arrow schemas of the tables, made from the declarations in `manifests.schemas`."""

from types import NoneType
from typing import get_args, get_type_hints

import pyarrow as pa

from manifests.schemas import (
    ENCODING_SIZE,
    Bytes3,
    Bytes4,
    Bytes8,
    Bytes16,
    Bytes32,
    ClipRow,
    CropRow,
    EncodingRow,
    IdentityRow,
    ImportedRow,
    Long,
    Numbers,
    RecipeRow,
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
    Long: pa.int64(),
    Bytes3: pa.binary(3),
    Bytes4: pa.binary(4),
    Bytes8: pa.binary(8),
    Bytes16: pa.binary(16),
    Bytes32: pa.binary(32),
    Numbers: pa.list_(pa.float32()),
    list[float]: pa.list_(pa.float32(), ENCODING_SIZE),
}


def schema_of(row: type) -> pa.Schema:
    """The schema of a row type of `manifests.schemas`; each field's metadata has its meaning."""
    fields = []
    for name, declared in get_type_hints(row, include_extras=True).items():
        hint, meaning = get_args(declared)
        kinds = set(get_args(hint)) if hint not in _TYPES else {hint}
        (kind,) = kinds - {NoneType}
        metadata = {"description": meaning}
        fields.append(pa.field(name, _TYPES[kind], NoneType in kinds, metadata))
    return pa.schema(fields)


MANIFEST_SCHEMA = schema_of(CropRow)
CLIP_SOURCE_FIELD = schema_of(ImportedRow).field("clip_source")
CLIP_LOG_SCHEMA = schema_of(ClipRow)
SPLIT_SCHEMA = schema_of(SplitRow)
SHARD_MANIFEST_SCHEMA = schema_of(ShardRow)
IDENTITY_SCHEMA = schema_of(IdentityRow)
ENCODING_SCHEMA = schema_of(EncodingRow)
RECIPE_SCHEMA = schema_of(RecipeRow)
