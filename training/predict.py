"""`dfdc-prep predict RUN FILE...`: P(FAKE) of the faces in images and clips.

The command alone; `training.inference` does the work. TensorFlow is imported after the
options are parsed, so that --help and usage errors are fast.
"""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from dfdc_prep.commands.declaration import TrainingCommand
from dfdc_prep.commands.options import CountParam, LocationParam, PathParam
from dfdc_prep.commands.terminal import DONE_WITH_FAILURES
from dfdc_prep.storage.urls import Location
from dfdc_prep.storage.workspace import local_file
from manifests.files import file_sha256
from manifests.folders import RunFolder


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=LocationParam())
@click.argument("files", type=LocationParam(), nargs=-1, required=True)
@click.option(
    "--frames", type=CountParam(1), default=10, show_default=True,
    help="Frames sampled per clip, evenly spaced.",
)  # fmt: skip
@click.option(
    "--faces", type=click.Choice(["largest", "all"]), default="largest", show_default=True,
    help="Score the main face only, or every face.",
)  # fmt: skip
@click.option(
    "--detector-model", type=PathParam(),
    help="YuNet weights file; also DFDC_PREP_YUNET. [default: cached, else downloaded]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file.")
@click.option(
    "--heatmap", type=PathParam(),
    help="Folder for one image per face with its Grad-CAM beside it, and its mask if there is one.",
)  # fmt: skip
@click.option(
    "--csv", type=PathParam(),
    help="Also write one row a file here; the same command continues an interrupted run.",
)  # fmt: skip
@click.option(
    "--submission", type=PathParam(),
    help="Also write Kaggle's table here: filename, label (P(FAKE)); needs --csv.",
)  # fmt: skip
@click.pass_context
def main(
    ctx: click.Context,
    run: Location,
    files: tuple[Location, ...],
    frames: int,
    faces: str,
    detector_model: Path | None,
    as_json: bool,
    heatmap: Path | None,
    csv: Path | None,
    submission: Path | None,
) -> None:
    """Predict how likely the faces in each FILE, image or clip, are FAKE with the model of RUN.

    A folder as FILE stands for the clips below it.

    Faces are cropped like the run's training data, and scores are calibrated with the run's
    temperature. A file that is unreadable, has no face or no score has its own line, and a clip
    of which a part is missing says so; the remaining files are still processed.

    \b
    Example:
      dfdc-prep predict runs/v1.3 clip.mp4 photo.jpg --heatmap heat/
      dfdc-prep predict runs/v1.3 clips --csv scores.csv
    """
    if submission and not csv:
        raise click.UsageError("expected --csv beside --submission, found none; give both")
    from dfdc_prep.parallel.engine import forkserver_context
    from training.inference.score_file import ScoreFile, files_of
    from training.runs.folder import open_run

    with open_run(run, names=RunFolder.MODEL_FILES) as place:
        place.check_finished()  # before TensorFlow is imported
        paths = [path for location in files for path in files_of(location)]
        settings: dict[str, object] = {"model": file_sha256(place.folder / RunFolder.MODEL)}
        forkserver_context("training.inference.face_crops")  # it starts while that is imported
        from training.inference.face_crops import DecodingWorker, FaceCropOptions
        from training.inference.scorer import NO_SCORE, UNREADABLE, Scorer, predict_file

        scorer = Scorer(place.folder)
    options = FaceCropOptions(scorer.margin, frames, faces == "all", scorer.align)
    detector = scorer.detector(detector_model)
    settings |= {"frames": frames, "faces": faces, "detector": detector.name}
    failed = False
    with DecodingWorker(detector) as worker, ExitStack() as stack:
        scores = stack.enter_context(ScoreFile(csv, paths, settings).continued()) if csv else None
        if worker.confinement != "on":
            click.echo(f"confinement of the decoder: {worker.confinement}", err=True)
        for path in paths:
            if scores and scores.has(path):
                continue
            with local_file(path) as here:
                prediction = predict_file(here, options, scorer, worker, heatmap)
            error = prediction.error and prediction.error.replace(str(here), str(path))
            prediction = replace(prediction, file=str(path), error=error)
            failed |= prediction.status in (UNREADABLE, NO_SCORE) or prediction.missing is not None
            click.echo(prediction.as_json() if as_json else prediction.as_text())
            if scores:
                scores.add(path, prediction)
    if scores:
        click.echo(scores.text(), err=True)
        if submission:
            scores.write_submission(submission)
    if failed:
        ctx.exit(DONE_WITH_FAILURES)


if __name__ == "__main__":
    main()
