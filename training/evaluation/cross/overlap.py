"""Which images a model may know from its training."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.schema import SHARD_MANIFEST_SCHEMA
from manifests.tables.parquet import read_manifest

#: Splits that a model was trained or chosen on.
_USED = ("train", "validation")


class TrainingCrops:
    """The crops that a model was trained and chosen on.

    Args:
        rows: their rows of the manifest.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._files = set(rows["sha256"].to_pylist())
        self._families = set(
            zip(rows["dataset"].to_pylist(), rows["family"].to_pylist(), strict=True)
        )
        self._names = {family for _, family in self._families}

    @classmethod
    def read(cls, manifest: Path) -> "TrainingCrops":
        """Those of the manifest of a shards folder: its splits train and validation."""
        table = read_manifest(manifest, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
        return cls(table.filter(pc.is_in(table["split"], pa.array(_USED))))

    def known(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Whether each row is of a family, or has the very file, that was trained on.

        Families of different data sets differ, whatever they are called. Where a data set is not
        recorded, the name of the family decides.
        """
        columns = (rows[name].to_pylist() for name in ("dataset", "family", "sha256"))
        return np.array(
            [
                sha256 in self._files
                or (dataset, family) in self._families
                or (None, family) in self._families
                or (dataset is None and family in self._names)
                for dataset, family, sha256 in zip(*columns, strict=True)
            ],
            np.bool_,
        )
