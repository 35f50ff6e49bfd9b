"""The command line of dfdc-prep: options in, one call of the API, its result printed.

Neither this module nor `dfdc_prep.api` imports heavy libraries, so that `dfdc-prep --help`
answers at once.
"""

import json
from pathlib import Path
from typing import Any

import click

from dfdc_prep import __version__, api, options
from dfdc_prep.command_options import (
    FoldersCommand,
    crop_options,
    faces_argument,
    folders_arguments,
    json_option,
    label_by_option,
    reading_options,
    real_is_option,
    shard_file_options,
    split_options,
)
from dfdc_prep.commands.error_handling import DONE_WITH_FAILURES, Group
from dfdc_prep.commands.param_types import SEED, CountParam, PathParam
from dfdc_prep.storage.urls import Location, is_folder
from dfdc_prep.terminal import echo_parts, report_hint
from manifests.folders import FacesFolder, ShardsFolder
from manifests.result import Result
from manifests.wording import counted

_OVERWRITE_EXPORT = "Replace an export of other crops or options."


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(__version__)
def main() -> None:
    """From Deepfake Detection Challenge clips to face crops, manifests and shards.

    \b
    The four commands, run in one working folder:
      dfdc-prep extract              ./dfdc  -> ./faces
      dfdc-prep balance              ./faces -> ./faces/balanced.parquet
      dfdc-prep shard                ./faces -> ./shards
      python -m training.fit shards/         -> ./runs/v1.3
    """


@main.command()
@click.argument("folder", metavar="DIR", type=PathParam())
@click.option(
    "--families",
    type=CountParam(2),
    default=12,
    help="Number of families, each an original and its fakes.",
)
@click.option("--seed", type=SEED, default=42, help="The same seed gives the same bytes.")
def sample(folder: Path, families: int, seed: int) -> None:
    """Build a small DFDC-shaped data set in DIR, without a download.

    Each family is an original clip of two to three seconds and one to three face-swapped fakes
    of it. The original of the last family is missing, and one clip shows a landscape without a
    face.

    \b
    Example:
      dfdc-prep sample dfdc --families 12
    """
    from dfdc_prep.sample.builder import build_sample

    click.echo(build_sample(folder, families, seed).text())


