"""The commands as Python functions, for notebooks and scripts.

Each function has the parameters, defaults and errors of its command, writes the same files, and
returns a result whose `str()` is what the command prints. A value that the command would refuse
raises ValueError; every other expected error is a `dfdc_prep.errors.DfdcPrepError`.

Libraries are imported inside the functions, because the command line imports this module.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dfdc_prep import options
from dfdc_prep.extraction.slices import Slice
from dfdc_prep.options import AUTO, checked
from dfdc_prep.parallel.engine import LOCAL, Engine
from dfdc_prep.results import (
    AuditResult,
    BalanceResult,
    ExportResult,
    ExtractResult,
    IdentifyResult,
    ImportResult,
    ReportResult,
    ShardResult,
    SplitResult,
    SummaryResult,
    VerifyResult,
)
from dfdc_prep.staging import (
    Staged,
    all_but,
    compared_by_audit,
    crops_to_split,
    everything,
    faces_to_encode,
    nothing,
    shown_in_report,
    staged,
    tables,
)
from manifests.storage.urls import as_location

if TYPE_CHECKING:
    from manifests.balancing.balance import Strategy
    from manifests.splitting.spec import SplitPlan

#: A path, or the URL of a bucket as text: "s3://bucket/faces".
StrPath = str | os.PathLike[str]
#: One folder, or several.
Folders = StrPath | Iterable[StrPath]


@checked(options.EXTRACT)
def extract(
    source: StrPath = "dfdc",
    out: StrPath = "faces",
    *,
    layout: str = AUTO,
    dataset: str | None = None,
    compression: str | None = None,
    table: StrPath | None = None,
    preset: str = "paper",
    frames: int | None = None,
    sampling: str = "even",
    detector: str = AUTO,
    detector_model: StrPath | None = None,
    faces: str | None = None,
    align: str | None = None,
    margin: float | None = None,
    size: int | None = None,
    format: str = "png",
    share_boxes: bool = True,
    compare: bool = False,
    masks: bool = False,
    workers: int | None = None,
    timeout: float = 120,
    limit: int | None = None,
    slice: Slice | str | None = None,
    engine: str = "local",
    address: str | None = None,
    insecure_cluster: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> ExtractResult:
    """Crop the faces out of the clips below `source`; an interrupted run resumes.

    Args:
        source: the folder of a data set: DFDC's parts, or one of the other layouts.
        out: the faces folder: crops/, manifest.parquet, metadata.csv, clips.parquet, run.json.
        layout: dfdc, dfdc-flat, dfdc-preview, faceforensics, celeb-df, or auto to find out.
        dataset: name of the data set in the tables; None for that of the layout.
        compression: raw, c23 or c40, of FaceForensics++; None if there is only one.
        table: a CSV with the columns path (relative to `source`) and label, and, if known,
            original, identity, face_identity, method, split and dataset, for any other layout.
        preset: paper, deepfakebench or selimsef: sets frames, faces, align, margin and size where
            they are None.
        frames: frames per clip, 1 to 10,000; 1 with the preset paper.
        sampling: even (frames near even positions that are cheap to decode), exact (even
            positions), first or keyframes.
        detector: auto, yunet, hog, cnn or hog+cnn.
        detector_model: YuNet's ONNX weights; also the variable DFDC_PREP_YUNET.
        faces: largest for the clip's main face, all for every face; largest with all presets.
        align: none; eyes or five-point for crops aligned with the face, which needs yunet. None
            for that of the preset; paper and selimsef have none, deepfakebench five-point.
        margin: added on each side of the box, as a fraction of its longer side, 0 to 4; of an
            aligned crop, as a fraction of the template's side. 0.3 with the preset paper.
        size: side of a crop, pixels, 16 to 4096; 224 with the preset paper.
        format: png or jpg.
        share_boxes: crop a fake where its original's face is.
        compare: compare each crop of a fake with its original's: the columns forged, difference
            and aligned.
        masks: write where each crop of a fake was changed; turns compare on.
        workers: processes; None for one per core.
        timeout: seconds a clip may take.
        limit: stop after about this many clips, in whole families.
        slice: "I/N" for slice I of N of the families; any machines may run the slices into the
            same `out`, in any order; `gather` then writes the tables.
        engine: local for worker processes on this machine, ray for those of a Ray cluster that
            this machine is a node of.
        address: of the Ray cluster's head, host:port; None or auto for the cluster of this machine.
        insecure_cluster: use a Ray cluster although it lets everybody in who can reach it.
        retry_failed: process the clips again that failed before.
        overwrite: remove an earlier run's files first.

    Raises:
        ValueError: a value is not allowed.
        SourceError: `source` has no known layout, or another than `layout`.
        ModelError: the detector's weights cannot be loaded.
        OutputError: `out` cannot be written, or another run is writing it.
        OptionsDiffer: `out` was begun with other options.
        WorkersError: worker processes cannot be started.
    """
    if engine == LOCAL:
        from dfdc_prep.parallel.forkserver import forkserver_context

        # The fork server preloads the workers' imports while this process goes on.
        forkserver_context()

    from dfdc_prep.catalog.layouts.base import SourceOptions
    from dfdc_prep.extraction.clip import CropOptions
    from dfdc_prep.extraction.presets import PRESETS
    from dfdc_prep.extraction.run import RunOptions
    from dfdc_prep.extraction.run import extract as run

    chosen = PRESETS[preset]
    crop = CropOptions(
        frames=chosen.frames if frames is None else frames,
        sampling=sampling,
        faces=chosen.faces if faces is None else faces,
        margin=chosen.margin if margin is None else margin,
        size=chosen.size if size is None else size,
        format=format,
        share_boxes=share_boxes,
        align=chosen.align if align is None else align,
        compare=compare or masks,
        masks=masks,
    )
    csv = None if table is None else Path(table)
    part = Slice.parse(slice) if isinstance(slice, str) else slice
    how = RunOptions(
        workers,
        timeout,
        limit,
        overwrite,
        retry_failed,
        preset,
        reading=SourceOptions(layout, dataset, compression, csv),
        part=part,
        engine=Engine(engine, address, insecure_cluster),
    )
    model = None if detector_model is None else Path(detector_model)
    target = as_location(out)
    return ExtractResult(target, run(as_location(source), target, crop, how, detector, model))


@checked(options.GATHER)
def gather(out: StrPath = "faces", *, source: StrPath | None = None) -> ExtractResult:
    """Write the tables of a run whose families were divided into slices.

    Args:
        out: the faces folder that the slices wrote.
        source: the folder of DFDC parts, if this machine has it elsewhere than the slices.

    Raises:
        OutputError: families are missing, or a slice is running.
        SourceError: `source` is not a DFDC tree.
    """
    from dfdc_prep.extraction.run import gather as run

    target = as_location(out)
    return ExtractResult(target, run(target, None if source is None else as_location(source)))


@checked(options.IMPORT)
@staged(
    crops_dir=Staged(everything),
    metadata_csv=Staged(everything),
    out=Staged(all_but("crops/"), writes=True, alone=True),
)
def import_crops(
    crops_dir: StrPath, metadata_csv: StrPath, out: StrPath = "faces", *, overwrite: bool = False
) -> ImportResult:
    """Make a faces folder of crops that are already cut, such as Kaggle's deepfake_faces.

    Args:
        crops_dir: a folder of 224x224 PNG or JPEG images.
        metadata_csv: a CSV or parquet table with the columns label and path, or videoname.
        out: the faces folder.
        overwrite: replace a faces folder of another table, and the tables made from it.

    Raises:
        TableError, SourceError: the table or the folder cannot be used.
        OptionsDiffer: `out` was made from another table.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.importing.run import import_crops as run

    return ImportResult(Path(out), run(Path(crops_dir), Path(metadata_csv), Path(out), overwrite))


