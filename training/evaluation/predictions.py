"""The predictions of a model for one split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import expit


@dataclass(frozen=True)
class Predictions:
    """The predictions for one split, in the order of the shards' manifest.

    Attributes:
        rows: the split's rows of the manifest.
        labels: int64 [N], 0 for REAL and 1 for FAKE.
        logits: float64 [N], not calibrated.
    """

    rows: pa.Table
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]

    @property
    def clips(self) -> list[str]:
        """The clip of each image as part/name/label.

        Names repeat across parts, and faces of one clip may have both labels.
        """
        columns = (self.rows[name].to_pylist() for name in ("part", "video", "label"))
        return ["/".join(names) for names in zip(*columns, strict=True)]

    @property
    def families(self) -> list[str]:
        """The family of each image."""
        return list(self.rows["family"].to_pylist())

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask."""
        return bool(self.rows["mask"].null_count < self.rows.num_rows)

    def table(self, temperature: float) -> pa.Table:
        """The table written to predictions.parquet, one row per image.

        Manifest columns that identify the image, then `target` (the label), `logit`, `score`
        (P(FAKE)) and `calibrated` (P(FAKE) after division of the logit by the temperature).
        """
        names = ["video", "part", "label", "family", "frame", "face", "path"]
        columns = {name: self.rows[name] for name in names}
        columns["target"] = pa.array(self.labels)
        columns["logit"] = pa.array(self.logits)
        columns["score"] = pa.array(expit(self.logits))
        columns["calibrated"] = pa.array(expit(self.logits / temperature))
        return pa.table(columns)
