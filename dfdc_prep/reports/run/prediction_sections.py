"""Sections about the predictions of a run: ROC, scores, calibration, clips, families."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import Block, Chart, Charts, Section, Table
from dfdc_prep.reports.run.predictions import Grouped, Predictions, group_predictions, reliability
from manifests.labels import LABELS

#: Rows of the tables of clips and of families, at either end.
MAX_CLIPS, MAX_FAMILIES = 400, 8
#: Points of a ROC curve that are drawn.
_MAX_POINTS = 400


def prediction_sections(metrics: dict[str, Any] | None, predictions: Predictions) -> list[Section]:
    """Scores and calibration, clips, families.

    Args:
        metrics: the content of metrics.json; None if there is none.
        predictions: of at least one image.
    """
    scores = {
        label: predictions.score[predictions.label == code] for code, label in enumerate(LABELS)
    }
    medians = ", ".join(
        f"{label} {np.median(each):.4f}" for label, each in scores.items() if len(each)
    )
    histogram = Chart(
        "Scores by label",
        charts.histogram(scores, "scores", "P(FAKE)", limits=(0, 1)),
        f"Histogram of P(FAKE) per image. Medians: {medians}",
        f"Medians: {medians}. A good model puts REAL at 0 and FAKE at 1.",
    )
    clips = sorted(group_predictions(predictions, predictions.clip), key=lambda each: -each.loss)
    rows = [
        (each.name, each.label, each.images, each.score, each.wrong, each.loss)
        for each in clips[:MAX_CLIPS]
    ]
    header = ("clip", "label", "images", "P(FAKE)", "wrong images", "log-loss")
    caption = f"The {len(clips):,} clips, the worst first; P(FAKE) of the mean logit"
    table = Table(caption, header, rows, more=len(clips) - len(rows), searchable=True)
    return [
        Section(
            "Scores and calibration", [Charts([histogram, *_reliability(metrics, predictions)])]
        ),
        Section("Clips", [table]),
        _families_section(predictions),
    ]


def _reliability(metrics: dict[str, Any] | None, predictions: Predictions) -> list[Chart]:
    series, said = {}, []
    for name, scores in (("before", predictions.score), ("after", predictions.calibrated)):
        confidence, share = reliability(predictions.label, scores)
        series[f"{name} calibration"] = (confidence.tolist(), share.tolist())
    if metrics is not None:
        error = metrics["calibration"]
        said.append(
            f"Expected calibration error {error['ece']:.4f} before and "
            f"{error['ece_calibrated']:.4f} after; temperature {metrics['temperature']:.4f}."
        )
    axes = {
        **{"xlabel": "mean P(FAKE) of a bin", "ylabel": "share of FAKE", "diagonal": True},
        **{"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02)},
    }
    svg = charts.lines(series, "reliability", **axes)
    note = " ".join([*said, "On the dashed line a score is the share of fakes among such crops."])
    alt = f"Reliability diagram before and after calibration. {note}"
    return [Chart("Reliability", svg, alt, note)]


def _families_section(predictions: Predictions) -> Section:
    families = sorted(
        group_predictions(predictions, predictions.family), key=lambda each: -each.loss
    )
    header = ("original", "images", "wrong images", "log-loss")

    def table(caption: str, chosen: Sequence[Grouped]) -> Table:
        rows = [(each.name, each.images, each.wrong, each.loss) for each in chosen]
        return Table(f"{caption}, of {len(families):,}", header, rows)

    worst, best = families[:MAX_FAMILIES], families[MAX_FAMILIES:][-MAX_FAMILIES:][::-1]
    blocks: list[Block] = [table("Worst families", worst)]
    if best:
        blocks.append(table("Best families", best))
    return Section("Families", blocks)


def roc_chart(predictions: Predictions) -> Chart:
    """ROC curves per image and per clip, of predictions with both labels."""
    from sklearn.metrics import roc_auc_score, roc_curve

    clips = group_predictions(predictions, predictions.clip)
    labels = np.array([LABELS.index(each.label) for each in clips if each.label is not None])
    scores = np.array([each.score for each in clips if each.label is not None])
    series, said = {}, []
    for level, truth, values in (
        ("per image", predictions.label, predictions.score),
        ("per clip", labels, scores),
    ):
        if len(np.unique(truth)) < len(LABELS):
            continue
        false, true, _ = roc_curve(truth, values)
        at = np.unique(np.linspace(0, len(false) - 1, _MAX_POINTS).astype(int))
        auc = f"{level}, AUC {roc_auc_score(truth, values):.4f}"
        series[auc] = (false[at].tolist(), true[at].tolist())
        said.append(auc)
    axes = {"xlabel": "REAL called FAKE", "ylabel": "FAKE called FAKE", "diagonal": True}
    svg = charts.lines(series, "roc", **axes)
    return Chart("ROC", svg, f"ROC curves: {'; '.join(said)}", "The diagonal is chance.")