@checked(options.IDENTIFY)
@staged(
    faces=Staged(faces_to_encode, writes=True, alone=True, resumes=True), pairs=Staged(everything)
)
def identify(
    faces: StrPath = "faces",
    *,
    threshold: float = 0.5,
    same: Iterable[str | tuple[str, str]] = (),
    different: Iterable[str | tuple[str, str]] = (),
    pairs: StrPath | None = None,
    workers: int | None = None,
    forget: bool = False,
) -> IdentifyResult:
    """Estimate who is filmed in the clips of a faces folder; continue an earlier run.

    Encodes up to three good crops of every REAL clip and groups them by average linkage. A
    family takes its original's identity. The encodings stay in the folder.

    Args:
        faces: a faces folder.
        threshold: largest average distance at which two groups are one person, 0.1 to 1.
        same, different: pairs of clips that show one person, and different people: "A,B" or
            ("A", "B"). They are kept for the next call.
        pairs: a CSV of such pairs with the columns first, second and relation.
        workers: processes; None for one per core.
        forget: remove the encodings and pictures instead; identities.parquet stays.

    Raises:
        TableError: there is no manifest, or a pair cannot be used or contradicts another.
        ShardError: a crop is missing or altered.
        ModelError: dlib or its models are missing.
        OutputError: the folder cannot be written, or another run is writing it.
        WorkersError: worker processes cannot be started.
    """
    from dfdc_prep.identities.run import IdentifyOptions
    from dfdc_prep.identities.run import forget as remove
    from dfdc_prep.identities.run import identify as run
    from manifests.identities.constraints import DIFFERENT, SAME, SettledPair

    folder = Path(faces)
    if forget:
        return IdentifyResult(folder, None, tuple(remove(folder)))
    # `checked` has turned every "A,B" into a pair.
    settled = [
        SettledPair(str(pair[0]), str(pair[1]), relation)
        for relation, given in ((SAME, same), (DIFFERENT, different))
        for pair in given
    ]
    csv = None if pairs is None else Path(pairs)
    report = run(folder, IdentifyOptions(threshold, tuple(settled), csv, workers))
    return IdentifyResult(folder, report)


