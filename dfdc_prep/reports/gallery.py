"""Pictures of the crops of a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dfdc_prep.reports.images import Images
from dfdc_prep.reports.page import Picture
from dfdc_prep.reports.thumbnails import thumbnail


@dataclass(frozen=True)
class Gallery:
    """The crops of a manifest, to be shown.

    Attributes:
        table: the manifest.
        images: its images.
    """

    table: pa.Table
    images: Images

    def pictures(self, rows: Iterable[int], notes: Sequence[str] = ()) -> list[Picture]:
        """The crops of some rows, captioned by label, clip and an optional note each."""
        wanted = [int(row) for row in rows]
        data = self.images.read(wanted)
        captions = self.table.select(["video", "label"]).take(pa.array(wanted, pa.int64()))
        return [
            Picture(
                thumbnail(data[row]),
                f"{caption['label']} crop of {caption['video']}",
                (f"{caption['label']} {note}".rstrip(), caption["video"]),
            )
            for row, caption, note in zip(
                wanted, captions.to_pylist(), [*notes] or [""] * len(wanted), strict=True
            )
        ]
