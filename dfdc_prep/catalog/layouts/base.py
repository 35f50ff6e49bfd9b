"""The protocol of a layout's reader."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dfdc_prep.catalog.entries import Listing

#: Spellings of the official splits, in lower case.
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class SourceOptions:
    """How a source is to be read.

    Attributes:
        layout: name of the layout, or `auto`.
        dataset: name of the data set for the column `dataset`; None for the layout's own.
        compression: the compression level to read, of layouts that have several.
        table: the CSV of the layout `table`.
        real_is: the number that stands for REAL in that CSV; `label_reading.read_labels`.
    """

    layout: str = "auto"
    dataset: str | None = None
    compression: str | None = None
    table: Path | None = None
    real_is: int | None = None


class Layout(Protocol):
    """Reads one kind of data set.

    Attributes:
        name: value of `--layout`.
        shape: what a source of this layout looks like, for messages.
        marks: files and folders any of which shows that a folder has the layout.
    """

    name: str
    shape: str
    marks: tuple[str, ...]

    def dataset(self, source: Path, options: SourceOptions) -> str | None:
        """The name of the data set; None if the rows say it."""

    def read(self, source: Path, options: SourceOptions) -> Listing:
        """List the clips below a folder.

        Raises:
            SourceError: the folder does not have the layout, or a file of it is invalid.
            SourceUnreachable: the size of a clip cannot be read.
        """
