"""The probes: plain classifiers of crops, and their ROC-AUC per image and per clip.

Each is trained on train and tested on test. The penalty of a logistic regression is chosen on
validation, and no number is fitted on test.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pooch
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from dfdc_prep.progress import Progress
from dfdc_prep.reports.probes import MEASURES, THUMBNAIL, Probe, ProbeReport, Scored
from dfdc_prep.reports.shortcuts import ImageMeasures, row_measures, stream_measures
from manifests.arrow import CLIP_LOG_SCHEMA, SHARD_MANIFEST_SCHEMA
from manifests.errors import TableError, TrainingError
from manifests.files import file_sha256, write_json
from manifests.folders import PROBE, FacesFolder, ShardsFolder, check_unused
from manifests.labels import LABELS
from manifests.tables.codes import Codes, Mask, clip_codes, label_codes, pair_codes
from manifests.tables.parquet import read_manifest, read_table
from manifests.wording import counted
from training.measures.intervals import FamilyIntervals, families_by_label, too_few
from training.measures.predictions import clips_of
from training.measures.scores import (
    SCORES,
    clips_of_split,
    is_score_table,
    logits_of,
    score_table,
    write_scores,
)
from training.models.settings import InputSettings
from training.probing.features import (
    REGIONS,
    Crops,
    FeatureCache,
    backbone_features,
    encoder_features,
    picture_features,
    usable,
)

Floats = npt.NDArray[np.float64]
SPLITS = ("train", "validation", "test")
#: Inverse strengths of the ridge penalty, as scikit-learn has them, the strongest first.
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Standardized features are cut off here, so that no outlier decides.
_OUTLIER = 5.0
#: Probability that any interval of the probes misses its ROC-AUC, at most (Bonferroni).
ERROR = 0.05
#: Most crops that are looked at; of more, those with the smallest hashes.
MAX_CROPS = 100_000
DEFAULT_CACHE = Path(pooch.os_cache("dfdc-prep")) / "features"
#: Test crops whose neighbours are searched at a time.
_BLOCK = 1024


class Scores(NamedTuple):
    """Scores of the test crops, float64; and the penalty chosen.

    They are logits, or without a penalty labels, 0 or 1.
    """

    scores: Floats
    penalty: float | None


class Keep(NamedTuple):
    """The folders of what is kept."""

    cache: Path | None = None  # features; None for one of this user
    scores: Path | None = None  # the score tables of the probes; None for none


@dataclass(frozen=True)
class Rows:
    """The crops of a manifest."""

    label: Codes  # index in LABELS, int64 [crops]
    split: Codes  # index in SPLITS, int64 [crops]; -1 for another split
    clip: Codes  # int64 [crops]; crops of one clip with different labels differ
    family: Any  # names, [crops]

    @classmethod
    def of(cls, table: pa.Table) -> "Rows":
        label = label_codes(table)
        split = [SPLITS.index(n) if n in SPLITS else -1 for n in table["split"].to_pylist()]
        families = np.asarray(table["family"].to_pylist())
        return cls(label, np.array(split), pair_codes(clip_codes(table), label), families)

    def check(self, known: Mask, what: str) -> None:
        """Raise TrainingError unless both labels are in each split among some crops."""
        for at, split in enumerate(SPLITS):
            there = {LABELS[code] for code in self.label[known & (self.split == at)].tolist()}
            if missing := [label for label in LABELS if label not in there]:
                raise TrainingError(
                    f"expected REAL and FAKE {what} in the split {split}, found no "
                    f"{' and no '.join(missing)}; shard more crops, or with another --split"
                )

    def where(self, known: Mask, split: str) -> Codes:
        """The numbers of the known crops of a split."""
        found: Codes = np.flatnonzero(known & (self.split == SPLITS.index(split)))
        return found


def nearest_neighbour(values: npt.NDArray[np.float32], rows: Rows, known: Mask) -> Scores:
    """Score test crops by the label of the most similar crop of train, the first of several.

    Args:
        values: thumbnails, whole numbers without their mean and of one length, float32
            [crops, numbers], so that products are exact.
    """
    train, test = (rows.where(known, split) for split in ("train", "test"))
    nearest = [
        (values[test[start : start + _BLOCK]] @ values[train].T).argmax(axis=1)
        for start in range(0, len(test), _BLOCK)
    ]
    return Scores(rows.label[train[np.concatenate(nearest)]].astype(np.float64), None)


def logistic(values: npt.NDArray[np.floating[Any]], rows: Rows, known: Mask) -> Scores:
    """Score test crops by a logistic regression on standardized features, [crops, numbers].

    The penalty is that with the highest ROC-AUC on validation, the strongest of several. Where a
    value is missing (NaN), it is the median of train, and that it is missing is a feature itself.
    """
    train, validation, test = (rows.where(known, split) for split in SPLITS)
    missing = np.isnan(values[train])
    told = ~missing.all(axis=0)
    medians = np.nanmedian(values[train][:, told], axis=0)
    unknown = np.isnan(values[:, told])
    sometimes = unknown[train].any(axis=0)
    filled = np.hstack([np.where(unknown, medians, values[:, told]), unknown[:, sometimes]])
    scaler = StandardScaler().fit(filled[train])

    def scaled(part: Codes) -> Floats:
        found: Floats = np.clip(scaler.transform(filled[part]), -_OUTLIER, _OUTLIER)
        return found

    chosen, best = None, -1.0
    given, to_choose = scaled(train), scaled(validation)
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, solver="newton-cholesky", max_iter=200)
        model.fit(given, rows.label[train])
        auc = roc_auc_score(rows.label[validation], model.decision_function(to_choose))
        if auc > best + 1e-9:
            chosen, best = model, auc
    assert chosen is not None
    return Scores(chosen.decision_function(scaled(test)), chosen.C)


class Task(NamedTuple):
    """What a classifier is given."""

    features: str
    sees: str  # of a crop, see `reports.probes`
    values: npt.NDArray[np.floating[Any]]  # [crops, numbers]
    known: Mask  # the crops that have them, bool [crops]
    classify: Callable[[Any, Rows, Mask], Scores] = logistic


def probe(task: Task, rows: Rows, error: float) -> tuple[Probe, Scores]:
    """Train and test a classifier; returns what it gets, and the scores of the test crops.

    Args:
        error: probability that the interval misses the ROC-AUC.

    Raises:
        TrainingError: a split lacks a label.
    """
    known = task.known
    rows.check(known, f"crops with {task.features}")
    scored = task.classify(task.values, rows, known)
    test = rows.where(known, "test")
    label, family = rows.label[test], rows.family[test]
    clips, first, clip = np.unique(rows.clip[test], return_index=True, return_inverse=True)
    means = np.bincount(clip, scored.scores) / np.bincount(clip)
    by_clip = _scored(label[first], means, family[first], error)
    by_image = by_clip
    if len(clips) < len(test):
        by_image = _scored(label, scored.scores, family, error)
    found = Probe(
        features=task.features,
        sees=task.sees,
        numbers=task.values.shape[1],
        crops={split: len(rows.where(known, split)) for split in SPLITS},
        clips=len(clips),
        image=by_image,
        clip=by_clip,
        penalty=scored.penalty,
        few=too_few(len(clips), families_by_label(label, family)),
    )
    return found, scored


def _write_scores(table: pa.Table, known: Mask, found: Probe, scored: Scores, folder: Path) -> None:
    """Write the score table of a probe: the mean logit of each test clip of a shards manifest."""
    is_test = pc.equal(table["split"], "test")
    rows, mask = table.filter(is_test), is_test.to_numpy()
    clips, clip = np.unique(clips_of(rows), return_inverse=True)
    named = np.bincount(clip[known[mask]], minlength=len(clips))
    sums = np.bincount(clip[known[mask]], scored.scores, len(clips))
    with np.errstate(invalid="ignore"):  # NaN for a clip without a crop that was looked at
        means = sums / named
    logits = means if scored.penalty is not None else logits_of(means)
    name = "-".join(re.findall(r"\w+", found.name.lower()))
    scores = score_table(clips_of_split(rows), logits, named > 0)
    write_scores(scores, folder / f"{name}{SCORES}.parquet")


def _scored(label: Codes, scores: Floats, families: Any, error: float) -> Scored:
    auc = float(roc_auc_score(label, scores))
    return Scored(
        auc, FamilyIntervals(label, families, error).rankings(scores, {"auc": auc})["auc"]
    )


def probe_shards(
    shards: Path,
    sample: int,
    backbone: tuple[Path, InputSettings] | None,
    keep: Keep,
    most: int = MAX_CROPS,
    clips: Path | None = None,
) -> ProbeReport:
    """Run every probe on a shards folder, and write probe.json into it, and score tables.

    Args:
        sample: crops that the networks look at, which are slow; 0 for none.
        backbone: a model file whose output vector is a crop's features, and its input settings.
        most: crops that are looked at at all.
        clips: the clip log of these crops, or the faces folder that it is in.

    Raises:
        ShardError, TableError: the shards are missing, damaged, or not those of their manifest; or
            the clip log is.
        TrainingError: a split lacks a label, or the backbone cannot be used.
        ModelError: dlib is not installed.
        OutputError: the folder of the scores has other files.
    """
    if keep.scores is not None:
        check_unused(keep.scores, is_score_table, "score tables")
        keep.scores.mkdir(parents=True, exist_ok=True)
    table = read_manifest(shards / ShardsFolder.MANIFEST, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
    rows = Rows.of(table)
    rows.check(np.ones(table.num_rows, bool), "crops")
    networks = []
    if sample:
        networks.append(("face encoding by dlib", encoder_features()))
    if backbone is not None:
        if not sample:
            raise TrainingError(
                "expected crops for the backbone, found a sample of 0; leave out --sample 0, or "
                "the backbone"
            )
        networks.append((f"features of {backbone[0].name}", backbone_features(*backbone)))
    crops, kept = Crops(shards, table), FeatureCache(keep.cache or DEFAULT_CACHE)
    chosen = crops.first(most)
    tasks = _picture_tasks(crops, kept.get(picture_features(), crops, chosen))
    notes = crops.notes(chosen, tasks[0].known)
    if clips is not None:
        tasks.append(_stream_task(table, clips))
        unknown = chosen & ~tasks[-1].known
        if unknown.any():
            crops_of = counted(int(unknown.sum()), "crop")
            notes.append(f"{clips} says nothing of the streams of the clips of {crops_of}")
    sampled = crops.first(min(sample, most)) if networks else chosen
    for name, features in networks:
        values = kept.get(features, crops, sampled)
        known = usable(values)
        for part in features.widths:
            tasks.append(Task(name, crops.shown(part), features.part(values, part), known))
    if not sampled.all() and networks:
        names = " and ".join(name for name, _ in networks)
        some = counted(int(sampled.sum()), "crop")
        notes.append(f"{names}: of {some}, the same ones in every split of them")
    # With one thread the sums, and so the figures, are the same on any number of cores.
    with threadpool_limits(1), Progress(len(tasks), "probes", "probe") as bar:
        probes = []
        for task in tasks:
            found, scored = probe(task, rows, ERROR / len(tasks))
            if keep.scores is not None:
                _write_scores(table, task.known, found, scored, keep.scores)
            probes.append(found)
            bar.update()
    report = ProbeReport(file_sha256(shards / ShardsFolder.MANIFEST), ERROR, probes, notes)
    write_json(shards / PROBE, report.as_json())
    return report


def _stream_task(table: pa.Table, clips: Path) -> Task:
    """What is given to the probe of the clips' streams.

    Raises:
        TableError: the clip log is missing, or says nothing of the streams of these clips.
    """
    path = clips / FacesFolder.CLIPS if clips.is_dir() else clips
    measures = stream_measures(table, read_table(path, CLIP_LOG_SCHEMA, "dfdc-prep extract"))
    told = [measure for measure in measures if measure.known.any()]
    if not told:
        raise TableError(
            f"expected in {path} how the clips of these crops were encoded, found it of none; give "
            "the faces folder that the shards were made from"
        )
    known: Mask = np.any([measure.known for measure in told], axis=0)
    values = np.column_stack([measure.values for measure in told])
    return Task("streams of the clips", MEASURES, values, known)


def _picture_tasks(crops: Crops, values: npt.NDArray[np.float32]) -> list[Task]:
    """What is given to the probes that need no network; `values` are the `picture_features`."""
    features, known = picture_features(), usable(values)
    brightness, sharpness, size = features.part(values, "measures").T.astype(np.float64)
    images = ImageMeasures(brightness, sharpness, size, int(known.sum()), int((~known).sum()))
    measures = [m.values for m in row_measures(crops.rows, images) if m.known.any()]
    counted_measures = f"{len(measures)} single measures"
    small = features.part(values, "thumbnail")
    return [
        Task("nearest neighbour by 12x12 pixels", THUMBNAIL, small, known, nearest_neighbour),
        Task(counted_measures, MEASURES, np.column_stack(measures), known),
        *(
            Task("residuals and frequencies", crops.shown(part), features.part(values, part), known)
            for part in REGIONS
        ),
    ]
