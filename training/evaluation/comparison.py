"""Several models on the clips of one split: measures, differences, seeds, risk, groups."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dfdc_prep.reports.compared import Comparison
from dfdc_prep.run_files import (
    ALL,
    CROSS_COLUMNS,
    CoverageRow,
    CrossRow,
    DifferenceRow,
    GapRow,
    GroupRow,
    NoteRow,
    OperatingPoint,
    RiskRow,
    RunConfig,
    RunFiles,
    SeedRow,
    write_rows,
)
from manifests.errors import TrainingError
from manifests.files import write_text
from manifests.wording import counted
from training.evaluation import attributes
from training.evaluation.cross import numbered
from training.measures.intervals import MIN_FAMILIES, UNDEFINED, families_by_label
from training.measures.metrics import measure, risks
from training.measures.paired import (
    COMPARED,
    Estimate,
    delong,
    difference,
    estimates,
    holm,
    mean_of,
)
from training.measures.predictions import Level
from training.measures.scores import (
    ABSENT,
    AS_CHANCE,
    ERROR,
    LEFT_OUT,
    OK,
    SCORES,
    level_of,
    write_scores,
)

#: Shares of the clips whose risk is measured, of the surest, in percent.
COVERAGES = range(100, 0, -5)


class Entry(NamedTuple):
    """The results of one model on a split."""

    name: str  # unlike that of every other one
    scores: pa.Table  # `scores.score_table`
    point: OperatingPoint = OperatingPoint()
    config: RunConfig | None = None  # None for what is no run
    elsewhere: int = 0  # rows of a table that are of clips of other splits

    @property
    def recipe(self) -> str:
        """What the runs of one recipe share: all that config.json has but the seed."""
        if self.config is None:
            return self.name
        options = replace(self.config.options, seed=0)
        shared = (self.config.recipe, options, self.config.data)
        return json.dumps([asdict(each) for each in shared], sort_keys=True)


@dataclass(frozen=True)
class Policy:
    """What a clip without a score counts as, and how many there may be."""

    missing: str = AS_CHANCE  # one of `scores.MISSING`
    min_coverage: float = 0.0  # share of the clips that every model must have scored


def compare(
    entries: Sequence[Entry],
    where: Mapping[str, str],
    policy: Policy,
    given: attributes.Attributes | None = None,
) -> Comparison:
    """Compare models on the clips of one split.

    Runs that differ in nothing but their seed are one row: the mean of their measures, each of the
    same clips. Its interval is for other families, not for other seeds, whose spread is in `seeds`.

    Args:
        where: the columns `set` and `split` of the rows.
        given: groups of the clips.

    Raises:
        TrainingError: a model scored fewer clips than the policy asks for.
    """
    coverage = [_coverage(entry, where, policy) for entry in entries]
    levels = {entry.name: level_of(entry.scores, policy.missing) for entry in entries}
    notes = [
        NoteRow(
            f"{row.model}: {counted(row.ok + row.error, 'row')} of clips of this split, "
            f"{row.elsewhere:,} of other splits, left out, and 0 of unknown clips."
        )
        for row in coverage
        if row.elsewhere
    ]
    notes += [NoteRow(note) for note in (given.notes if given else [])]
    kept = np.ones(entries[0].scores.num_rows, np.bool_)
    if any(row.ok < len(kept) for row in coverage):
        if policy.missing == LEFT_OUT:
            for entry in entries:
                kept &= np.array([each == OK for each in entry.scores["status"].to_pylist()])
            levels = {name: level.where(kept) for name, level in levels.items()}
        lacking = "; ".join(f"{row.model}: {_by_status(row)}" for row in coverage)
        left = f": {counted(int(kept.sum()), 'clip')} that every model scored are compared"
        said = f"Clips without a score count {policy.missing}{'' if kept.all() else left}"
        notes.append(NoteRow(f"{said} ({lacking}).", warning=True))
    if not kept.any():
        raise TrainingError("expected clips that every model scored, found none; see --missing")
    if policy.min_coverage:
        share = f"{100 * policy.min_coverage:g} %"
        notes.append(NoteRow(f"Every model scored at least {share} of the clips."))
    measures, risk = list[CrossRow](), list[RiskRow]()
    for entry in entries:
        level = levels[entry.name]
        shared: Any = {**where, "model": entry.name}
        reals, fakes = np.bincount(level.labels, minlength=2).tolist()
        families = len(np.unique(level.families))
        numbers: Any = {"real": reals, "fake": fakes, "families": families, "trained_on": None}
        numbers |= asdict(entry.point)
        for name, (value, (low, high)) in measure(level, entry.point).items():
            at: Any = {"method": ALL, "level": "clip", "measure": name}
            measures.append(CrossRow(**shared, **at, value=value, low=low, high=high, **numbers))
        shares = risks(level)
        for percent in COVERAGES:
            decided = shares[max(1, round(percent / 100 * len(shares))) - 1]
            risk.append(RiskRow(**shared, coverage=percent / 100, risk=float(decided)))
    differences, seeds = _differences(entries, levels, where)
    groups, gaps = list[GroupRow](), list[GapRow]()
    for name, level in levels.items() if given else ():
        for attribute, names in given.groups.items() if given else ():
            of = [group for group, keep in zip(names, kept, strict=True) if keep]
            found = attributes.attribute_rows(level, attribute, of, {**where, "model": name})
            groups, gaps = groups + found[0], gaps + found[1]
    notes += [NoteRow(said, warning=True) for said in dict.fromkeys(attributes.warnings(groups))]
    return Comparison(measures, differences, seeds, risk, groups, gaps, coverage, notes)


def _by_status(row: CoverageRow, names: Sequence[str] = (OK, ABSENT, ERROR)) -> str:
    """How many clips have each status that any has: "49 ok, 5 missing"."""
    return ", ".join(f"{n:,} {name}" for name in names if (n := getattr(row, name)))


def _coverage(entry: Entry, where: Mapping[str, str], policy: Policy) -> CoverageRow:
    """Clips by status; TrainingError if fewer have a score than the policy asks for."""
    statuses = entry.scores["status"].to_pylist()
    values: Any = {**where, **{each: statuses.count(each) for each in (OK, ABSENT, ERROR)}}
    values |= {"counted_as": policy.missing, "min_coverage": policy.min_coverage}
    row = CoverageRow(model=entry.name, elsewhere=entry.elsewhere, **values)
    share = row.ok / len(statuses)
    if share < policy.min_coverage:
        raise TrainingError(
            f"expected scores for at least {100 * policy.min_coverage:g} % of the clips in "
            f"{entry.name}, found {100 * share:.1f} % ({_by_status(row, (ABSENT, ERROR))}); score "
            "the others, or lower --min-coverage"
        )
    return row


def _differences(
    entries: Sequence[Entry], levels: Mapping[str, Level], where: Mapping[str, str]
) -> tuple[list[DifferenceRow], list[SeedRow]]:
    """Every pair of recipes, and the spread of those with several runs."""
    recipes: dict[str, list[Entry]] = {}
    for entry in entries:
        alike = recipes.get(entry.recipe, [])
        seed = entry.config and entry.config.options.seed
        is_repeated = seed in [each.config and each.config.options.seed for each in alike]
        recipes.setdefault(entry.name if is_repeated else entry.recipe, []).append(entry)
    level = levels[entries[0].name]
    named: dict[str, dict[str, Estimate]] = {}
    seeds: list[SeedRow] = []
    for runs in recipes.values():
        found = [estimates(levels[run.name], level.families) for run in runs]
        name = " + ".join(run.name for run in runs)
        named[name] = {m: mean_of([each[m] for each in found]) for m in found[0]}
        for m in (m for m in COMPARED if m in found[0] and len(runs) > 1):
            values = [each[m].value for each in found]
            mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
            spread = (mean, deviation, min(values), max(values))
            seeds.append(SeedRow(where["set"], where["split"], name, m, len(runs), *spread))
    numbers = families_by_label(level.labels, level.families)
    few = min(count for count in numbers.values() if count) < MIN_FAMILIES
    pairs = np.unique(
        np.array([level.labels, np.unique(level.families, return_inverse=True)[1]]), axis=1
    )
    independent = pairs.shape[1] == len(level.labels)
    rows: list[DifferenceRow] = []
    for m in (m for m in COMPARED if all(m in each for each in named.values())):
        of_measure = []
        for a, b in combinations(named, 2):
            first, second = named[a][m], named[b][m]
            value, (low, high), p = difference(first, second, level.families)
            if few:
                (low, high), p = UNDEFINED, None
            by_clip = delong(first, second, level.labels) if m == "auc" and independent else None
            tests: Any = {"p": p, "p_holm": None, "p_delong": None if few else by_clip}
            tests |= {"clips": len(level.labels), "families": len(np.unique(level.families))}
            ends: Any = {**where, "difference": value, "low": low, "high": high}
            of_measure.append(DifferenceRow(model=a, other=b, measure=m, **ends, **tests))
        adjusted = holm(row.p for row in of_measure)
        rows += [replace(r, p_holm=p) for r, p in zip(of_measure, adjusted, strict=True)]
    return rows, seeds


def write_comparison(found: Comparison, entries: Sequence[Entry], folder: Path) -> None:
    """Write the tables of a comparison, cross.csv, report.txt and the score table of each model."""
    files = RunFiles(folder)
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    plain = ["".join(c if c.isalnum() or c in "-_. " else "_" for c in e.name) for e in entries]
    for name, entry in zip(numbered(plain), entries, strict=True):
        write_scores(entry.scores, folder / "scores" / f"{name}{SCORES}.parquet")
    found.write(folder)
    write_rows(files.cross_file, CROSS_COLUMNS, found.measures)
    write_text(folder / "report.txt", found.text() + "\n")
