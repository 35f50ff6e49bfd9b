"""The command line: options in, one library call, one sentence where it fails. No logic.

Libraries are imported inside the commands, so that `dfdc-prep --help` answers at once.
"""

import json
from pathlib import Path
from typing import Any

import click

from dfdc_prep import __version__
from manifests.cli.error_handling import DONE_WITH_FAILURES, Group
from manifests.cli.param_types import SEED, Count, Number, Place, TableFile, Text


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
@click.argument("folder", metavar="DIR", type=Place())
@click.option("--families", type=Count(2), default=12, help="Originals and their fakes.")
@click.option("--seed", type=SEED, default=42, help="The same seed gives the same bytes.")
def sample(folder: Path, families: int, seed: int) -> None:
    """Build a small DFDC-shaped data set in DIR, with no download.

    Each family is an original clip of two to three seconds and one to three fakes of it, whose
    face is swapped by landmarks; the last family lacks its original, and a landscape has no
    face.

    \b
    Example:
      dfdc-prep sample dfdc --families 12
    """
    from dfdc_prep.sample.builder import build_sample

    click.echo(build_sample(folder, families, seed).text())


@main.command()
@click.argument("source", type=Place(), default="dfdc")
@click.argument("out", type=Place(), default="faces")
@click.option("--frames", type=click.IntRange(1, 10_000), default=1, help="Frames of each clip.")
@click.option(
    "--sampling",
    type=click.Choice(["even", "first", "keyframes"]),
    default="even",
    help="Where in the clip; keyframes costs least.",
)
@click.option(
    "--exact-frames", is_flag=True, help="even: the frames themselves, not cheap neighbours."
)
@click.option(
    "--detector",
    type=click.Choice(["auto", "yunet", "hog", "cnn", "hog+cnn"]),
    default="auto",
    help="auto: yunet where its weights are to be had, else hog.",
)
@click.option(
    "--detector-model",
    type=Place(),
    help="YuNet's weights; also DFDC_PREP_YUNET. Without: the cache, or a checked download.",
)
@click.option(
    "--faces",
    type=click.Choice(["largest", "all"]),
    default="largest",
    help="The clip's main face, or every face.",
)
@click.option(
    "--margin",
    type=Number(0, 4),
    default=0.3,
    help="Added on each side of the box, as a part of its longer side.",
)
@click.option("--size", type=click.IntRange(16, 4096), default=224, help="Side of a crop, pixels.")
@click.option(
    "--format", "file_format", type=click.Choice(["png", "jpg"]), default="png", help="Of a crop."
)
@click.option("--share-boxes/--no-share-boxes", default=True, help="Cut a fake as its original.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes.  [default: cores]")
@click.option("--timeout", type=Number(1), default=120, help="Seconds a clip may take.")
@click.option("--limit", type=Count(1), help="Only the first clips, whole families.")
@click.option("--retry-failed", is_flag=True, help="Take up the clips again that failed before.")
@click.option("--overwrite", is_flag=True, help="Remove what an earlier run left in OUT first.")
@click.pass_context
def extract(
    ctx: click.Context,
    source: Path,
    out: Path,
    frames: int,
    sampling: str,
    exact_frames: bool,
    detector: str,
    detector_model: Path | None,
    faces: str,
    margin: float,
    size: int,
    file_format: str,
    share_boxes: bool,
    workers: int | None,
    timeout: float,
    limit: int | None,
    retry_failed: bool,
    overwrite: bool,
) -> None:
    """Cut the faces out of the clips below SOURCE (dfdc) into OUT (faces).

    SOURCE is a folder of DFDC parts. A run that was interrupted goes on when the same
    command is given again.

    \b
    Example:
      dfdc-prep extract dfdc faces --frames 10
    """
    from dfdc_prep.parallel.forkserver import forkserver_context

    forkserver_context()  # preloads the imports of the workers while this process imports its own

    from dfdc_prep.extraction.clip import CropOptions
    from dfdc_prep.extraction.run import RunOptions
    from dfdc_prep.extraction.run import extract as run

    tally = run(
        source,
        out,
        CropOptions(frames, sampling, faces, margin, size, file_format, share_boxes, exact_frames),
        RunOptions(workers, timeout, limit, overwrite, retry_failed),
        detector,
        detector_model,
    )
    click.echo(tally.text())
    click.echo(f"{tally.faces:,} crops in {out}")
    if tally.failed:
        click.echo(f"{tally.failed:,} clips failed; {out / 'clips.parquet'} names them", err=True)
        ctx.exit(DONE_WITH_FAILURES)