@main.command()
@click.argument("source", type=options.EXTRACT["source"], default="dfdc")
@click.argument("out", type=options.EXTRACT["out"], default="faces")
@click.option(
    "--layout",
    type=options.EXTRACT["layout"],
    default="auto",
    help="How SOURCE is laid out; auto looks.",
)
@click.option(
    "--dataset",
    type=options.EXTRACT["dataset"],
    metavar="NAME",
    show_default="that of the layout",
    help="Name of the data set in the tables.",
)
@click.option(
    "--compression",
    type=options.EXTRACT["compression"],
    show_default="the only one there is",
    help="Which videos of FaceForensics++.",
)
@click.option(
    "--table",
    type=options.EXTRACT["table"],
    metavar="CSV",
    help="Clips of any other layout: columns path (relative to SOURCE) and label, and, if known, "
    "original, identity, face_identity, method, split, dataset.",
)
@real_is_option
@click.option(
    "--preset",
    type=options.EXTRACT["preset"],
    default="paper",
    help="Sets frames, faces, align, margin and size as published work has them; options given "
    "beside it count.",
)
@click.option(
    "--frames",
    type=options.EXTRACT["frames"],
    show_default="1, or the preset's",
    help="Frames per clip.",
)
@click.option(
    "--sampling",
    type=options.EXTRACT["sampling"],
    default="even",
    help="Which frames: even takes cheap ones near even positions, exact the positions "
    "themselves; keyframes is the cheapest.",
)
@click.option(
    "--detector",
    type=options.EXTRACT["detector"],
    default="auto",
    help="auto: yunet where its weights are available, else hog.",
)
@click.option(
    "--detector-model",
    type=options.EXTRACT["detector_model"],
    help="YuNet's weights; also DFDC_PREP_YUNET. Default: the cache, or a download whose hash "
    "is checked.",
)
@click.option(
    "--faces",
    type=options.EXTRACT["faces"],
    show_default="largest",
    help="The clip's main face, or every face.",
)
@click.option(
    "--align",
    type=options.EXTRACT["align"],
    show_default="none, or the preset's",
    help="Rotate and scale the crop so that the eyes, or five points, lie on a template.",
)
@click.option(
    "--margin",
    type=options.EXTRACT["margin"],
    show_default="0.3, or the preset's",
    help="Added on each side of the box, as a fraction of its longer side; of an aligned crop, "
    "of the template's side.",
)
@click.option(
    "--size",
    type=options.EXTRACT["size"],
    show_default="224, or the preset's",
    help="Side of a crop, in pixels.",
)
@click.option(
    "--format", type=options.EXTRACT["format"], default="png", help="File format of the crops."
)
@click.option(
    "--share-boxes/--no-share-boxes",
    default=True,
    help="Crop a fake where its original's face is.",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Compare a fake's crops with its original's: which faces were forged.",
)
@click.option(
    "--masks", is_flag=True, help="Write where each crop of a fake was changed; implies --compare."
)
@click.option(
    "--workers", type=options.EXTRACT["workers"], help="Worker processes.  [default: cores]"
)
@click.option(
    "--timeout",
    type=options.EXTRACT["timeout"],
    default=120,
    help="Seconds of CPU time a clip may take; the same command tries it again.",
)
@click.option(
    "--limit", type=options.EXTRACT["limit"], help="Only the first clips, in whole families."
)
@click.option(
    "--slice",
    type=options.EXTRACT["slice"],
    help="Only slice I of N, on one of several machines; gather then writes the tables.",
)
@click.option(
    "--engine",
    type=options.EXTRACT["engine"],
    default="local",
    help="Where workers run: on this machine, or on the nodes of a Ray cluster.",
)
@click.option(
    "--address",
    type=options.EXTRACT["address"],
    show_default="auto: the cluster of this machine",
    help="Of the Ray cluster's head, host:port.",
)
@click.option(
    "--insecure-cluster",
    is_flag=True,
    help="Use a Ray cluster that does not ask for a token: who can reach it can run code on it.",
)
@click.option("--retry-failed", is_flag=True, help="Process clips again that failed before.")
@click.option("--overwrite", is_flag=True, help="Remove an earlier run's files from OUT first.")
@click.pass_context
def extract(ctx: click.Context, /, **given: Any) -> None:
    """Crop the faces out of the clips below SOURCE (dfdc) into OUT (faces).

    SOURCE is the folder of DFDC (parts, test set or preview), of FaceForensics++ or of Celeb-DF,
    or any folder with --table. To resume an interrupted run, run the same command again.

    \b
    Example:
      dfdc-prep extract dfdc faces --frames 10
      dfdc-prep extract --faces all --masks
      dfdc-prep extract --preset deepfakebench
      dfdc-prep extract FaceForensics faces_ff --compression c23
      dfdc-prep extract clips faces_mine --table clips.csv --dataset mine
      dfdc-prep extract --slice 3/8
    """
    result = api.extract(**given)
    _show(result)
    if not given["slice"]:
        click.echo(report_hint(result.out), err=True)
    if result.failed:
        but = " but for those left out" if result.refused else ""
        named = "" if given["slice"] else f"; {result.out / 'clips.parquet'} names them{but}"
        click.echo(f"{counted(result.failed, 'clip')} failed{named}", err=True)
    ctx.exit(DONE_WITH_FAILURES if result.failed or result.no_crops else 0)


@main.command()
@click.argument("out", type=options.GATHER["out"], default="faces")
@click.option(
    "--source",
    type=options.GATHER["source"],
    show_default="the one of the slices",
    help="The folder of DFDC parts, where this machine has it elsewhere.",
)
@click.pass_context
def gather(ctx: click.Context, /, **given: Any) -> None:
    """Write the tables of OUT once all slices of extract are done.

    Each machine has run extract with its --slice before. If families are missing, they and
    their slices are named, and nothing is changed.

    \b
    Example:
      dfdc-prep gather faces
    """
    result = api.gather(**given)
    _show(result)
    click.echo(report_hint(result.out), err=True)
    ctx.exit(DONE_WITH_FAILURES if result.failed or result.no_crops else 0)


