"""The command line: options in, one library call, one sentence where it fails. No logic.

Libraries are imported inside the commands, so that `dfdc-prep --help` answers at once.
"""

from pathlib import Path

import click

from dfdc_prep import __version__
from manifests.console import DONE_WITH_FAILURES, Group


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
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--families", type=click.IntRange(min=2), default=12, help="Originals and their fakes."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=42, help="The same seed gives the same bytes."
)
def sample(folder: Path, families: int, seed: int) -> None:
    """Build a small DFDC-shaped data set in DIR, with no download.

    Each family is an original clip of two to three seconds and one to three fakes of it, whose
    face is swapped by landmarks; the last family lacks its original, and a landscape has no
    face.

    \b
    Example:
      dfdc-prep sample dfdc --families 12
    """
    from dfdc_prep.sample import build_sample

    click.echo(build_sample(folder, families, seed).text())


@main.command()
@click.argument("source", type=click.Path(path_type=Path), default="dfdc")
@click.argument("out", type=click.Path(path_type=Path), default="faces")
@click.option("--frames", type=click.IntRange(1, 10_000), default=1, help="Frames of each clip.")
@click.option(
    "--sampling",
    type=click.Choice(["even", "first", "keyframes"]),
    default="even",
    help="Where in the clip; keyframes costs least.",
)
@click.option(
    "--detector",
    type=click.Choice(["auto", "yunet", "hog", "cnn", "hog+cnn"]),
    default="auto",
    help="auto: yunet where its weights are to be had, else hog.",
)
@click.option(
    "--detector-model",
    type=click.Path(path_type=Path),
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
    type=click.FloatRange(0, 4),
    default=0.3,
    help="Added on each side of the box, as a part of its longer side.",
)
@click.option("--size", type=click.IntRange(16, 4096), default=224, help="Side of a crop, pixels.")
@click.option(
    "--format", "file_format", type=click.Choice(["png", "jpg"]), default="png", help="Of a crop."
)
@click.option("--share-boxes/--no-share-boxes", default=True, help="Cut a fake as its original.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes.  [default: cores]")
@click.option("--timeout", type=click.FloatRange(1), default=120, help="Seconds a clip may take.")
@click.option("--limit", type=click.IntRange(1), help="Only the first clips, whole families.")
@click.option("--retry-failed", is_flag=True, help="Take up the clips again that failed before.")
@click.option("--overwrite", is_flag=True, help="Remove what an earlier run left in OUT first.")
@click.pass_context
def extract(
    ctx: click.Context,
    source: Path,
    out: Path,
    frames: int,
    sampling: str,
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
    from dfdc_prep.extract import RunOptions
    from dfdc_prep.extract import extract as run
    from dfdc_prep.faces import CropOptions

    tally = run(
        source,
        out,
        CropOptions(frames, sampling, faces, margin, size, file_format, share_boxes),
        RunOptions(workers, timeout, limit, overwrite, retry_failed),
        detector,
        detector_model,
    )
    click.echo(tally.text())
    click.echo(f"{tally.faces:,} crops in {out}")
    if tally.failed:
        click.echo(f"{tally.failed:,} clips failed; {out / 'clips.parquet'} names them", err=True)
        ctx.exit(DONE_WITH_FAILURES)


if __name__ == "__main__":
    main()