@main.command("import")
@click.argument("crops_dir", type=Place())
@click.argument("metadata_csv", type=Place())
@click.argument("out", type=Place(), default="faces")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace a faces folder of another table, and what was chosen from it.",
)
@click.pass_context
def import_(
    ctx: click.Context, crops_dir: Path, metadata_csv: Path, out: Path, overwrite: bool
) -> None:
    """Make a faces folder OUT of crops that are already cut, such as Kaggle's deepfake_faces.

    CROPS_DIR holds 224x224 images. METADATA_CSV has label (REAL/FAKE, real/fake, 0/1) and
    path, or videoname to find images by their stem; video, original, part, frame and face
    where they are known. The images are linked or copied, never encoded anew. Exit code 3
    where a row or an image was left out; clips.parquet names each.

    \b
    Example:
      dfdc-prep import faces_224 metadata.csv faces
    """
    from dfdc_prep.importing.run import import_crops

    report = import_crops(crops_dir, metadata_csv, out, overwrite)
    click.echo(f"{report.text()}\nwritten to {out}")
    ctx.exit(DONE_WITH_FAILURES if report.failed else 0)


@main.command()
@click.argument("faces", type=Place(), default="faces")
@click.option("--json", "as_json", is_flag=True, help="Print the same numbers as JSON.")
def summary(faces: Path, as_json: bool) -> None:
    """Print what FACES holds: the paper's Table 1, classes, families, yield, face sizes.

    FACES is a faces folder, or a bare table: any CSV or parquet file with the columns
    video (or videoname, or path), label and, if known, original.

    \b
    Example:
      dfdc-prep summary
      dfdc-prep summary metadata.csv --json
    """
    from manifests.auditing.summary import summarize
    from manifests.tables.sources import Faces

    found = Faces.at(faces)
    report = summarize(found.rows("manifest.parquet", "extract"), found.clip_log())
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else report.text())


@main.command()
@click.argument("faces", type=Place(), default="faces")
@click.option(
    "--per-class",
    type=Count(1),
    show_default="16000, or as many as the smaller class has",
    help="Crops of each label.",
)
@click.option(
    "--strategy",
    type=click.Choice(["random", "spread", "pairs"]),
    default="random",
    show_default=True,
    help="Random clips; fakes of as many originals as there are; or a fake with its original.",
)
@click.option("--seed", type=SEED, default=42, show_default=True, help="Chooses the clips.")
@click.option(
    "--frames-per-clip",
    type=Count(1),
    show_default="all",
    help="Frames taken of each clip, evenly spread.",
)
@click.option(
    "--out",
    type=TableFile(),
    show_default="FACES/balanced.parquet; of a bare table, balanced.csv here",
    help="Where to write the rows, as CSV or parquet.",
)
def balance(
    faces: Path,
    per_class: int | None,
    strategy: Any,
    seed: int,
    frames_per_clip: int | None,
    out: Path | None,
) -> None:
    """Choose as many REAL crops of FACES as FAKE ones.

    Clips stay whole unless --frames-per-clip thins them, and the same seed chooses the same
    crops whatever order they come in. FACES may be a bare table, as for summary.

    \b
    Example:
      dfdc-prep balance
      dfdc-prep balance --strategy spread --per-class 2000
      dfdc-prep balance metadata.csv --out balanced.csv
    """
    from manifests.balancing.balance import BalanceOptions
    from manifests.balancing.balance import balance as choose
    from manifests.tables.parquet import write_table
    from manifests.tables.sources import Faces

    options = BalanceOptions(per_class, strategy, seed, frames_per_clip)
    found = Faces.at(faces)
    report = choose(found.rows("manifest.parquet", "extract"), options)
    write_table(report.table, out := out or found.output("balanced"))
    click.echo(f"{report.text()}\nwritten to {out}")