@main.command("import")
@click.argument("crops_dir", type=options.IMPORT["crops_dir"])
@click.argument("metadata_csv", type=options.IMPORT["metadata_csv"])
@click.argument("out", type=options.IMPORT["out"], default="faces")
@reading_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace a faces folder of another table, and the tables made from it.",
)
@click.pass_context
def import_(ctx: click.Context, /, **given: Any) -> None:
    """Make a faces folder OUT of crops that are already cut, such as Kaggle's deepfake_faces.

    CROPS_DIR contains 224x224 images. METADATA_CSV has the columns label (REAL/FAKE, real/fake,
    0/1) and path, or videoname to find images by their stem; video, original, part, frame,
    face, dataset, method, identity, face_identity and official_split are used where they are
    present. Without video or videoname, the clips are read from the paths. The images are linked
    or copied, never re-encoded. The exit code is 3 if a row or an image was left out;
    clips.parquet names each.

    \b
    Example:
      dfdc-prep import faces_224 metadata.csv faces
    """
    result = api.import_crops(**given)
    _show(result)
    ctx.exit(DONE_WITH_FAILURES if result.failed else 0)


@main.command()
@faces_argument
@click.option(
    "--threshold",
    type=options.IDENTIFY["threshold"],
    default=0.5,
    help="Largest average distance of two groups of faces of one person.",
)
@click.option(
    "--same",
    type=options.IDENTIFY["same"],
    multiple=True,
    help="Two clips of one person; kept for the next call.",
)
@click.option(
    "--different",
    type=options.IDENTIFY["different"],
    multiple=True,
    help="Two clips of different people; kept for the next call.",
)
@click.option(
    "--pairs",
    type=options.IDENTIFY["pairs"],
    help="A CSV of such pairs: first, second, relation (same or different).",
)
@click.option(
    "--workers", type=options.IDENTIFY["workers"], help="Worker processes.  [default: cores]"
)
@click.option(
    "--forget", is_flag=True, help="Remove the encodings and pictures; identities.parquet stays."
)
@click.pass_context
def identify(ctx: click.Context, /, **given: Any) -> None:
    """Estimate who is filmed in the clips of FACES, for splits that keep people apart.

    Encodes faces of the REAL clips and groups them; a fake has the identity of its original.
    identities.html shows what is uncertain. Face encodings are biometric data: they stay in
    FACES until --forget. To resume an interrupted run, run the same command again.

    \b
    Example:
      dfdc-prep identify
      dfdc-prep identify faces --same aaa.mp4,bbb.mp4 --different aaa.mp4,ccc.mp4
      dfdc-prep split --group-by identity
    """
    result = api.identify(**given)
    click.echo(str(result))
    ctx.exit(DONE_WITH_FAILURES if result.failed else 0)


@main.command()
@faces_argument
@reading_options
@json_option
def summary(as_json: bool, **given: Any) -> None:
    """Print what FACES contains: the paper's Table 1, classes, families, yield, face sizes.

    FACES is a faces folder, or a bare table: any CSV or parquet file with the columns
    video (or videoname, or path), label and, if known, original.

    \b
    Example:
      dfdc-prep summary
      dfdc-prep summary metadata.csv --json
    """
    result = api.summarize(**given)
    if as_json:
        click.echo(json.dumps(result.as_json(), indent=2))
        return
    _show(result)
    if is_folder(given["faces"]):
        click.echo(report_hint(given["faces"]), err=True)


