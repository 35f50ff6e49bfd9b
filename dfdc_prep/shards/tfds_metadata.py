"""Metadata files with which TensorFlow Datasets opens the shards without this package.

The required keys were found by experiment with tensorflow-datasets 4.9.10: unknown keys fail,
missing splits silently load as an empty data set, an image feature without a shape fails.
"""

from typing import Any

from dfdc_prep.shards.features import NUMBERS, TEXTS
from manifests.labels import LABELS
from manifests.rows import CROP_SIZE
from manifests.shard_names import DATASET

VERSION = "1.0.0"
DESCRIPTION = (
    "Square face crops, 224x224 RGB, cut from Deepfake Detection Challenge clips, with the "
    "label of their clip and the family it belongs to."
)
CITATION = """\
@article{dolhansky2020dfdc,
  title={The DeepFake Detection Challenge (DFDC) Dataset},
  author={Dolhansky, Brian and Bitton, Joanna and Pflaum, Ben and Lu, Jikuo and
          Howes, Russ and Wang, Menglin and Ferrer, Cristian Canton},
  journal={arXiv preprint arXiv:2006.07397},
  year={2020}
}"""

MANIFEST, METADATA = "manifest.parquet", "metadata.json"
INFO, FEATURES, LABEL_NAMES = "dataset_info.json", "features.json", "label.labels.txt"
_MODULE = "tensorflow_datasets.core.features"


def dataset_info(splits: dict[str, tuple[list[int], int]]) -> dict[str, Any]:
    """The content of dataset_info.json.

    Args:
        splits: by split name, the number of records of each shard and the split's bytes.
    """
    return {
        "name": DATASET,
        "version": VERSION,
        "description": DESCRIPTION,
        "citation": CITATION,
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
