"""Sections about the predictions of a run: ROC, scores, calibration, clips, families."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import expit

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import Chart, Charts, Section, Table
from dfdc_prep.run_files import SplitMetrics
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.tables.parquet import read_table
from manifests.wording import counted

#: Bins of the reliability diagram, those of the expected calibration error.
RELIABILITY_BINS = 15
#: Rows of the tables of clips and of families, at either end.
MAX_CLIPS, MAX_FAMILIES = 400, 8
#: Points of a ROC curve that are drawn.
_MAX_POINTS = 400
#: Columns of predictions.parquet that the report needs.
_COLUMNS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("video", "part", "family")]
    + [pa.field("target", pa.int64(), nullable=False)]
    + [pa.field(name, pa.float64(), nullable=False) for name in ("logit", "score", "calibrated")]
)


def read_predictions(path: Path) -> pd.DataFrame | None:
    """Read predictions.parquet; None if it does not exist or has no rows.

    It has its columns, and those that are summed up by clip and by family: `clip` (part/name),
    `loss` (log-loss) and `wrong`.

    Raises:
        TableError: it is invalid, or a value is not finite.
    """
    if not path.is_file():
        return None
    table = read_table(path, _COLUMNS, "dfdc-prep evaluate")
    frame = table.select(_COLUMNS.names).to_pandas()
    scores = frame[["logit", "score", "calibrated"]].to_numpy()
    if not (np.isfinite(scores).all() and frame["target"].isin((0, 1)).all()):
        raise TableError(
            f"expected finite scores and the targets 0 and 1 in {path}, found others; run "
            "dfdc-prep evaluate again"
        )
    if frame.empty:
        return None
    # The log-loss of an image is log(1 + exp(-logit)) for FAKE, log(1 + exp(logit)) for REAL.
    losses = np.logaddexp(0, np.where(frame["target"] == 1, -1, 1) * frame["logit"])
    assigned: pd.DataFrame = frame.assign(
        clip=frame["part"] + "/" + frame["video"],
        loss=losses,
        wrong=(frame["logit"] >= 0) != (frame["target"] == 1),
    )
    return assigned


def _by(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The predictions by clip or by family, the worst first: score of the mean logit, mean loss."""
    groups = frame.groupby(name).agg(
        images=("logit", "size"),
        logit=("logit", "mean"),
        loss=("loss", "mean"),
        wrong=("wrong", "sum"),
        fakes=("target", "sum"),
    )
    groups["score"] = expit(groups["logit"])
    return groups.sort_values("loss", ascending=False, kind="stable")


def prediction_sections(metrics: SplitMetrics | None, frame: pd.DataFrame) -> list[Section]:
    """Scores and calibration, clips, families; `frame` is from `read_predictions`."""
    values = {
        label: frame.loc[frame["target"] == code, "score"].to_numpy()
        for code, label in enumerate(LABELS)
    }
    medians = ", ".join(" ".join(each) for each in charts.medians(values).items())
    histogram = Chart(
        "Scores by label",
        charts.histogram(values, "scores", "P(FAKE)", limits=(0, 1)),
        f"Histogram of P(FAKE) per image. Medians: {medians}",
        f"Medians: {medians}. A good model puts REAL at 0 and FAKE at 1.",
    )
    clips, families = _by("clip", frame), _by("family", frame)
    rows = []
    row: Any
    for row in clips[:MAX_CLIPS].itertuples():
        label = LABELS[0] if not row.fakes else LABELS[1] if row.fakes == row.images else None
        rows.append((str(row.Index), label, row.images, row.score, row.wrong, row.loss))
    header = ("clip", "label", "images", "P(FAKE)", "wrong images", "log-loss")
    caption = f"{counted(len(clips), 'clip')}, the worst first; P(FAKE) of the mean logit"
    table = Table(caption, header, rows, more=len(clips) - len(rows), searchable=True)
    columns = ("original", "images", "wrong images", "log-loss")
    best = families[MAX_FAMILIES:][-MAX_FAMILIES:][::-1]
    ends = []
    for title, chosen in (("Worst", families[:MAX_FAMILIES]), ("Best", best)):
        cells = [(str(r.Index), r.images, r.wrong, r.loss) for r in chosen.itertuples()]
        if cells:
            ends.append(Table(f"{title} families, of {len(families):,}", columns, cells))
    return [
        Section("Scores and calibration", [Charts([histogram, _reliability(metrics, frame)])]),
        Section("Clips", [table]),
        Section("Families", ends),
    ]


def _reliability(metrics: SplitMetrics | None, frame: pd.DataFrame) -> Chart:
    from sklearn.calibration import calibration_curve

    series = {}
    for name, column in (("before", "score"), ("after", "calibrated")):
        share, mean = calibration_curve(frame["target"], frame[column], n_bins=RELIABILITY_BINS)
        series[f"{name} calibration"] = (mean.tolist(), share.tolist())
    note = "On the dashed line a score is the share of fakes among such crops."
    if metrics:
        error = metrics.calibration
        note = (
            f"Expected calibration error {error.ece:.4f} before and {error.ece_calibrated:.4f} "
            f"after; temperature {metrics.temperature:.4f}. {note}"
        )
    limits = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02)}
    axes = {"xlabel": "mean P(FAKE) of a bin", "ylabel": "share of FAKE", "diagonal": True}
    svg = charts.lines(series, "reliability", **axes, **limits)
    alt = f"Reliability diagram before and after calibration. {note}"
    return Chart("Reliability", svg, alt, note)


def per_clip(frame: pd.DataFrame) -> pd.DataFrame:
    """The target and the score, of the mean logit, of each clip of one label."""
    clips = frame.groupby("clip").agg(target=("target", "mean"), logit=("logit", "mean"))
    clips["score"] = expit(clips["logit"])
    return clips[clips["target"].isin((0, 1))]


def roc_chart(predictions: Mapping[str, pd.DataFrame], title: str = "ROC") -> list[Chart]:
    """ROC curves of targets and scores by name; none of predictions without both labels."""
    from sklearn.metrics import roc_auc_score, roc_curve

    series = {}
    for name, rows in predictions.items():
        if rows["target"].nunique() < len(LABELS):
            continue
        false, true, _ = roc_curve(rows["target"], rows["score"])
        at = np.unique(np.linspace(0, len(false) - 1, _MAX_POINTS).astype(int))
        auc = f"{name}, AUC {roc_auc_score(rows['target'], rows['score']):.4f}"
        series[auc] = (false[at].tolist(), true[at].tolist())
    if not series:
        return []
    axes = {"xlabel": "REAL called FAKE", "ylabel": "FAKE called FAKE", "diagonal": True}
    svg = charts.lines(series, title, **axes)
    return [Chart(title, svg, f"ROC curves: {'; '.join(series)}", "The diagonal is chance.")]