@main.command()
@faces_argument
@click.option(
    "--per-class",
    type=options.BALANCE["per_class"],
    show_default="16000, or as many as the smaller class has",
    help="Crops of each label.",
)
@click.option(
    "--strategy",
    type=options.BALANCE["strategy"],
    default="random",
    help="Random clips; fakes of as many originals as possible; or each fake with its original.",
)
@click.option(
    "--seed", type=options.BALANCE["seed"], default=42, help="Of the random order of the clips."
)
@click.option(
    "--frames-per-clip",
    type=options.BALANCE["frames_per_clip"],
    show_default="all",
    help="Frames taken of each clip, evenly spaced.",
)
@label_by_option
@reading_options
@click.option(
    "--out",
    type=options.BALANCE["out"],
    show_default="FACES/balanced.parquet; for a bare table, balanced.csv here",
    help="The CSV or parquet file to write.",
)
def balance(**given: Any) -> None:
    """Choose as many REAL crops of FACES as FAKE ones.

    Clips stay whole unless --frames-per-clip thins them. The same seed chooses the same crops,
    whatever the order of the rows. FACES may be a bare table, as for summary.

    \b
    Example:
      dfdc-prep balance
      dfdc-prep balance --strategy spread --per-class 2000
      dfdc-prep balance metadata.csv --out balanced.csv
    """
    _show(api.balance(**given))


@main.command()
@faces_argument
@split_options(seed_help="Chooses among families of equal size.")
@label_by_option
@click.option(
    "--official",
    is_flag=True,
    help="Take the data set's own split; --split, --group-by and --seed have no effect.",
)
@reading_options
@click.option(
    "--out",
    type=options.SPLIT["out"],
    show_default="FACES/split.parquet; for a bare table, split.csv here",
    help="The CSV or parquet file to write.",
)
def split(**given: Any) -> None:
    """Give every balanced crop of FACES its split, and write only that table.

    The counts of each label are exact if whole families allow it; otherwise they are the
    nearest possible, and the shortfall is printed. `--group-by none` is the paper's own random
    split, which leaks; the leak is printed. FACES may be a bare table, as for summary.

    \b
    Example:
      dfdc-prep split
      dfdc-prep split --split 80/10/10 --group-by part
      dfdc-prep split balanced.csv --group-by none --out paper.csv
      dfdc-prep split faces_ff --official
    """
    _show(api.split(**given))


@main.command(cls=FoldersCommand)
@folders_arguments("SHARDS", "shards")
@crop_options
@shard_file_options
@click.option("--overwrite", is_flag=True, help="Replace shards of another manifest or options.")
def shard(**given: Any) -> None:
    """Split the balanced crops of FACES and write them to SHARDS as TFRecords.

    Families stay in one split as far as they are known, and it is said how many are. The folder
    appears when it is complete, and the same crops and options give the same bytes. TensorFlow
    Datasets, Croissant, pandas and DuckDB read it without this project. Several FACES, of different
    data sets, give equal numbers of crops of each set, and SHARDS must then be named.

    \b
    Example:
      dfdc-prep shard
      dfdc-prep shard faces shards-jpeg --image-format jpeg --quality 95
      dfdc-prep shard faces_dfdc faces_ff faces_celeb shards-mixed
      dfdc-prep shard faces_celeb shards-celeb --crops all --test-only
    """
    result = api.shard(**given)
    _show(result)
    click.echo(report_hint(result.out), err=True)


@main.group(cls=Group)
def export() -> None:
    """Write the split crops in the format of another tool.

    Crops and splits are chosen as by shard. The folder appears when it is complete, and the same
    crops and options give the same bytes.

    \b
    Example:
      dfdc-prep export webdataset faces webdataset
    """


@export.command(cls=FoldersCommand)
@folders_arguments("OUT", "deepfakebench")
@crop_options
@click.option(
    "--name",
    type=options.EXPORT_DEEPFAKEBENCH["name"],
    default="dfdc_faces",
    help="Name of the data set: letters, digits, - and _.",
)
@click.option(
    "--crops-per-clip",
    type=options.EXPORT_DEEPFAKEBENCH["crops_per_clip"],
    default=32,
    help="Most crops of a clip, evenly spaced; the benchmark reads the first 32.",
)
@click.option("--overwrite", is_flag=True, help=_OVERWRITE_EXPORT)
def deepfakebench(**given: Any) -> None:
    """Write the crops of FACES to OUT as a data set of DeepfakeBench.

    Copy the content of OUT into the benchmark's checkout. The validation split is the test split
    of the second data set NAME_val, because the benchmark never reads a data set's own.

    \b
    Example:
      dfdc-prep export deepfakebench faces deepfakebench --name my_faces
      cp -r deepfakebench/datasets deepfakebench/preprocessing DeepfakeBench/
    """
    _show(api.export_deepfakebench(**given))


