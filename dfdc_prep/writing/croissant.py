"""croissant.json: machine-readable description of the shards (MLCommons Croissant 1.1).

The record set `faces` reads manifest.parquet, because no Croissant library reads TFRecords.
The shard files are listed with their hashes.
"""

from typing import Any

import pyarrow as pa

from dfdc_prep.writing.tfds_metadata import MANIFEST, VERSION, about
from manifests.folders import ShardsFolder

CROISSANT = ShardsFolder.CROISSANT
LICENSE = "The terms of the clips that the crops were cut from."

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant_metadata(manifest: pa.Table, hashes: dict[str, str]) -> dict[str, Any]:
    """The content of croissant.json.

    Args:
        manifest: the manifest of the shards folder.
        hashes: SHA-256 of manifest.parquet and of every shard file, {name: hash}.
    """
    splits = list(dict.fromkeys(manifest["split"].to_pylist()))
    crops = about(manifest)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": ShardsFolder.DATASET,
        "description": crops.description,
        "version": VERSION,
        "license": LICENSE,
        "citeAs": crops.citation,
        "distribution": [_file(name, hashes[name]) for name in sorted(hashes)],
        "recordSet": [_split_names(splits), _faces(manifest.schema)],
    }


def _file(name: str, sha256: str) -> dict[str, Any]:
    parquet = name == MANIFEST
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": "application/x-parquet" if parquet else "application/octet-stream",
        "sha256": sha256,
    }


def _split_names(splits: list[str]) -> dict[str, Any]:
    """The record set that lists the splits, as Croissant requires."""
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": "splits/name",
                "name": "name",
                "dataType": "sc:Text",
            }
        ],
        "data": [{"splits/name": split} for split in splits],
    }


def _faces(schema: pa.Schema) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "faces",
        "name": "faces",
        "description": "One record per crop, in the order of the records in the shards.",
        "field": [_field(field) for field in schema],
    }


def _field(field: pa.Field) -> dict[str, Any]:
    meaning = (field.metadata or {}).get(b"description", field.name.encode()).decode()
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"faces/{field.name}",
        "name": field.name,
        "description": meaning,
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": MANIFEST}, "extract": {"column": field.name}},
    }
    if field.name == "split":
        described["references"] = {"field": {"@id": "splits/name"}}
    return described


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Boolean" if pa.types.is_boolean(kind) else "sc:Text"
