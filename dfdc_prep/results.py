"""What the functions of the API return: results that print as the commands and as HTML tables."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from dfdc_prep.storage.urls import Location
from dfdc_prep.terminal import TextTable
from manifests.labels import LABELS

if TYPE_CHECKING:
    from dfdc_prep.exporting.run import ExportReport
    from dfdc_prep.extraction.summary import RunSummary
    from dfdc_prep.identities.run import IdentifyReport
    from dfdc_prep.importing.run import ImportReport
    from dfdc_prep.reports.build import Report
    from dfdc_prep.shards.verify import VerifyReport
    from dfdc_prep.shards.writer import ShardReport
    from manifests.auditing.audit import Audit
    from manifests.auditing.summary import Summary
    from manifests.balancing.balance import Balance
    from manifests.splitting.split import Assignment

#: Rows of a table shown in a notebook.
MOST_ROWS = 20


class Result(ABC):
    """A result that shows itself in a terminal and in a notebook.

    `str(result)` is what the command prints.
    """

    def _repr_html_(self) -> str:
        """A small HTML table with the facts of the result; all text is escaped."""
        header, rows = self._table()
        shown = list(rows)
        if not shown:
            return f"<p>{escape(self._caption())}</p>"
        body = "".join(_row("td", row) for row in shown[:MOST_ROWS])
        more = len(shown) - MOST_ROWS
        if more > 0:
            body += _row("td", [f"and {more:,} more", *[""] * (len(header) - 1)])
        return (
            f"<table><caption>{escape(self._caption())}</caption>"
            f"<thead>{_row('th', header)}</thead><tbody>{body}</tbody></table>"
        )

    def _caption(self) -> str:
        """The last line that the command prints."""
        return str(self).splitlines()[-1]

    def parts(self) -> "Iterable[TextTable | str]":
        """What the command prints on a terminal: lines and tables."""
        yield str(self)

    @abstractmethod
    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        """The header and the rows of the HTML table."""


@dataclass(frozen=True)
class ExtractResult(Result):
    """The crops of a run.

    Attributes:
        out: the faces folder.
        report: clips by label and status, crops by label.
    """

    out: Location
    report: "RunSummary"

    @property
    def manifest(self) -> Location:
        """The manifest, one row per crop."""
        return self.out / "manifest.parquet"

    @property
    def failed(self) -> int:
        """Clips that could not be read completely, in clips.parquet, and those left out by name."""
        return self.report.failed

    def __str__(self) -> str:
        return f"{self.report.text()}\n{self.report.conclusion(self.out)}"

    def parts(self) -> "Iterable[TextTable | str]":
        header = ("label", "clips", "with face", "without", "failed", "crops")
        yield TextTable(header, self.report.rows())
        yield from self.report.notes()
        yield self.report.conclusion(self.out)

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        clips = sorted(self.report.clips.items())
        return ("label", "status", "clips"), ([*key, count] for key, count in clips)


@dataclass(frozen=True)
class ImportResult(Result):
    """The imported crops.

    Attributes:
        out: the faces folder.
        report: counts of crops, clips and of what was left out.
    """

    out: Location
    report: "ImportReport"

    @property
    def manifest(self) -> Location:
        """The manifest, one row per crop."""
        return self.out / "manifest.parquet"

    @property
    def failed(self) -> int:
        """Rows and images that were left out; clips.parquet names them."""
        return self.report.failed

    def __str__(self) -> str:
        return f"{self.report.text()}\nwritten to {self.out}"

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        counts = {name: n for name, n in vars(self.report).items() if isinstance(n, int)}
        known = {f"FAKE clips, family {name}": n for name, n in vars(self.report.fakes).items()}
        return ("count of", "number"), (counts | known).items()


@dataclass(frozen=True)
class IdentifyResult(Result):
    """The estimated identities.

    Attributes:
        out: the faces folder.
        report: counts of clips, faces, people and doubts; None after `forget`.
        forgotten: the files that were removed.
    """

    out: Location
    report: "IdentifyReport | None"
    forgotten: tuple[str, ...] = ()

    @property
    def table(self) -> Location:
        """The identities, one row per clip."""
        return self.out / "identities.parquet"

    @property
    def failed(self) -> int:
        """Clips whose worker died or timed out."""
        return len(self.report.failed) if self.report else 0

    def __str__(self) -> str:
        if self.report is None:
            removed = ", ".join(self.forgotten) or "nothing, there was none"
            return (
                f"removed from {self.out}: {removed}\n"
                "kept: the crops, identities.parquet and identity_settled.csv, if any"
            )
        page = self.out / "identities.html"
        return f"{self.report.text()}\nwritten to {self.table}; look at {page}"

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        if self.report is None:
            return ("removed",), ([name] for name in self.forgotten)
        found = self.report.identities
        names = found.families.to_pylist()
        return ("person", "families"), ([names[at], count] for at, count in found.people)


@dataclass(frozen=True)
class SummaryResult(Result):
    """What a table contains.

    Attributes:
        report: columns, classes, families, yield, face sizes.
        notes: how the table was read, where it does not say it itself.
    """

    report: "Summary"
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The same numbers as plain values, those of `dfdc-prep summary --json`."""
        return {**self.report.as_json(), "notes": self.notes}

    def __str__(self) -> str:
        return "\n".join([*self.notes, self.report.text()])

    def parts(self) -> "Iterable[TextTable | str]":
        yield from self.notes
        yield TextTable(*self._table())
        yield from self.report.notes()

    def _caption(self) -> str:
        return self.report.caption()

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        columns = [list(vars(column).values()) for column in self.report.columns]
        return ("column", "dtype", "count", "unique", "missing", "missing %"), columns