@checked(options.SUMMARY)
@staged(faces=Staged(tables("manifest.parquet", "clips.parquet")))
def summarize(faces: StrPath = "faces") -> SummaryResult:
    """Count what a faces folder or a table contains.

    Args:
        faces: a faces folder, or a CSV or parquet table with the columns video (or videoname,
            or path), label and, if known, original.

    Raises:
        TableError: there is no table, or it cannot be used.
    """
    from manifests.auditing.summary import summarize as count
    from manifests.tables.sources import TableSource

    found = TableSource.from_path(Path(faces))
    return SummaryResult(count(found.read("manifest.parquet", "extract"), found.read_clip_log()))


@checked(options.BALANCE)
@staged(faces=Staged(tables("manifest.parquet"), writes=True), out=Staged(nothing, writes=True))
def balance(
    faces: StrPath = "faces",
    *,
    per_class: int | None = None,
    strategy: "Strategy" = "random",
    seed: int = 42,
    frames_per_clip: int | None = None,
    label_by: str = "clip",
    out: StrPath | None = None,
) -> BalanceResult:
    """Choose as many REAL crops as FAKE crops; clips stay whole.

    Args:
        faces: a faces folder or a table, as for `summarize`.
        per_class: crops of each label; None for 16,000, or as many as the smaller class has.
        strategy: random, spread (fakes of as many originals as possible) or pairs (each fake
            with its original).
        seed: 0 to 2**32 - 1; the same seed chooses the same crops.
        frames_per_clip: frames taken of each clip, evenly spaced; None for all.
        label_by: clip, or face: a face of a fake that was not changed is REAL.
        out: the CSV or parquet file to write; None for balanced.parquet in the faces folder,
            or balanced.csv in the working folder for a table.

    Raises:
        NotEnoughRows: a class has fewer crops than `per_class`.
        TableError: there is no table, or it cannot be used.
    """
    from manifests.balancing.balance import BalanceOptions
    from manifests.balancing.balance import balance as choose
    from manifests.tables.face_labels import label_rows
    from manifests.tables.parquet import write_table
    from manifests.tables.sources import TableSource

    found = TableSource.from_path(Path(faces))
    rows = label_rows(found.read("manifest.parquet", "extract"), label_by)
    report = choose(rows, BalanceOptions(per_class, strategy, seed, frames_per_clip))
    target = found.output_path("balanced") if out is None else Path(out)
    write_table(report.table, target)
    return BalanceResult(target, report)


