"""Builds and writes the report of a folder, whichever kind it is."""

from dataclasses import dataclass
from pathlib import Path

from dfdc_prep import __version__
from dfdc_prep.errors import SourceError
from dfdc_prep.reports.page import Page, write_page
from manifests.folders import REPORT, FacesFolder, RunFolder, ShardsFolder
from manifests.result import Result, TextTable

#: Files that tell the kind of a folder, in the order in which the kinds are tried.
_MARKS = {
    "run": (RunFolder.CONFIG, RunFolder.METRICS, RunFolder.CROSS),
    "shards": (ShardsFolder.INFO, ShardsFolder.FEATURES),
    "faces": (FacesFolder.MANIFEST, FacesFolder.CLIPS, FacesFolder.JOURNAL, FacesFolder.RUN),
}


@dataclass(frozen=True)
class Report(Result):
    """A report that was written."""

    out: Path  # the HTML file; open it in a browser
    kind: str  # what it is about: faces, shards or run
    size: int  # bytes of the file

    def text(self) -> str:
        """The line for the terminal."""
        return f"{self.out} written: {self.size / 1e6:,.1f} MB, a report of the {self.kind} folder"

    def cells(self) -> TextTable:
        return TextTable(("file", "kind", "bytes"), [[self.out, self.kind, self.size]])


def build_report(folder: Path, out: Path | None = None) -> Report:
    """Write the report of a faces, shards or run folder, to report.html in it by default.

    Raises:
        SourceError: `folder` is none of these.
        TableError, ShardError, OutputError: a file of the folder is missing or invalid.
    """
    kind = folder_kind(folder)
    target = folder / REPORT if out is None else out
    footer = (
        f"Made by dfdc-prep report, version {__version__}. The page loads nothing from elsewhere."
    )
    write_page(_page(kind, folder)._replace(footer=footer), target)
    return Report(target, kind, target.stat().st_size)


def folder_kind(folder: Path) -> str:
    """Return which kind of folder this is: run, shards or faces.

    Raises:
        SourceError: it is none of these.
    """
    for kind, marks in _MARKS.items():
        if any((folder / name).is_file() for name in marks):
            return kind
    found = "none of their files" if folder.is_dir() else "a file" if folder.exists() else "nothing"
    raise SourceError(
        f"expected a faces, shards or run folder at {folder}, found {found}; give the folder that "
        "dfdc-prep extract, dfdc-prep shard or dfdc-prep fit wrote"
    )


def _page(kind: str, folder: Path) -> Page:
    # Imported here, so that the page of a run does not load OpenCV.
    if kind == "faces":
        from dfdc_prep.reports.faces_report import faces_page as page
    elif kind == "shards":
        from dfdc_prep.reports.shards_report import shards_page as page
    else:
        from dfdc_prep.reports.run_report import run_page as page
    return page(folder)
