"""Check what was made: audit its splits, verify its shards, report on a folder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dfdc_prep.commands.declaration import Given, command
from dfdc_prep.commands.options import LOCATION, PAGE_FILE, ClipsFrom, RealIs, StrPath
from dfdc_prep.commands.terminal import DONE_WITH_FAILURES, report_hint
from dfdc_prep.storage.workspace import Mirror, Push, Staged, staged
from manifests.folders import REPORT, FacesFolder, RunFolder, ShardsFolder

if TYPE_CHECKING:
    from dfdc_prep.reports.build import Report
    from dfdc_prep.writing.verify import VerifyReport
    from manifests.auditing.audit import Audit


def _report_of_audited(result: "Audit", given: Given) -> Iterator[str]:
    """The hint, if `report` knows the folder: faces or shards, but no export."""
    path = given["path"]
    if isinstance(path, Path):
        is_shards = (path / ShardsFolder.INFO).is_file()
        if (path / ShardsFolder.METADATA).is_file() and not is_shards:
            return
        if not (path / ShardsFolder.MANIFEST).is_file():
            return
    yield report_hint(path)


def _compared(mirror: Mirror) -> None:
    """Fetch what `audit` reads of a shards folder, a faces folder or a folder of crops."""
    tables = (FacesFolder.SPLIT, FacesFolder.MANIFEST)
    found = mirror.pull([ShardsFolder.INFO, *tables, FacesFolder.IDENTITIES])
    audited = next((name for name in tables if name in found), None)
    if ShardsFolder.INFO in found or audited is None:
        mirror.pull_all()
    else:
        mirror.pull(FacesFolder.crops_in(mirror.folder / audited))


def _reported(mirror: Mirror) -> None:
    """Fetch what `report` reads of a run, a shards folder or a faces folder."""
    marks = (RunFolder.CONFIG, RunFolder.METRICS, ShardsFolder.INFO)
    found = mirror.pull([*marks, FacesFolder.MANIFEST])
    if RunFolder.CONFIG in found or RunFolder.METRICS in found:
        unread = (f"{RunFolder.CHECKPOINTS}/", f"{RunFolder.LOGS}/", RunFolder.MODEL)
        mirror.pull(name for name in mirror.sizes if not name.startswith(unread))
    elif ShardsFolder.INFO in found:
        mirror.pull_all()
    else:
        mirror.pull([FacesFolder.CLIPS, FacesFolder.RUN])
        if FacesFolder.MANIFEST in found:
            mirror.pull(FacesFolder.crops_in(mirror.folder / FacesFolder.MANIFEST))


@command(
    hints=_report_of_audited,
    exit_code=lambda result: 0 if result.ok else DONE_WITH_FAILURES,
    has_json=True,
)
@staged(path=Staged(_compared), identities=Staged([FacesFolder.IDENTITIES]))
def audit(
    path: Annotated[StrPath, LOCATION],
    *,
    identities: Annotated[StrPath | None, LOCATION] = None,
    clips_from: ClipsFrom = None,
    real_is: RealIs = None,
) -> "Audit":
    """Measure what the splits of PATH share: families, people, files, near-identical images.

    PATH is a shards folder, a faces folder with its split.parquet, a CSV or parquet table
    with the columns split, label, video (or videoname) and original, or a folder of crops
    sorted as train/real, train/fake, test/real ... The verdict comes first: leaks, no leak found,
    or not known, where nothing says what some fakes were made from. The exit code is 0 only if no
    leak was found, else 3.

    \b
    Example:
      dfdc-prep audit shards
      dfdc-prep audit split.csv --json
      dfdc-prep audit shards --identities faces

    Args:
        path: A shards folder, a faces folder, a table or a folder of crops.
        identities: identities.parquet of identify, or its faces folder. None: those in PATH, if
            any.

    Raises:
        TableError: there is no table with splits, or it cannot be used.
    """
    from dfdc_prep.writing.audit_inputs import read_audit_inputs
    from manifests.auditing.audit import audit as compare
    from manifests.tables.external import Reading

    people = None if identities is None else Path(identities)
    found = read_audit_inputs(Path(path), people, Reading(clips_from, real_is))
    return replace(compare(found.table, found.near, found.pictures), notes=found.notes)


@command(exit_code=lambda result: 0 if result.ok else 1)
@staged(shards=Staged(Mirror.pull_all))
def verify(shards: Annotated[StrPath, LOCATION] = "shards") -> "VerifyReport":
    """Read SHARDS back completely: checksums, counts, images, labels and families.

    Names the shard, the record and the fault. The exit code is 1 if there is any fault.

    \b
    Example:
      dfdc-prep verify shards

    Args:
        shards: A shards folder.

    Raises:
        ShardError: the folder was not written by `shard`.
    """
    from dfdc_prep.writing.verify import verify_shards

    return verify_shards(Path(shards))


@command()
@staged(path=Staged(_reported, Push()), other=Staged(_reported), out=Staged([REPORT], Push()))
def report(
    path: Annotated[StrPath, LOCATION],
    other: Annotated[StrPath | None, LOCATION] = None,
    *,
    clips_from: ClipsFrom = None,
    real_is: RealIs = None,
    out: Annotated[StrPath | None, PAGE_FILE] = None,
) -> "Report":
    """Write one HTML page about a folder, a table, an audit, or two runs.

    Faces: failed clips, families, measures that give the label away, crops. Shards: splits,
    what they share, near-identical crops. A run: curves, results, calibration, mistakes. What
    compare wrote: differences, risk, groups. Two runs: their results side by side, and the
    settings that differ. A table: its labels and families, its splits and crops if it has them.
    The page begins with what was found and what was not checked, and loads nothing from
    elsewhere; open it in a browser.

    \b
    Example:
      dfdc-prep report faces
      dfdc-prep report runs/v1.3 --out v1.3.html
      dfdc-prep report runs/v1.3 runs/v1.2
      dfdc-prep report split.csv
      dfdc-prep report audit.json

    Args:
        path: A folder of extract, import, shard, fit or compare, an evaluation inside a run, a CSV
            or parquet table as for summary, or what audit --json printed.
        other: Another run, to compare with that in PATH.
        out: The HTML file to write; only a page of this command is replaced. None:
            PATH/report.html, NAME.report.html beside the file NAME.csv, or A-B.report.html in the
            current folder for the runs A and B.

    Raises:
        SourceError: `path` is something else.
        TableError, ShardError, TrainingError: a file is missing or invalid.
        OutputError: the file to write exists and is no such page.
    """
    from dfdc_prep.reports.build import build_report
    from manifests.tables.external import Reading

    second, target = (None if each is None else Path(each) for each in (other, out))
    return build_report(Path(path), second, target, Reading(clips_from, real_is))