@checked(options.SPLIT)
@staged(
    faces=Staged(tables("balanced.parquet", "identities.parquet"), writes=True),
    out=Staged(nothing, writes=True),
)
def split(
    faces: StrPath = "faces",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    label_by: str = "clip",
    official: bool = False,
    out: StrPath | None = None,
) -> SplitResult:
    """Give every balanced crop its split, and write only that table.

    Args:
        faces: a faces folder with balanced.parquet, or a table.
        split: train/validation/test, or named as in fit=70/dev=20/test=10.
        group_by: what stays in one split: original (a family), identity (an estimated person,
            see `identify`), a column, or none.
        seed: chooses among families of equal size.
        label_by: as for `balance`.
        official: take the split that the data set's own lists give; `split`, `group_by` and
            `seed` then have no effect.
        out: the CSV or parquet file to write; None for split.parquet in the faces folder, or
            split.csv in the working folder for a table.

    Raises:
        TableError: `split` or `group_by` cannot be used, there is no usable table, a group of
            people is larger than the smallest split, or a crop has no official split.
    """
    from manifests.identities.join import join_people
    from manifests.splitting.official import official_splits
    from manifests.splitting.split import IDENTITY, SplitPlan, add_split_column, assign_splits
    from manifests.tables.face_labels import label_rows
    from manifests.tables.parquet import write_table
    from manifests.tables.sources import TableSource

    plan = SplitPlan.parse(split, group_by, seed)
    found = TableSource.from_path(Path(faces))
    table = label_rows(found.read("balanced.parquet", "balance"), label_by)
    if group_by == IDENTITY and found.is_folder and not official:
        table = join_people(table, found.path)
    report = official_splits(table) if official else assign_splits(table, plan)
    target = found.output_path("split") if out is None else Path(out)
    write_table(add_split_column(table, report), target)
    return SplitResult(target, report)


