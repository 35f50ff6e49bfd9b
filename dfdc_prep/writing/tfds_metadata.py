"""Metadata files with which TensorFlow Datasets opens the shards without this package.

The required keys were found by experiment with tensorflow-datasets 4.9.10: unknown keys fail,
missing splits silently load as an empty data set, an image feature without a shape fails.
"""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.writing.features import NUMBERS, TEXTS
from manifests.columns import CROP_SIZE
from manifests.folders import ShardsFolder
from manifests.labels import LABELS
from manifests.tables.codes import dataset_column

VERSION = "1.0.0"
_DESCRIPTION = (
    "Square face crops, 224x224 RGB, cut from {clips}, with the label of their clip and the "
    "family it belongs to."
)
_DFDC = "dfdc"
_DFDC_CITATION = """\
@article{dolhansky2020dfdc,
  title={The DeepFake Detection Challenge (DFDC) Dataset},
  author={Dolhansky, Brian and Bitton, Joanna and Pflaum, Ben and Lu, Jikuo and
          Howes, Russ and Wang, Menglin and Ferrer, Cristian Canton},
  journal={arXiv preprint arXiv:2006.07397},
  year={2020}
}"""

MANIFEST, METADATA = ShardsFolder.MANIFEST, ShardsFolder.METADATA
INFO, FEATURES, LABEL_NAMES = ShardsFolder.INFO, ShardsFolder.FEATURES, ShardsFolder.LABEL_NAMES
_MODULE = "tensorflow_datasets.core.features"


class About(NamedTuple):
    """What is said about the crops of a shards folder."""

    description: str
    citation: str


def about(manifest: pa.Table) -> About:
    """Describe the crops of a manifest by the data sets they are from; DFDC where none is named."""
    named = pc.unique(dataset_column(manifest, default=_DFDC)).to_pylist()
    if set(named) <= {_DFDC}:
        return About(
            _DESCRIPTION.format(clips="Deepfake Detection Challenge clips"), _DFDC_CITATION
        )
    names = ", ".join(" ".join(name.split()) for name in sorted(named))
    cited = _DFDC_CITATION if _DFDC in named else ""
    return About(_DESCRIPTION.format(clips=f"clips of {names}"), cited)


def dataset_info(splits: dict[str, tuple[list[int], int]], about: About) -> dict[str, Any]:
    """The content of dataset_info.json.

    Args:
        splits: by split name, the number of records of each shard and the split's bytes.
        about: from the function `about`.
    """
    return {
        "name": ShardsFolder.DATASET,
        "version": VERSION,
        "description": about.description,
        "citation": about.citation,
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": name,
                "shardLengths": [str(length) for length in lengths],
                "numBytes": str(size),
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for name, (lengths, size) in splits.items()
        ],
        "supervisedKeys": {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}},
    }


def feature_spec() -> dict[str, Any]:
    """The content of features.json: name, type and shape of every feature of an Example."""
    scalar = {"shape": {}, "dtype": "int64", "encoding": "none"}
    image = {"shape": {"dimensions": [str(CROP_SIZE), str(CROP_SIZE), "3"]}, "dtype": "uint8"}
    found: dict[str, Any] = {
        "image": {"pythonClassName": f"{_MODULE}.image_feature.Image", "image": image},
        "label": {
            "pythonClassName": f"{_MODULE}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": str(len(LABELS))},
        },
    }
    for name in TEXTS:
        found[name] = {"pythonClassName": f"{_MODULE}.text_feature.Text", "text": {}}
    for name in NUMBERS:
        found[name] = {"pythonClassName": f"{_MODULE}.scalar.Scalar", "tensor": scalar}
    return {
        "pythonClassName": f"{_MODULE}.features_dict.FeaturesDict",
        "featuresDict": {"features": found},
    }