@dataclass(frozen=True)
class BalanceResult(Result):
    """The balanced crops.

    Attributes:
        out: the table written.
        report: its rows, and counts of crops, clips and originals.
        notes: as of `SummaryResult`.
    """

    out: Location
    report: "Balance"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([*self.notes, self.report.text(), f"written to {self.out}"])

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        clips = self.report.clips or {}
        rows = ([label, self.report.per_class, clips.get(label, "not known")] for label in LABELS)
        return ("label", "crops", "clips"), rows


@dataclass(frozen=True)
class SplitResult(Result):
    """The crops with their split.

    Attributes:
        out: the table written.
        report: the split of each row, counts wanted and placed, leaks.
        notes: as of `SummaryResult`.
    """

    out: Location
    report: "Assignment"
    notes: tuple[str, ...] = ()

    @property
    def leaking(self) -> bool:
        """Whether any known family is in two splits."""
        return self.report.leaking

    def __str__(self) -> str:
        return "\n".join([*self.notes, self.report.text(), f"written to {self.out}"])

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        rows = zip(
            self.report.plan.names,
            self.report.placed.tolist(),
            self.report.wanted.tolist(),
            strict=True,
        )
        header = ["split", *LABELS, *(f"{label} wanted" for label in LABELS)]
        return header, ([name, *placed, *wanted] for name, placed, wanted in rows)


@dataclass(frozen=True)
class ShardResult(Result):
    """The shards written, or found already written.

    Attributes:
        out: the shards folder.
        report: shard files per split, and bytes.
    """

    out: Location
    report: "ShardReport"

    def __str__(self) -> str:
        return self.report.text()

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        return ("split", "shards"), self.report.shards.items()


@dataclass(frozen=True)
class ExportResult(Result):
    """The export written, or found already written.

    Attributes:
        out: the folder.
        report: crops per split, and bytes.
    """

    out: Location
    report: "ExportReport"

    def __str__(self) -> str:
        return self.report.text()

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        return ("split", "crops"), self.report.crops.items()


@dataclass(frozen=True)
class AuditResult(Result):
    """What the splits of a table share.

    Attributes:
        report: families, files and near-identical images that are in two splits.
        notes: as of `SummaryResult`.
    """

    report: "Audit"
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """leaks, no leak found, or not known: nothing says what some fakes were made from."""
        return self.report.verdict

    @property
    def ok(self) -> bool:
        """Whether the verdict is that no leak was found, and the exit code of the command 0."""
        return self.verdict == "no leak found"

    @property
    def leaking(self) -> bool:
        """Whether anything that was compared is in two splits."""
        return self.report.leaking

    def as_json(self) -> dict[str, Any]:
        """The same numbers as plain values, those of `dfdc-prep audit --json`."""
        return {**self.report.as_json(), "notes": self.notes}

    def __str__(self) -> str:
        verdict, _, rest = self.report.text().partition("\n")
        return "\n".join([verdict, *self.notes, rest])

    def parts(self) -> "Iterable[TextTable | str]":
        yield self.report.verdict_line()
        yield from self.notes
        yield from self.report.counts()
        yield TextTable(*self._table())
        yield from self.report.notes()

    def _caption(self) -> str:
        return self.report.verdict_line()

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        rows: list[Sequence[object]] = []
        for what, leaks in self.report.kinds().items():
            if leaks is None:
                rows.append([what, "", "not compared", ""])
            for leak in leaks or ():
                pair = f"{leak.second} and {leak.first}"
                rows.append([what, pair, leak.shared, f"{100 * leak.rate:.1f} %"])
        return ("what", "splits", "shared", "crops affected"), rows


@dataclass(frozen=True)
class VerifyResult(Result):
    """What is wrong with a shards folder.

    Attributes:
        report: records and bytes read, faults found.
    """

    report: "VerifyReport"

    @property
    def ok(self) -> bool:
        """Whether no fault was found."""
        return not self.report.faults

    def __str__(self) -> str:
        return self.report.text()

    def _caption(self) -> str:
        return str(self).splitlines()[0]

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        faults = (
            [fault.file, "" if fault.record is None else fault.record, fault.what]
            for fault in self.report.faults
        )
        return ("file", "record", "fault"), faults


@dataclass(frozen=True)
class ReportResult(Result):
    """A report that was written.

    Attributes:
        report: the HTML file, the kind of the folder (faces, shards or run), bytes.
    """

    report: "Report"

    @property
    def out(self) -> Location:
        """The HTML file; open it in a browser."""
        return self.report.path

    def __str__(self) -> str:
        return self.report.text()

    def _table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        return ("file", "kind", "bytes"), [[self.out, self.report.kind, self.report.size]]


def _row(tag: str, cells: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(_text(cell))}</{tag}>" for cell in cells) + "</tr>"


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