@checked(options.SHARD)
@staged(
    faces=crops_to_split,
    out=Staged(all_but(".tfrecord-"), writes=True, alone=True, last=("SHA256SUMS",)),
)
def shard(
    faces: Folders = "faces",
    out: StrPath = "shards",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    shards: int | str = AUTO,
    image_format: str = "as-is",
    quality: int = 95,
    overwrite: bool = False,
) -> ShardResult:
    """Split the balanced crops and write them as TFRecord shards.

    Several folders are joined: each data set gives as many crops of each label as the smallest
    has, of each method of its fakes the same number where there are enough clips, and each data
    set is split by itself.

    Args:
        faces: a faces folder with balanced.parquet, or several, of different data sets.
        out: the shards folder; it appears when it is complete.
        split, group_by: as for the function `split`.
        seed: of the split and of the shuffle within it.
        label_by: as for `balance`.
        crops: balanced; all, those of manifest.parquet; or split, those of split.parquet with
            the splits it gives, instead of `split` and `group_by`.
        test_only: put all crops into the split test, instead of `split`.
        shards: number of train shards, 1 to 9999; auto for 16 or more of 20 to 200 MB each
            where there is enough data.
        image_format: as-is copies the crops; jpeg encodes them again.
        quality: of the JPEGs, 1 to 100.
        overwrite: replace shards of another manifest or of other options.

    Raises:
        TableError: there is no balanced.parquet, `split` or `group_by` cannot be used, or two
            folders cannot be told apart.
        ShardError: a crop is missing, altered or not 224x224.
        OptionsDiffer: `out` holds other shards.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.shards.writer import ShardOptions, write_shards

    plan = _plan(split, group_by, seed, test_only)
    count = None if shards == AUTO else int(shards)
    how = ShardOptions(
        plan, count, image_format, quality, overwrite, label_by=label_by, crops=crops
    )
    return ShardResult(Path(out), write_shards(_folders(faces), Path(out), how))


@checked(options.EXPORT_DEEPFAKEBENCH)
@staged(
    faces=crops_to_split,
    out=Staged(all_but(".tar", "/"), writes=True, alone=True, last=("SHA256SUMS",)),
)
def export_deepfakebench(
    faces: Folders = "faces",
    out: StrPath = "deepfakebench",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    name: str = "dfdc_faces",
    crops_per_clip: int = 32,
    overwrite: bool = False,
) -> ExportResult:
    """Write the crops as a data set of DeepfakeBench, to copy into its checkout.

    The validation split is also the test split of a second data set, whose name ends in _val,
    because the benchmark never reads a data set's own.

    Args:
        faces, split, group_by, seed, label_by, crops, test_only: as for `shard`.
        out: the folder to write; it appears when it is complete.
        name: of the data set in the benchmark: letters, digits, - and _.
        crops_per_clip: most crops of a clip, evenly spaced; the benchmark reads the first 32.
        overwrite: replace an export of other crops or options.

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.exporting.deepfakebench import DeepfakeBench
    from dfdc_prep.exporting.run import write_export
    from dfdc_prep.shards.sources import CropChoice

    form = DeepfakeBench(name, crops_per_clip)
    choice = CropChoice(_plan(split, group_by, seed, test_only), crops, label_by)
    return ExportResult(
        Path(out), write_export(_folders(faces), Path(out), choice, form, overwrite)
    )


@checked(options.EXPORT_SHARDS)
@staged(
    faces=crops_to_split,
    out=Staged(all_but(".tar", "/"), writes=True, alone=True, last=("SHA256SUMS",)),
)
def export_webdataset(
    faces: Folders = "faces",
    out: StrPath = "webdataset",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    shards: int | str = AUTO,
    image_format: str = "as-is",
    quality: int = 95,
    overwrite: bool = False,
) -> ExportResult:
    """Write the crops as tar files, for `webdataset` and PyTorch.

    Args:
        faces, split, group_by, seed, label_by, crops, test_only: as for `shard`.
        out: the folder to write; it appears when it is complete.
        shards, image_format, quality: as for `shard`.
        overwrite: replace an export of other crops or options.

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.exporting.records import ShardSettings
    from dfdc_prep.exporting.run import write_export
    from dfdc_prep.exporting.webdataset import WebDataset
    from dfdc_prep.shards.sources import CropChoice

    count = None if shards == AUTO else int(shards)
    form = WebDataset(ShardSettings(count, image_format, quality))
    choice = CropChoice(_plan(split, group_by, seed, test_only), crops, label_by)
    return ExportResult(
        Path(out), write_export(_folders(faces), Path(out), choice, form, overwrite)
    )


@checked(options.EXPORT_SHARDS)
@staged(
    faces=crops_to_split,
    out=Staged(all_but(".tar", "/"), writes=True, alone=True, last=("SHA256SUMS",)),
)
def export_huggingface(
    faces: Folders = "faces",
    out: StrPath = "huggingface",
    *,
    split: str = "56/24/20",
    group_by: str = "original",
    seed: int = 42,
    label_by: str = "clip",
    crops: str = "balanced",
    test_only: bool = False,
    shards: int | str = AUTO,
    image_format: str = "as-is",
    quality: int = 95,
    overwrite: bool = False,
) -> ExportResult:
    """Write the crops as parquet files that `datasets.load_dataset` opens.

    Args:
        faces, split, group_by, seed, label_by, crops, test_only: as for `shard`.
        out: the folder to write; it appears when it is complete.
        shards, image_format, quality: as for `shard`.
        overwrite: replace an export of other crops or options.

    Raises:
        TableError: as for `shard`, or a split has no crops.
        ShardError: a crop is missing or altered.
        OptionsDiffer: `out` holds another export.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.exporting.huggingface import HuggingFace
    from dfdc_prep.exporting.records import ShardSettings
    from dfdc_prep.exporting.run import write_export
    from dfdc_prep.shards.sources import CropChoice

    count = None if shards == AUTO else int(shards)
    form = HuggingFace(ShardSettings(count, image_format, quality))
    choice = CropChoice(_plan(split, group_by, seed, test_only), crops, label_by)
    return ExportResult(
        Path(out), write_export(_folders(faces), Path(out), choice, form, overwrite)
    )


