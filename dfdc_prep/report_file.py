"""The page that `dfdc-prep report` writes into a faces, a shards or a run folder."""

import shlex
from pathlib import Path

from dfdc_prep.storage.urls import Location
from manifests.locks import is_temporary

REPORT_FILE = "report.html"


def is_report(name: str) -> bool:
    """Whether a file is the page, or what a killed run left of it."""
    return name == REPORT_FILE or is_temporary(name, REPORT_FILE)


def report_hint(folder: Location) -> str:
    """Return the line that says where the page about a folder is, or which command writes it."""
    page = folder / REPORT_FILE
    if isinstance(page, Path) and page.is_file():
        return f"report: {page}"
    return f"for a report to look at: dfdc-prep report {shlex.quote(str(folder))}"
