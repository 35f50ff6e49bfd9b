"""Several models on the clips of one split: what `compare` writes and prints, and `report` shows.

`training` measures it and `report` shows it again, so this module needs none of its libraries.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dfdc_prep.run_files import (
    ALL,
    COMPARISON_FILES,
    GROUP_MEASURES,
    MEASURES,
    CoverageRow,
    CrossRow,
    DifferenceRow,
    GapRow,
    GroupRow,
    NoteRow,
    RiskRow,
    RunFiles,
    SeedRow,
    write_rows,
)
from manifests.result import Result, TextTable, plain_text
from manifests.wording import counted

if TYPE_CHECKING:
    from dfdc_prep.reports.page import Block, Chart, Section, Text

_SHOWN = ("auc", "accuracy", "tpr_at_fpr_1", "tpr_at_fpr_5", "brier", "log_loss", "ece", "aurc")
#: Measures of the table of models: printed, and on the page.
_ON_PAGE = (*_SHOWN, "average_precision", "eer")
_TITLES = {**MEASURES, **GROUP_MEASURES}
#: Shares of the surest clips whose risk is printed.
_COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
#: What is kept in each of COMPARISON_FILES.
_FIELDS = {
    "coverage.csv": "coverage",
    "comparison.csv": "differences",
    "seeds.csv": "seeds",
    "risk.csv": "risk",
    "attributes.csv": "groups",
    "gaps.csv": "gaps",
    "notes.csv": "notes",
}
_TESTS = ("difference", "low", "p", "p_holm")
#: p after Holm below which a difference is called more than chance.
_SIGNIFICANT = 0.05
#: Most pairs of models that a page begins with one by one.
_FEW = 3


class _Part(NamedTuple):
    """A table, its titles as a section and as a table, and what is said before it."""

    title: str
    caption: str
    said: str
    table: TextTable


@dataclass(frozen=True)
class Comparison(Result):
    """The rows of the tables of COMPARISON_FILES and of cross.csv."""

    measures: list[CrossRow] = field(default_factory=list)
    differences: list[DifferenceRow] = field(default_factory=list)
    seeds: list[SeedRow] = field(default_factory=list)
    risk: list[RiskRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    gaps: list[GapRow] = field(default_factory=list)
    coverage: list[CoverageRow] = field(default_factory=list)
    notes: list[NoteRow] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> "Comparison":
        """Read what was written; empty if nothing was. TrainingError if a file is invalid."""
        files = RunFiles(folder)
        rows = {_FIELDS[name]: files.comparison(name) for name in COMPARISON_FILES}
        of = {(row.set, row.split, row.model) for row in rows["coverage"]}
        clips = [row for row in files.cross() if (row.level, row.method) == ("clip", ALL)]
        measures = [row for row in clips if (row.set, row.split, row.model) in of]
        return cls(**rows, measures=measures)

    def __add__(self, other: "Comparison") -> "Comparison":
        mine, others = vars(self), vars(other)
        lists = {name: mine[name] + others[name] for name in mine}
        return Comparison(**lists | {"notes": list(dict.fromkeys(lists["notes"]))})

    def write(self, folder: Path) -> None:
        """Write the tables of COMPARISON_FILES; a table without rows has its header."""
        for name, kind in COMPARISON_FILES.items():
            rows = getattr(self, _FIELDS[name])
            write_rows(folder / name, [column.name for column in fields(kind)], rows)

    def as_json(self) -> dict[str, Any]:
        """All rows, by table."""
        return asdict(self)

    def text(self) -> str:
        return plain_text(self.parts())

    def cells(self) -> TextTable:
        return next(part for part in self.parts() if isinstance(part, TextTable))

    def caption(self) -> str:
        return next(part for part in self.parts() if isinstance(part, str))

    def parts(self) -> Iterator[TextTable | str]:
        """What the command prints."""
        yield from self._headlines()
        for part in self._tables(_SHOWN):
            if part.said:
                yield part.said
            yield part.table
        yield from (each.note for each in self.notes)

    def _headlines(self) -> Iterator[str]:
        for row in {(r.set, r.split): r for r in self.measures if r.measure == "auc"}.values():
            clips = f"{counted(row.real + row.fake, 'clip')} ({row.real:,} REAL, {row.fake:,} FAKE)"
            families = counted(row.families, "family")
            yield f"{row.split} split of {row.set}, per clip: {clips} of {families}"

    def _tables(self, measures: Iterable[str]) -> Iterator[_Part]:
        """The tables that have rows; of some measures of each model."""
        sets = len({row.set for row in self.coverage}) > 1
        first = ["model", *["set"] * sets]
        rows = []
        for of in self.coverage:
            mine = [row for row in self.measures if (row.set, row.model) == (of.set, of.model)]
            own = {row.measure: row.with_interval() for row in mine}
            scored = f"{of.ok:,} of {of.ok + of.missing + of.error:,}"
            cells = (own.get(name, "") for name in measures)
            rows.append((of.model, *[of.set] * sets, scored, *cells))
        if rows:
            titles = [*first, "scored", *(_TITLES[name] for name in measures)]
            caption = "Measures per clip, with 95 % intervals by family"
            yield _Part("Models", caption, "", TextTable(titles, rows))
        if self.differences:
            delong = any(row.p_delong is not None for row in self.differences)
            names = [*first, "other", "measure", *_TESTS, *["p_delong"] * delong]
            table = _table(self.differences, names)
            yield _Part("Differences", "Differences between two models", self._how(), table)
        if self.seeds:
            names = [*first, "measure", "runs", "mean", "deviation", "smallest", "largest"]
            said = "Runs of one recipe, which differ in their seed."
            yield _Part("Seeds", "Spread over seeds", said, _table(self.seeds, names))
        if self.risk:
            wrong = {(r.model, r.set): list[str]() for r in self.risk}
            for row in (r for r in self.risk if r.coverage in _COVERAGES):
                wrong[row.model, row.set].append(f"{100 * row.risk:.1f} %")
            rows = [(*of[: len(first)], *shares) for of, shares in wrong.items()]
            table = TextTable([*first, *(f"surest {100 * c:.0f} %" for c in _COVERAGES)], rows)
            said = "Share called wrong where only the surest clips are decided."
            yield _Part("Risk and coverage", "Share called wrong of the surest", said, table)
        if self.groups:
            names = [*first, "attribute", "group", "measure", "value", "low"]
            table = _table(self.groups, [*names, "real", "fake", "families"])
            yield _Part("Groups", "Measures by group", "", table)
        if self.gaps:
            said = (
                "The largest gap of each measure. Its interval holds for all pairs of the groups "
                "together; Holm: p adjusted for all of them."
            )
            names = [*first, "attribute", "measure", "group", "other", *_TESTS, "shared"]
            yield _Part("Largest gaps", "Largest gap of two groups", said, _table(self.gaps, names))

    def _how(self) -> str:
        told = (
            "Differences are of the model less the other, p and intervals by paired resamples of "
            "families; Holm: p adjusted for all pairs of a measure. DeLong: "
        )
        if all(row.p is None for row in self.differences):
            return "Too few families of a label: no interval, and no p."
        if any(row.p_delong is not None for row in self.differences):
            return f"{told}for independent clips, here one of each label per family."
        return f"{told}not given: rows share families."

    def verdict(self) -> "list[Text]":
        """What a page begins with: which models differ, and what must be known."""
        from dfdc_prep.reports.page import Text, sentences

        said = sentences(f"{each}." for each in self._headlines())
        if self.coverage and not any(row.missing or row.error for row in self.coverage):
            said.append(Text("Every model scored every clip."))
        pairs = [row for row in self.differences if row.measure == "auc" and row.p_holm is not None]
        differ = [row for row in pairs if row.p_holm is not None and row.p_holm < _SIGNIFICANT]
        if len(pairs) > _FEW:
            said.append(
                Text(
                    f"Of {counted(len(pairs), 'pair')} of models, {len(differ)} differ in ROC-AUC "
                    f"by more than chance (p after Holm below {_SIGNIFICANT})."
                )
            )
        for row in pairs if len(pairs) <= _FEW else ():
            chance = "more than chance" if row in differ else "no more than chance may give"
            difference, interval, _, p = (_cell(row, name) for name in _TESTS)
            said.append(
                Text(
                    f"ROC-AUC of {row.model} less that of {row.other}: {difference} (95 % interval "
                    f"{interval}), p after Holm {p}: {chance}."
                )
            )
        return said + [
            Text(each.note, "warning" if each.warning else "plain") for each in self.notes
        ]

    def facts(self) -> list[tuple[str, object]]:
        """The ROC-AUC of each model, of the first few."""
        aucs = [row for row in self.measures if row.measure == "auc"]
        return [(f"ROC-AUC, {row.model}", row.value) for row in aucs[: 2 * _FEW]]

    def sections(self) -> "list[Section]":
        """The sections of a page; none of an empty comparison."""
        from dfdc_prep.reports.page import Charts, Section, Table, sentences

        found = []
        for title, caption, said, table in self._tables(_ON_PAGE):
            blocks: list[Block] = [*sentences([said] if said else [])]
            if title == "Risk and coverage":
                sets = dict.fromkeys(row.set for row in self.risk)
                blocks.append(Charts([self._risk_chart(name) for name in sets]))
            rows = [[_on_one_line(cell) for cell in row] for row in table.rows]
            blocks.append(Table(caption, table.header, rows, searchable=title == "Groups"))
            found.append(Section(title, blocks))
        return found

    def _risk_chart(self, name: str) -> "Chart":
        """The risk of the models on a set at each coverage."""
        from dfdc_prep.reports import charts
        from dfdc_prep.reports.page import Chart

        models = dict.fromkeys(row.model for row in self.risk if row.set == name)
        series, said = {}, []
        for model in models:
            own = [row for row in self.risk if (row.set, row.model) == (name, model)]
            series[model] = ([row.coverage for row in own], [row.risk for row in own])
            risks = dict(zip(*series[model], strict=True))
            said.append(f"{model}: {risks[1.0]:.3f} of all, {risks[0.5]:.3f} of the surest half")
        shown = dict(list(series.items())[: charts.MOST_LINES])
        axes: Any = {"xlim": (0, 1.02), "ylim": (0, None), "ylabel": "share called wrong"}
        svg = charts.lines(shown, f"risk-{name}", xlabel="share decided, the surest clips", **axes)
        left = len(series) - len(shown)
        note = f"{counted(left, 'model')} more in the table." if left else ""
        alt = f"Line chart of the share called wrong by the share decided. {'; '.join(said)}"
        return Chart(f"Risk and coverage, {name}", svg, alt, note)


def _on_one_line(cell: object) -> object:
    """A value with its interval on a second line, with the interval in brackets."""
    value, _, interval = str(cell).partition("\n")
    return f"{value} ({interval})" if interval else cell


def _table(rows: Sequence[Any], names: Sequence[str]) -> TextTable:
    """Some columns of rows; `low` stands for the interval."""
    heads = {"low": "95 %", "p_holm": "Holm", "p_delong": "DeLong", "real": "REAL", "fake": "FAKE"}
    cells = [[_cell(row, name) for name in names] for row in rows]
    return TextTable([heads.get(name, name) for name in names], cells)


def _cell(row: Any, name: str) -> str:
    value = getattr(row, name)
    if name == "measure":
        return _TITLES[value]
    if name == "low":
        return "too few" if value is None else f"{value:.3f} to {row.high:.3f}"
    if name in ("p", "p_holm", "p_delong") and value is not None:
        return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
    if name == "difference":
        return f"{value:+.3f}"
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