def _plan(split: str, group_by: str, seed: int, test_only: bool) -> "SplitPlan":
    from manifests.splitting.sets import only_test
    from manifests.splitting.spec import SplitPlan

    return only_test(group_by, seed) if test_only else SplitPlan.parse(split, group_by, seed)


def _folders(faces: Folders) -> tuple[Path, ...]:
    """The folders that `checked` made of one path or several."""
    given = [faces] if isinstance(faces, str | os.PathLike) else faces
    return tuple(Path(folder) for folder in given)


@checked(options.AUDIT)
@staged(path=Staged(compared_by_audit), identities=Staged(tables("identities.parquet")))
def audit(path: StrPath, *, identities: StrPath | None = None) -> AuditResult:
    """Measure what splits share: families, estimated people, files, near-identical images.

    Args:
        path: a shards folder, a faces folder with split.parquet, a CSV or parquet table with
            the columns split, label, video (or videoname) and original, or a folder of crops
            sorted as train/real, train/fake, test/real.
        identities: identities.parquet or its faces folder; None for the identities in `path`.

    Raises:
        TableError: there is no table with splits, or it cannot be used.
    """
    from dfdc_prep.shards.audit_inputs import read_audit_inputs
    from manifests.auditing.audit import audit as compare

    found = read_audit_inputs(Path(path), None if identities is None else Path(identities))
    return AuditResult(compare(found.table, found.prints, found.printed))


@checked(options.VERIFY)
@staged(shards=Staged(everything))
def verify(shards: StrPath = "shards") -> VerifyResult:
    """Read shards back completely: checksums, counts, images, labels and families.

    Faults do not raise; see `VerifyResult.ok`.

    Args:
        shards: a shards folder.

    Raises:
        ShardError: the folder was not written by `shard`.
    """

    from dfdc_prep.shards.verify import verify_shards

    return VerifyResult(verify_shards(Path(shards)))


@checked(options.REPORT)
@staged(path=Staged(shown_in_report, writes=True), out=Staged(nothing, writes=True))
def report(path: StrPath, *, out: StrPath | None = None) -> ReportResult:
    """Write one HTML page about a faces, a shards or a run folder; it loads nothing else.

    Args:
        path: a folder of `extract`, `import_crops`, `shard` or `python -m training.fit`, or an
            evaluation inside a run.
        out: the HTML file; None for report.html in the folder.

    Raises:
        SourceError: `path` is no such folder.
        TableError, ShardError, OutputError: a file of the folder is missing or invalid.
    """
    from dfdc_prep.reporting.build import build_report

    return ReportResult(build_report(Path(path), None if out is None else Path(out)))