@export.command(cls=FoldersCommand)
@folders_arguments("OUT", "webdataset")
@crop_options
@shard_file_options
@click.option("--overwrite", is_flag=True, help=_OVERWRITE_EXPORT)
def webdataset(**given: Any) -> None:
    """Write the crops of FACES to OUT as tar files, for webdataset and PyTorch.

    A sample has the files png or jpg, cls (0 REAL, 1 FAKE), json and, where there is one,
    mask.png.

    \b
    Example:
      dfdc-prep export webdataset faces webdataset
    """
    _show(api.export_webdataset(**given))


@export.command(cls=FoldersCommand)
@folders_arguments("OUT", "huggingface")
@crop_options
@shard_file_options
@click.option("--overwrite", is_flag=True, help=_OVERWRITE_EXPORT)
def huggingface(**given: Any) -> None:
    """Write the crops of FACES to OUT as parquet files that datasets.load_dataset opens.

    \b
    Example:
      dfdc-prep export huggingface faces huggingface
    """
    _show(api.export_huggingface(**given))


@main.command()
@click.argument("path", type=options.AUDIT["path"])
@click.option(
    "--identities",
    type=options.AUDIT["identities"],
    show_default="those in PATH, if any",
    help="identities.parquet of identify, or its faces folder.",
)
@reading_options
@json_option
@click.pass_context
def audit(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Measure what the splits of PATH share: families, people, files, near-identical images.

    PATH is a shards folder, a faces folder with its split.parquet, a CSV or parquet table
    with the columns split, label, video (or videoname) and original, or a folder of crops
    sorted as train/real, train/fake, test/real ... The verdict comes first: leaks, no leak found,
    or not known, where nothing says what some fakes were made from. The exit code is 0 only if no
    leak was found, else 3.

    \b
    Example:
      dfdc-prep audit shards
      dfdc-prep audit split.csv --json
      dfdc-prep audit shards --identities faces
    """
    result = api.audit(**given)
    if as_json:
        click.echo(json.dumps(result.as_json(), indent=2))
    else:
        _show(result)
        if _has_report(given["path"]):
            click.echo(report_hint(given["path"]), err=True)
    ctx.exit(0 if result.ok else DONE_WITH_FAILURES)


@main.command()
@click.argument("shards", type=options.VERIFY["shards"], default="shards")
@click.pass_context
def verify(ctx: click.Context, /, **given: Any) -> None:
    """Read SHARDS back completely: checksums, counts, images, labels and families.

    Names the shard, the record and the fault. The exit code is 1 if there is any fault.

    \b
    Example:
      dfdc-prep verify shards
    """
    result = api.verify(**given)
    _show(result)
    ctx.exit(0 if result.ok else 1)


@main.command()
@click.argument("path", type=options.REPORT["path"])
@click.option(
    "--out",
    type=options.REPORT["out"],
    show_default="PATH/report.html",
    help="The HTML file to write.",
)
def report(**given: Any) -> None:
    """Write one HTML page about a faces, a shards or a run folder.

    Faces: failed clips, families, measures that give the label away, crops. Shards: splits,
    what they share, near-identical crops. A run: curves, results, calibration, mistakes. The
    page loads nothing from elsewhere; open it in a browser.

    \b
    Example:
      dfdc-prep report faces
      dfdc-prep report runs/v1.3 --out v1.3.html
    """
    _show(api.report(**given))


def _has_report(path: Location) -> bool:
    """Whether `report` knows a folder that was audited: faces or shards, but no export."""
    if not isinstance(path, Path):
        return True
    exported = (path / ShardsFolder.METADATA).is_file() and not (path / ShardsFolder.INFO).is_file()
    return (path / FacesFolder.MANIFEST).is_file() and not exported


def _show(result: Result) -> None:
    echo_parts(result.text(), result.parts())


if __name__ == "__main__":
    main()
