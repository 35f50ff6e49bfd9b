"""Make a faces folder: extract it, gather slices of it, import it; estimate who is in it."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict, Unpack, cast

import click

from dfdc_prep.catalog.layouts.faceforensics import COMPRESSIONS
from dfdc_prep.catalog.reader import LAYOUTS
from dfdc_prep.commands.declaration import Given, Option, command, flag
from dfdc_prep.commands.options import (
    AUTO,
    LOCATION,
    NAME_PAIR,
    PATH,
    SLICE,
    TEXT,
    ClipsFrom,
    CountParam,
    DetectorModel,
    Faces,
    FacesOut,
    FloatParam,
    FramesParam,
    RealIs,
    Seed,
    StrPath,
    Workers,
)
from dfdc_prep.commands.terminal import DONE_WITH_FAILURES, report_hint
from dfdc_prep.detectors.registry import DETECTORS
from dfdc_prep.extraction.slices import Slice
from dfdc_prep.parallel.engine import ENGINES, LOCAL, Engine
from dfdc_prep.storage.urls import as_location
from dfdc_prep.storage.workspace import Mirror, Push, Staged, all_but, staged
from dfdc_prep.video.timeline import EVEN, SAMPLINGS
from manifests.folders import OTHER_KINDS, FacesFolder
from manifests.labels import LABELS
from manifests.wording import counted

if TYPE_CHECKING:
    from dfdc_prep.extraction.plan import Plan
    from dfdc_prep.extraction.run import RunOptions
    from dfdc_prep.extraction.summary import RunSummary
    from dfdc_prep.identities.run import ForgetReport, IdentifyReport
    from dfdc_prep.sample.builder import SampleReport
    from dfdc_prep.writing.importing import ImportReport

# What presets set. `paper`: after Zhalgasbayev, Aiteni and Khaimuldin. `deepfakebench`: Yan et al.,
# 2023, `preprocessing/preprocess.py`; its template is enlarged by 1.3 in all, hence by 0.15 on
# each side. `selimsef`: the challenge's winner, `preprocessing/extract_crops.py`.
FRAMES = Option(
    FramesParam(1, 10_000),
    metavar="N",
    presets={"paper": 1, "deepfakebench": 32, "selimsef": 32},
)
FACES = Option(
    click.Choice(["largest", "all"]),
    presets={"paper": "largest", "deepfakebench": "largest", "selimsef": "largest"},
)
ALIGN = Option(
    click.Choice(["none", "eyes", "five-point"]),
    presets={"paper": "none", "deepfakebench": "five-point", "selimsef": "none"},
)
MARGIN = Option(
    FloatParam(0, 4),
    "Added on each side of the box, as a fraction of its longer side; of an aligned crop, of the "
    "template's side.",
    presets={"paper": 0.3, "deepfakebench": 0.15, "selimsef": 0.3},
)
SIZE = Option(
    click.IntRange(16, 4096), presets={"paper": 224, "deepfakebench": 256, "selimsef": 224}
)


class Running(TypedDict, total=False):
    """How a run over the clips works; each option with its default."""

    workers: Annotated[Workers, None]
    timeout: Annotated[
        float,
        Option(
            FloatParam(1), "Seconds of CPU time a clip may take; the same command tries it again."
        ),
        120,
    ]
    slice: Annotated[
        Slice | str | None, Option(SLICE, "Only slice I of N, on one of several machines."), None
    ]
    engine: Annotated[
        str,
        Option(
            click.Choice(ENGINES),
            "Where workers run: on this machine, or on the nodes of a Ray cluster.",
        ),
        LOCAL,
    ]
    address: Annotated[
        str | None,
        Option(
            TEXT,
            "Address of the Ray cluster's head, host:port.",
            none="auto: the cluster of this machine",
        ),
        None,
    ]
    insecure_cluster: Annotated[
        bool,
        flag(
            "Use a Ray cluster that does not ask for a token: who can reach it can run code on it."
        ),
        False,
    ]
    retry_failed: Annotated[bool, flag("Process clips again that failed before."), False]
    overwrite: Annotated[bool, flag("Remove an earlier run's files from OUT first."), False]


def run_options(given: Running) -> "RunOptions":
    """The options of a run."""
    from dfdc_prep.extraction.run import RunOptions

    own_slice = given["slice"]
    return RunOptions(
        given["workers"],
        given["timeout"],
        overwrite=given["overwrite"],
        retry_failed=given["retry_failed"],
        own_slice=Slice.parse(own_slice) if isinstance(own_slice, str) else own_slice,
        engine=Engine(given["engine"], given["address"], given["insecure_cluster"]),
    )


def preload_workers(source: StrPath, engine: str) -> None:
    """Say what is read before imports and folders that may take long; let the workers import."""
    from dfdc_prep.progress import tell

    tell(f"reading {source}")
    if engine == LOCAL:
        from dfdc_prep.parallel.engine import forkserver_context

        # The fork server preloads the workers' imports while this process goes on.
        forkserver_context("dfdc_prep.extraction.worker")


def _failures(result: "RunSummary | Plan | ImportReport | IdentifyReport | ForgetReport") -> int:
    failed = getattr(result, "failed", 0) or getattr(result, "no_crops", False)
    return DONE_WITH_FAILURES if failed else 0


def _after_extract(result: "RunSummary | Plan", given: Given) -> Iterator[str]:
    if given["dry_run"]:
        yield "dry run: nothing was written; the same command without --dry-run does it"
        return
    summary = cast("RunSummary", result)
    if summary.failed:
        but = " but for those left out" if summary.refused else ""
        clips = summary.out / FacesFolder.CLIPS
        named = "" if given["slice"] else f"; {clips} names them{but}"
        yield f"{counted(summary.failed, 'clip')} failed{named}"
    if not given["slice"]:
        yield report_hint(summary.out)
        if all(summary.crops[label] for label in LABELS):
            yield f"next: dfdc-prep balance {shlex.quote(str(summary.out))}"


@command()
def sample(
    folder: Annotated[StrPath, Option(PATH, metavar="DIR")],
    *,
    families: Annotated[int, CountParam(2)] = 12,
    seed: Seed = 42,
) -> "SampleReport":
    """Build a small DFDC-shaped data set in DIR, without a download.

    Each family is an original clip of two to three seconds and one to three face-swapped fakes
    of it. The original of the last family is missing, and one clip shows a landscape without a
    face.

    \b
    Example:
      dfdc-prep sample dfdc --families 12

    Args:
        folder: The folder to write.
        families: Number of families, each an original and its fakes.
    """
    from dfdc_prep.sample.builder import build_sample

    return build_sample(Path(folder), families, seed)


@command(hints=_after_extract, exit_code=_failures)
def extract(
    source: Annotated[StrPath, LOCATION] = "dfdc",
    out: FacesOut = "faces",
    *,
    layout: Annotated[str, click.Choice([AUTO, *LAYOUTS])] = AUTO,
    dataset: Annotated[str | None, Option(TEXT, metavar="NAME")] = None,
    compression: Annotated[str | None, click.Choice(COMPRESSIONS)] = None,
    table: Annotated[StrPath | None, Option(PATH, metavar="CSV")] = None,
    real_is: RealIs = None,
    preset: Annotated[str, click.Choice(list(FRAMES.presets))] = "paper",
    frames: Annotated[int | Mapping[str, int] | None, FRAMES] = None,
    sampling: Annotated[str, click.Choice(SAMPLINGS)] = EVEN,
    detector: Annotated[str, click.Choice([AUTO, *DETECTORS])] = AUTO,
    detector_model: DetectorModel = None,
    faces: Annotated[str | None, FACES] = None,
    align: Annotated[str | None, ALIGN] = None,
    margin: Annotated[float | None, MARGIN] = None,
    size: Annotated[int | None, SIZE] = None,
    format: Annotated[str, click.Choice(["png", "jpg"])] = "png",
    share_boxes: bool = True,
    compare: bool = False,
    masks: bool = False,
    limit: Annotated[int | None, CountParam(1)] = None,
    dry_run: bool = False,
    **running: Unpack[Running],
) -> "RunSummary | Plan":
    """Crop the faces out of the clips below SOURCE (dfdc) into OUT (faces).

    SOURCE is the folder of DFDC (parts, test set or preview), of FaceForensics++, Celeb-DF or
    FakeAVCeleb, or any folder of clips: with folders real and fake, with --table, or unlabelled. To
    resume an interrupted run, run the same command again.

    \b
    Example:
      dfdc-prep extract dfdc faces --frames 10
      dfdc-prep extract --faces all --masks
      dfdc-prep extract --dry-run
      dfdc-prep extract --preset deepfakebench
      dfdc-prep extract FaceForensics faces_ff --compression c23
      dfdc-prep extract clips faces_mine --table clips.csv --dataset mine
      dfdc-prep extract --slice 3/8

    Args:
        source: The folder of a data set, as DFDC's parts.
        layout: How SOURCE is laid out; auto looks.
        dataset: Name of the data set in the tables. None: that of the layout.
        compression: Which videos of FaceForensics++. None: the only one there is.
        table: Clips of any other layout: columns path (relative to SOURCE) and label, and, if
            known, original, identity, face_identity, method, split, dataset.
        preset: Sets frames, faces, align, margin and size as published work has them; options given
            beside it count.
        frames: Frames per clip; or real=20,fake=5, where the labels have unlike numbers of clips.
        sampling: Which frames: even takes cheap ones near even positions, exact the positions
            themselves; keyframes is the cheapest.
        detector: auto: yunet where its weights are available, else bright-hog+cnn.
        faces: The clip's main face, or every face. None: largest.
        align: Rotate and scale the crop so that the eyes, or five points, lie on a template.
        size: Side of a crop, in pixels.
        format: File format of the crops.
        share_boxes: Crop a fake where its original's face is.
        compare: Compare a fake's crops with its original's: which faces were forged.
        masks: Write where each crop of a fake was changed, by the data set's own masks where it has
            them; implies --compare.
        limit: Only the first clips, in whole families.
        dry_run: Write nothing to OUT; say what would be done, and how long it would take, from a
            few clips done so.

    Raises:
        ValueError: a value is not allowed.
        SourceError: `source` has no known layout, or another than `layout`.
        ModelError: the detector's weights cannot be loaded.
        OutputError: `out` cannot be written, or another run is writing it.
        OptionsDiffer: `out` was begun with other options.
        WorkersError: worker processes cannot be started.
    """
    preload_workers(source, running["engine"])

    from dfdc_prep.catalog.clips import SourceOptions
    from dfdc_prep.extraction.clip import CropOptions
    from dfdc_prep.extraction.run import dry_run as plan
    from dfdc_prep.extraction.run import extract as run
    from dfdc_prep.extraction.run import prepare

    crop = CropOptions(
        frames=frames or FRAMES.presets[preset],
        sampling=sampling,
        faces=FACES.or_preset(faces, preset),
        margin=MARGIN.or_preset(margin, preset),
        size=SIZE.or_preset(size, preset),
        format=format,
        share_boxes=share_boxes,
        align=ALIGN.or_preset(align, preset),
        compare=compare or masks,
        masks=masks,
    )
    csv = None if table is None else Path(table)
    reading = SourceOptions(layout, dataset, compression, csv, real_is, masks)
    how = replace(run_options(running), limit=limit, preset=preset, reading=reading)
    model = None if detector_model is None else Path(detector_model)
    ready = prepare(as_location(source), as_location(out), crop, how, detector, model)
    return plan(ready) if dry_run else run(ready)


@command(hints=lambda result, given: [report_hint(result.out)], exit_code=_failures)
def gather(
    out: FacesOut = "faces", *, source: Annotated[StrPath | None, LOCATION] = None
) -> "RunSummary":
    """Write the tables of OUT once all slices of extract are done.

    Each machine has run extract with its --slice before. If families are missing, they and
    their slices are named, and nothing is changed.

    \b
    Example:
      dfdc-prep gather faces

    Args:
        source: The folder of DFDC parts, where this machine has it elsewhere. None: the one of the
            slices.

    Raises:
        OutputError: families are missing, or a slice is running.
        SourceError: `source` is not a DFDC tree.
    """
    from dfdc_prep.extraction.run import gather as run

    return run(as_location(out), None if source is None else as_location(source))


@command("import", exit_code=_failures)
@staged(
    crops_dir=Staged(Mirror.pull_all),
    metadata_csv=Staged(Mirror.pull_all),
    out=Staged(all_but(f"{FacesFolder.CROPS}/"), Push(alone=True)),
)
def import_crops(
    crops_dir: Annotated[StrPath, LOCATION],
    metadata_csv: Annotated[StrPath, LOCATION],
    out: FacesOut = "faces",
    *,
    clips_from: ClipsFrom = None,
    real_is: RealIs = None,
    resize: bool = False,
    overwrite: bool = False,
) -> "ImportReport":
    """Make a faces folder OUT of crops that are already cut, such as Kaggle's deepfake_faces.

    CROPS_DIR contains 224x224 images. METADATA_CSV has the columns label (REAL/FAKE, real/fake,
    0/1) and path, or videoname to find images by their stem; video, original, part, frame,
    face, dataset, method, identity, face_identity and official_split are used where they are
    present. Without video or videoname, the clips are read from the paths. The images are linked
    or copied, never re-encoded, unless --resize scales them. The exit code is 3 if a row or an
    image was left out; clips.parquet names each.

    \b
    Example:
      dfdc-prep import faces_224 metadata.csv faces

    Args:
        crops_dir: A folder of 224x224 images.
        metadata_csv: A CSV or parquet table: label, and path or videoname.
        resize: Scale square images of another size to 224x224, as PNG.
        overwrite: Replace a faces folder of another table, and the tables made from it.

    Raises:
        TableError, SourceError: the table or the folder cannot be used.
        OptionsDiffer: `out` was made from another table.
        OutputError: `out` cannot be written, or contains other files.
    """
    from dfdc_prep.writing.importing import import_crops as run
    from manifests.tables.external import Reading

    reading = Reading(clips_from, real_is)
    return run(Path(crops_dir), Path(metadata_csv), Path(out), overwrite, reading, resize)


def _faces_to_encode(mirror: Mirror) -> None:
    """Fetch what `identify` reads: its own files, the manifest, crops to encode and to compare."""
    from dfdc_prep.identities.encoder import choose_candidates
    from manifests.errors import TableError
    from manifests.pictures.near_identical import rows_to_compare
    from manifests.tables.parquet import read_manifest

    own = (FacesFolder.IDENTITIES, FacesFolder.SETTLED, *FacesFolder.BIOMETRIC)
    mirror.pull([FacesFolder.MANIFEST, *OTHER_KINDS, *own])
    with suppress(TableError):  # the command says what is wrong with it
        manifest = read_manifest(mirror.folder / FacesFolder.MANIFEST)
        encoded = [crop.path for clip in choose_candidates(manifest) for crop in clip.crops]
        compared = manifest["path"].filter(rows_to_compare(manifest)).to_pylist()
        mirror.pull(dict.fromkeys([*encoded, *compared]))


@command(exit_code=_failures)
@staged(
    faces=Staged(_faces_to_encode, Push(alone=True, after_errors=True)),
    pairs=Staged(Mirror.pull_all),
)
def identify(
    faces: Faces = "faces",
    *,
    threshold: Annotated[float, FloatParam(0.1, 1)] = 0.5,
    same: Annotated[Iterable[str | tuple[str, str]], Option(NAME_PAIR, multiple=True)] = (),
    different: Annotated[Iterable[str | tuple[str, str]], Option(NAME_PAIR, multiple=True)] = (),
    pairs: Annotated[StrPath | None, LOCATION] = None,
    workers: Workers = None,
    forget: bool = False,
) -> "IdentifyReport | ForgetReport":
    """Estimate who is filmed in the clips of FACES, for splits that keep people apart.

    Encodes faces of the REAL clips and groups them; a fake has the identity of its original.
    identities.html shows what is uncertain. Face encodings are biometric data: they stay in
    FACES until --forget. To resume an interrupted run, run the same command again.

    \b
    Example:
      dfdc-prep identify
      dfdc-prep identify faces --same aaa.mp4,bbb.mp4 --different aaa.mp4,ccc.mp4
      dfdc-prep split --group-by identity

    Args:
        threshold: Largest average distance of two groups of faces of one person.
        same: Two clips of one person; kept for the next call.
        different: Two clips of different people; kept for the next call.
        pairs: A CSV of such pairs: first, second, relation (same or different).
        forget: Remove the encodings and pictures; identities.parquet stays.

    Raises:
        TableError: there is no manifest, or a pair cannot be used or contradicts another.
        ShardError: a crop is missing or altered.
        ModelError: dlib or its models are missing.
        OutputError: the folder cannot be written, or another run is writing it.
        WorkersError: worker processes cannot be started.
    """
    from dfdc_prep.identities.run import forget as remove
    from dfdc_prep.identities.run import identify as run
    from manifests.identities.table import DIFFERENT, SAME, SettledPair

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
