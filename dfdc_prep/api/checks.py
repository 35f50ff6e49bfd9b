"""Check what was made: audit its splits, verify its shards, report on a folder."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfdc_prep import options
from dfdc_prep.api.arguments import StrPath
from dfdc_prep.options import checked
from dfdc_prep.staging import (
    Staged,
    compared_by_audit,
    everything,
    nothing,
    shown_in_report,
    staged,
    tables,
)
from manifests.folders import FacesFolder

if TYPE_CHECKING:
    from dfdc_prep.reports.build import Report
    from dfdc_prep.writing.verify import VerifyReport
    from manifests.auditing.audit import Audit


@checked(options.AUDIT)
@staged(path=Staged(compared_by_audit), identities=Staged(tables(FacesFolder.IDENTITIES)))
def audit(
    path: StrPath,
    *,
    identities: StrPath | None = None,
    clips_from: str | None = None,
    real_is: int | None = None,
) -> "Audit":
    """Measure what splits share: families, estimated people, files, near-identical images.

    Args:
        path: a shards folder, a faces folder with split.parquet, a CSV or parquet table with
            the columns split, label, video (or videoname) and original, or a folder of crops
            sorted as train/real, train/fake, test/real.
        identities: identities.parquet or its faces folder; None for the identities in `path`.
        clips_from, real_is: of a table or a folder of crops; as for `summarize`.

    Raises:
        TableError: there is no table with splits, or it cannot be used.
    """
    from dfdc_prep.writing.audit_inputs import read_audit_inputs
    from manifests.auditing.audit import audit as compare
    from manifests.tables.external import Reading

    people = None if identities is None else Path(identities)
    found = read_audit_inputs(Path(path), people, Reading(clips_from, real_is))
    return replace(compare(found.table, found.near, found.pictures), notes=found.notes)


@checked(options.VERIFY)
@staged(shards=Staged(everything))
def verify(shards: StrPath = "shards") -> "VerifyReport":
    """Read shards back completely: checksums, counts, images, labels and families.

    Faults do not raise; see `VerifyReport.ok`.

    Args:
        shards: a shards folder.

    Raises:
        ShardError: the folder was not written by `shard`.
    """

    from dfdc_prep.writing.verify import verify_shards

    return verify_shards(Path(shards))


@checked(options.REPORT)
@staged(path=Staged(shown_in_report, writes=True), out=Staged(nothing, writes=True))
def report(path: StrPath, *, out: StrPath | None = None) -> "Report":
    """Write one HTML page about a faces, a shards or a run folder; it loads nothing else.

    Args:
        path: a folder of `extract`, `import_crops`, `shard` or `python -m training.fit`, or an
            evaluation inside a run.
        out: the HTML file; None for report.html in the folder.

    Raises:
        SourceError: `path` is no such folder.
        TableError, ShardError, OutputError: a file of the folder is missing or invalid.
    """
    from dfdc_prep.reports.build import build_report

    return build_report(Path(path), None if out is None else Path(out))
