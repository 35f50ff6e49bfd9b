"""croissant.json: machine-readable description of the shards (MLCommons Croissant 1.1).

The record set `faces` reads manifest.parquet, because no Croissant library reads TFRecords.
The shard files are listed with their hashes.
"""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from manifests.folders import ShardsFolder
from manifests.tables.codes import dataset_column

LICENSE = "The terms of the clips that the crops were cut from."
VERSION = "1.0.0"
_DFDC = "dfdc"
_DFDC_CITATION = """\
@article{dolhansky2020dfdc,
  title={The DeepFake Detection Challenge (DFDC) Dataset},
  author={Dolhansky, Brian and Bitton, Joanna and Pflaum, Ben and Lu, Jikuo and
          Howes, Russ and Wang, Menglin and Ferrer, Cristian Canton},
  journal={arXiv preprint arXiv:2006.07397},
  year={2020}
}"""
#: The terms of the JSON-LD context, in the order of the specification; those not in `_MEANINGS`
#: are Croissant's own.
_TERMS = (
    "@language @vocab citeAs column conformsTo containedIn cr rai data dataType dct "
    "equivalentProperty examples extract field fileProperty fileObject fileSet format includes "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate sc separator source subField transform"
)
_MEANINGS: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "sc": "https://schema.org/",
}


class About(NamedTuple):
    """What is said about the crops of a shards folder."""

    description: str
    citation: str
    splits: list[str]


def about(manifest: pa.Table) -> About:
    """Describe the crops of a manifest by the data sets they are from; DFDC where none is named."""
    named = pc.unique(dataset_column(manifest, default=_DFDC)).to_pylist()
    clips = f"clips of {', '.join(' '.join(name.split()) for name in sorted(named))}"
    if set(named) <= {_DFDC}:
        clips = "Deepfake Detection Challenge clips"
    return About(
        f"Square face crops, 224x224 RGB, cut from {clips}, with the label of their clip and the "
        "family it belongs to.",
        _DFDC_CITATION if _DFDC in named or not named else "",
        pc.unique(manifest["split"]).to_pylist(),
    )


def croissant_metadata(schema: pa.Schema, hashes: dict[str, str], about: About) -> dict[str, Any]:
    """The content of croissant.json.

    Args:
        schema: of the manifest of the shards folder.
        hashes: SHA-256 of manifest.parquet and of every shard file, {name: hash}.
    """
    splits = {
        **_named("cr:RecordSet", "splits"),
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{**_named("cr:Field", "name", "splits/"), "dataType": "sc:Text"}],
        "data": [{"splits/name": split} for split in about.splits],
    }
    faces = {
        **_named("cr:RecordSet", "faces"),
        "description": "One record per crop, in the order of the records in the shards.",
        "field": [_field(field) for field in schema],
    }
    return {
        "@context": {term: _MEANINGS.get(term, f"cr:{term}") for term in _TERMS.split()},
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": ShardsFolder.DATASET,
        "description": about.description,
        "version": VERSION,
        "license": LICENSE,
        "citeAs": about.citation,
        "distribution": [_file(name, hashes[name]) for name in sorted(hashes)],
        "recordSet": [splits, faces],
    }


def _named(kind: str, name: str, parent: str = "") -> dict[str, Any]:
    return {"@type": kind, "@id": parent + name, "name": name}


def _file(name: str, sha256: str) -> dict[str, Any]:
    kind = "application/x-parquet" if name == ShardsFolder.MANIFEST else "application/octet-stream"
    found = _named("cr:FileObject", name)
    return {**found, "contentUrl": name, "encodingFormat": kind, "sha256": sha256}


def _field(field: pa.Field) -> dict[str, Any]:
    described = {
        **_named("cr:Field", field.name, "faces/"),
        "description": (field.metadata or {}).get(b"description", field.name.encode()).decode(),
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": ShardsFolder.MANIFEST}, "extract": {"column": field.name}},
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
