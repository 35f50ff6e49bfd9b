"""Builds and writes the report of a folder, a table, an audit or two runs."""

from dataclasses import dataclass
from pathlib import Path

from dfdc_prep import __version__
from dfdc_prep.errors import OutputError, SourceError
from dfdc_prep.reports.page import Page, write_page
from dfdc_prep.run_files import COMPARISON_FILES, RunFiles
from manifests.folders import REPORT, FacesFolder, RunFolder, ShardsFolder, path_meant
from manifests.result import Result, TextTable
from manifests.tables.external import BY_EVIDENCE, Reading

#: Files that tell the kind of a folder, in the order in which the kinds are tried.
_MARKS = {
    "run": (RunFolder.CONFIG, RunFolder.METRICS),
    "comparison": tuple(COMPARISON_FILES),
    "evaluation": (RunFolder.CROSS,),
    "shards": (ShardsFolder.INFO, ShardsFolder.FEATURES),
    "faces": (FacesFolder.MANIFEST, FacesFolder.CLIPS, FacesFolder.JOURNAL, FacesFolder.RUN),
}
#: The kind of a file, by its suffix.
_FILES = {".json": "audit", **dict.fromkeys((".csv", ".parquet", ".tsv", ".txt"), "table")}
#: What the pages of any version have near their beginning.
_PAGE = "dfdc-prep report</title>"
_BEGINNING = 1 << 14  # characters


@dataclass(frozen=True)
class Report(Result):
    """A report that was written."""

    out: Path  # the HTML file; open it in a browser
    kind: str  # what it is about: one of _MARKS, runs (two), table or audit
    size: int  # bytes of the file

    def text(self) -> str:
        """The line for the terminal."""
        about = {"runs": "two runs", "table": "a table", "audit": "an audit"}
        about |= {"comparison": "a comparison", "evaluation": "an evaluation"}
        about_it = about.get(self.kind, f"the {self.kind} folder")
        return f"{self.out} written: {self.size / 1e6:,.1f} MB, a report of {about_it}"

    def cells(self) -> TextTable:
        return TextTable(("file", "kind", "bytes"), [[self.out, self.kind, self.size]])


def build_report(
    path: Path, other: Path | None = None, out: Path | None = None, reading: Reading = BY_EVIDENCE
) -> Report:
    """Write the report of a faces, shards or run folder, a table, an audit, or two runs.

    Args:
        other: a run to compare with that in `path`.
        out: the file to write. None: report.html in the folder; of the table NAME.csv,
            NAME.report.html beside it; of the runs A and B, A-B.report.html in the current
            folder, since a page in A would stay when B is trained again.
        reading: how to read a table.

    Raises:
        SourceError: there is nothing to report on.
        TableError, ShardError, TrainingError: a file is missing or invalid.
        OutputError: the file to write exists and is no such page.
    """
    kind = kind_of(path)
    if kind != "table":
        reading.check_unused(path)
    target = path / REPORT if path.is_dir() else path.with_name(f"{path.stem}.{REPORT}")
    if other is not None:
        if {kind, kind_of(other)} != {"run"} or path.resolve() == other.resolve():
            raise SourceError(
                f"expected two different runs to compare, found {path} and {other}; give one path "
                "for one report"
            )
        kind, target = "runs", Path(f"{RunFiles(path).name}-{RunFiles(other).name}.{REPORT}")
    target = target if out is None else out
    _check_replaceable(target)
    footer = (
        f"Made by dfdc-prep report, version {__version__}. The page loads nothing from elsewhere."
    )
    write_page(_page(kind, path, other, reading)._replace(footer=footer), target)
    return Report(target, kind, target.stat().st_size)


def _check_replaceable(path: Path) -> None:
    if path.is_file():
        with path.open(errors="replace") as file:
            if _PAGE not in file.read(_BEGINNING):
                raise OutputError(
                    f"expected no file at {path}, or one that dfdc-prep report wrote, found "
                    "another file; move it, or name another file with --out"
                )


def kind_of(path: Path) -> str:
    """Return what this is: one of _MARKS, a table or an audit.

    Raises:
        SourceError: it is none of these.
    """
    for kind, marks in _MARKS.items():
        if any((path / name).is_file() for name in marks):
            return kind
    suffix = path.suffix.lower()
    if path.is_file() and suffix in _FILES:
        return _FILES[suffix]
    found = "none of their files" if path.is_dir() else "a file" if path.exists() else "nothing"
    raise SourceError(
        f"expected a faces, shards or run folder, a table or an audit at {path}, found {found}; "
        + (
            path_meant(path)
            or "give a folder that dfdc-prep extract, shard or fit wrote, a .csv or .parquet file, "
            "or what dfdc-prep audit --json printed, as .json"
        )
    )


def _page(kind: str, path: Path, other: Path | None, reading: Reading) -> Page:
    # Imported here, so that the page of a run does not load OpenCV.
    if kind == "table":
        from dfdc_prep.reports.table_report import table_page

        return table_page(path, reading)
    if other is not None:
        from dfdc_prep.reports.comparison import comparison_page

        return comparison_page(path, other)
    if kind == "faces":
        from dfdc_prep.reports.faces_report import faces_page as page
    elif kind == "shards":
        from dfdc_prep.reports.shards_report import shards_page as page
    elif kind == "audit":
        from dfdc_prep.reports.table_report import audit_page as page
    else:
        from dfdc_prep.reports.run_report import run_page as page
    return page(path)
