"""Make a faces folder: extract it, gather slices of it, import it; estimate who is in it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfdc_prep import options
from dfdc_prep.api.arguments import StrPath
from dfdc_prep.extraction.slices import Slice
from dfdc_prep.options import AUTO, checked
from dfdc_prep.parallel.engine import LOCAL, Engine
from dfdc_prep.staging import Staged, all_but, everything, faces_to_encode, staged
from dfdc_prep.storage.urls import as_location

if TYPE_CHECKING:
    from dfdc_prep.extraction.summary import RunSummary
    from dfdc_prep.identities.run import ForgetReport, IdentifyReport
    from dfdc_prep.writing.importing import ImportReport


@checked(options.EXTRACT)
def extract(
    source: StrPath = "dfdc",
    out: StrPath = "faces",
    *,
    layout: str = AUTO,
    dataset: str | None = None,
    compression: str | None = None,
    table: StrPath | None = None,
    real_is: int | None = None,
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
) -> "RunSummary":
    """Crop the faces out of the clips below `source`; an interrupted run resumes.

    Args:
        source: the folder of a data set: DFDC's parts, or one of the other layouts.
        out: the faces folder: crops/, manifest.parquet, metadata.csv, clips.parquet, run.json.
        layout: dfdc, dfdc-flat, dfdc-preview, faceforensics, celeb-df, or auto to find out.
        dataset: name of the data set in the tables; None for that of the layout.
        compression: raw, c23 or c40, of FaceForensics++; None if there is only one.
        table: a CSV with the columns path (relative to `source`) and label, and, if known,
            original, identity, face_identity, method, split and dataset, for any other layout.
        real_is: the number that stands for REAL among the labels of `table`; None for 0, unless
            words in it contradict that.
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
        timeout: seconds of CPU time that a clip may take; a worker that does nothing for as long
            ends too. The same command tries the clip again.
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
        forkserver_context("dfdc_prep.extraction.worker")

    from dfdc_prep.catalog.clips import SourceOptions
    from dfdc_prep.extraction.clip import PRESETS
    from dfdc_prep.extraction.run import RunOptions
    from dfdc_prep.extraction.run import extract as run

    given = {"frames": frames, "faces": faces, "align": align, "margin": margin, "size": size}
    crop = replace(
        PRESETS[preset],
        sampling=sampling,
        format=format,
        share_boxes=share_boxes,
        compare=compare or masks,
        masks=masks,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
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
        reading=SourceOptions(layout, dataset, compression, csv, real_is),
        part=part,
        engine=Engine(engine, address, insecure_cluster),
    )
    model = None if detector_model is None else Path(detector_model)
    return run(as_location(source), as_location(out), crop, how, detector, model)


@checked(options.GATHER)
def gather(out: StrPath = "faces", *, source: StrPath | None = None) -> "RunSummary":
    """Write the tables of a run whose families were divided into slices.

    Args:
        out: the faces folder that the slices wrote.
        source: the folder of DFDC parts, if this machine has it elsewhere than the slices.

    Raises:
        OutputError: families are missing, or a slice is running.
        SourceError: `source` is not a DFDC tree.
    """
    from dfdc_prep.extraction.run import gather as run

    return run(as_location(out), None if source is None else as_location(source))


@checked(options.IMPORT)
@staged(
    crops_dir=Staged(everything),
    metadata_csv=Staged(everything),
    out=Staged(all_but("crops/"), writes=True, alone=True),
)
def import_crops(
    crops_dir: StrPath,
    metadata_csv: StrPath,
    out: StrPath = "faces",
    *,
    clips_from: str | None = None,
    real_is: int | None = None,
    overwrite: bool = False,
) -> "ImportReport":
    """Make a faces folder of crops that are already cut, such as Kaggle's deepfake_faces.

    Args:
        crops_dir: a folder of 224x224 PNG or JPEG images.
        metadata_csv: a CSV or parquet table with the columns label and path, or videoname.
        out: the faces folder.
        clips_from, real_is: as for `summarize`.
        overwrite: replace a faces folder of another table, and the tables made from it.

    Raises:
        TableError, SourceError: the table or the folder cannot be used.
        OptionsDiffer: `out` was made from another table.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.importing import import_crops as run
    from manifests.tables.external import Reading

    reading = Reading(clips_from, real_is)
    return run(Path(crops_dir), Path(metadata_csv), Path(out), overwrite, reading)


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
) -> "IdentifyReport | ForgetReport":
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
    from dfdc_prep.identities.run import forget as remove
    from dfdc_prep.identities.run import identify as run
    from manifests.identities.pairs import DIFFERENT, SAME, SettledPair

    folder = Path(faces)
    if forget:
        return remove(folder)
    # `checked` has turned every "A,B" into a pair.
    settled = [
        SettledPair(str(pair[0]), str(pair[1]), relation)
        for relation, given in ((SAME, same), (DIFFERENT, different))
        for pair in given
    ]
    csv = None if pairs is None else Path(pairs)
    return run(folder, threshold, settled, csv, workers)