@main.command()
@click.argument("faces", type=Place(), default="faces")
@click.option(
    "--split",
    "fractions",
    type=Text(),
    default="56/24/20",
    show_default=True,
    help="Train/validation/test, or named as in fit=70/dev=20/test=10.",
)
@click.option(
    "--group-by",
    type=Text(),
    default="original",
    show_default=True,
    help="What stays in one split: original (a family), a column, or none (and tell the leak).",
)
@click.option(
    "--seed", type=SEED, default=42, show_default=True, help="Chooses among equal families."
)
@click.option(
    "--out",
    type=TableFile(),
    show_default="FACES/split.parquet; of a bare table, split.csv here",
    help="Where to write the rows with their split, as CSV or parquet.",
)
def split(faces: Path, fractions: str, group_by: str, seed: int, out: Path | None) -> None:
    """Give every balanced crop of FACES its split, and write only that table.

    The counts are exact wherever whole families can make them, for each label; where they
    cannot, the nearest ones, with what falls short. `--group-by none` is the paper's own
    random split, which leaks; how much is printed. FACES may be a bare table, as for summary.

    \b
    Example:
      dfdc-prep split
      dfdc-prep split --split 80/10/10 --group-by part
      dfdc-prep split balanced.csv --group-by none --out paper.csv
    """
    from manifests.splitting.split import SplitPlan, assign, with_split
    from manifests.tables.parquet import write_table
    from manifests.tables.sources import Faces

    plan = SplitPlan.parse(fractions, group_by, seed)
    found = Faces.at(faces)
    table = found.rows("balanced.parquet", "balance")
    report = assign(table, plan)
    write_table(with_split(table, report), out := out or found.output("split"))
    click.echo(f"{report.text()}\nwritten to {out}")


class ShardCount(click.ParamType):
    """A number of train shards, or auto."""

    name = "integer or auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        return None if value == "auto" else click.IntRange(1, 9999).convert(value, param, ctx)


@main.command()
@click.argument("faces", type=Place(), default="faces")
@click.argument("shards", type=Place(), default="shards")
@click.option(
    "--split", type=Text(), default="56/24/20", show_default=True, help="Train/validation/test."
)
@click.option(
    "--group-by",
    type=Text(),
    default="original",
    show_default=True,
    help="What stays in one split: original (a family), a column, or none (and tell the leak).",
)
@click.option(
    "--seed", type=SEED, default=42, show_default=True, help="Of the split and of the shuffle."
)
@click.option(
    "--shards",
    "count",
    type=ShardCount(),
    default="auto",
    show_default=True,
    help="Train shards; auto: 16 or more of 20 to 200 MB where the data allow.",
)
@click.option(
    "--image-format",
    type=click.Choice(["as-is", "jpeg"]),
    default="as-is",
    show_default=True,
    help="Copy the crops, or encode them anew: smaller, and some traces of fakes are lost.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace shards of another manifest or options.")
def shard(
    faces: Path,
    shards: Path,
    split: str,
    group_by: str,
    seed: int,
    count: int | None,
    image_format: str,
    quality: int,
    overwrite: bool,
) -> None:
    """Split the balanced crops of FACES and write them to SHARDS as TFRecords.

    No family stands in two splits. The folder appears when it is whole, and the same
    crops and options give the same bytes. TensorFlow Datasets, Croissant, pandas and
    DuckDB read it without this project.

    \b
    Example:
      dfdc-prep shard
      dfdc-prep shard faces shards-jpeg --image-format jpeg --quality 95
    """
    from dfdc_prep.shards.writer import ShardOptions, write_shards
    from manifests.splitting.split import SplitPlan

    plan = SplitPlan.parse(split, group_by, seed)
    options = ShardOptions(plan, count, image_format, quality, overwrite)
    click.echo(write_shards(faces, shards, options).text())


@main.command()
@click.argument("path", type=Place())
@click.option("--json", "as_json", is_flag=True, help="Print the same numbers as JSON.")
@click.pass_context
def audit(ctx: click.Context, path: Path, as_json: bool) -> None:
    """Measure what the splits of PATH share: families, files, near-identical images.

    PATH is a shards folder, a faces folder with its split.parquet, a CSV or parquet table
    with the columns split, label, video (or videoname) and original, or a folder of crops
    sorted as train/real, train/fake, test/real ... Exit code 3 where anything is shared.

    \b
    Example:
      dfdc-prep audit shards
      dfdc-prep audit split.csv --json
    """
    from dfdc_prep.shards.audit_inputs import gather
    from manifests.auditing.audit import audit as compare

    evidence = gather(path)
    report = compare(evidence.table, evidence.prints, evidence.printed)
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else report.text())
    ctx.exit(DONE_WITH_FAILURES if report.leaking else 0)


@main.command()
@click.argument("shards", type=Place(), default="shards")
@click.pass_context
def verify(ctx: click.Context, shards: Path) -> None:
    """Read SHARDS back whole: checksums, counts, images, labels and families.

    Names the shard, the record and the fault, and ends with exit code 1 where there is one.

    \b
    Example:
      dfdc-prep verify shards
    """
    from dfdc_prep.shards.verify import verify as read_back

    report = read_back(shards)
    click.echo(report.text())
    ctx.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
