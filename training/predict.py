"""`dfdc-prep predict RUN FILE...`: P(FAKE) of the faces in images and clips.

The command alone; `training.inference` does the work. TensorFlow is imported after the
options are parsed, so that --help and usage errors are fast.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import click

from dfdc_prep.commands.declaration import Option, TrainingCommand, command, command_of
from dfdc_prep.commands.options import LOCATION, PATH, CountParam, DetectorModel, StrPath
from dfdc_prep.commands.terminal import DONE_WITH_FAILURES
from dfdc_prep.storage.urls import Location, as_location
from dfdc_prep.storage.workspace import local_file
from manifests.files import file_sha256
from manifests.folders import RunFolder
from training import without_startup_notes


@command(cls=TrainingCommand, exit_code=lambda all_scored: 0 if all_scored else DONE_WITH_FAILURES)
def predict(
    run: Annotated[StrPath, LOCATION],
    files: Annotated[Iterable[StrPath], Option(LOCATION, nargs=-1)],
    *,
    frames: Annotated[int, CountParam(1)] = 10,
    faces: Annotated[str, click.Choice(["largest", "all"])] = "largest",
    detector_model: DetectorModel = None,
    json: bool = False,
    heatmap: Annotated[StrPath | None, PATH] = None,
    csv: Annotated[StrPath | None, PATH] = None,
    submission: Annotated[StrPath | None, PATH] = None,
) -> bool:
    """Predict how likely the faces in each FILE, image or clip, are FAKE with the model of RUN.

    A folder as FILE stands for the clips below it.

    Faces are cropped like the run's training data, and scores are calibrated with the run's
    temperature. A file that is unreadable, has no face or no score has its own line, and a clip
    of which a part is missing says so; the remaining files are still processed.

    \b
    Example:
      dfdc-prep predict runs/v1.3 clip.mp4 photo.jpg --heatmap heat/
      dfdc-prep predict runs/v1.3 clips --csv scores.csv

    Args:
        run: The folder of a run.
        files: Images, clips, and folders of clips.
        frames: Frames sampled per clip, evenly spaced.
        faces: Score the main face only, or every face.
        json: Print one JSON object per file.
        heatmap: Folder for one image per face with its Grad-CAM beside it, and its mask if there is
            one.
        csv: Write one row a file here, and print one line; the same command continues an
            interrupted run.
        submission: Also write Kaggle's table here: filename, label (P(FAKE)); needs --csv.

    Raises:
        TrainingError: the run is not finished, or its model cannot be loaded.
        ModelError: the detector's weights cannot be loaded.
    """
    if submission and not csv:
        raise click.UsageError("expected --csv beside --submission, found none; give both")
    from dfdc_prep.parallel.engine import forkserver_context
    from training.inference.score_file import ScoreFile, files_of, left_out
    from training.runs.folder import open_run

    with open_run(as_location(run), names=RunFolder.MODEL_FILES) as opened:
        opened.check_finished()  # before TensorFlow is imported
        paths: dict[Location, Path] = {}  # and the folder of their heatmaps, below the one given
        for location in map(as_location, files):
            found = files_of(location)
            paths |= found
            for line in left_out(location, found):
                click.echo(line, err=True)
        settings: dict[str, object] = {"model": file_sha256(opened.folder / RunFolder.MODEL)}
        forkserver_context("training.inference.face_crops")  # it starts while that is imported
        with without_startup_notes():
            from training.inference.face_crops import DecodingWorker, FaceCropOptions
            from training.inference.scorer import NO_SCORE, UNREADABLE, Scorer, predict_file

        scorer = Scorer(opened.folder)
    options = FaceCropOptions(scorer.margin, frames, faces == "all", scorer.align)
    detector = scorer.detector(None if detector_model is None else Path(detector_model))
    found_by = [detector.name, detector.model_sha256]
    settings |= {"frames": frames, "faces": faces, "detector": found_by}
    heatmaps = None if heatmap is None else Path(heatmap)
    all_scored = True
    with DecodingWorker(detector) as worker, ExitStack() as stack:
        scores = None
        if csv:
            table = Path(submission) if submission else None
            file = ScoreFile(Path(csv), list(paths), settings, table)
            scores = stack.enter_context(file.continued())
        if worker.confinement != "on":
            click.echo(f"confinement of the decoder: {worker.confinement}", err=True)
        for path, below in paths.items():
            if scores and scores.has(path):
                continue
            with local_file(path) as here:
                drawn = heatmaps and heatmaps / below
                prediction = predict_file(here, options, scorer, worker, drawn)
            error = prediction.error and prediction.error.replace(str(here), str(path))
            prediction = replace(prediction, file=str(path), error=error)
            if prediction.status in (UNREADABLE, NO_SCORE) or prediction.missing is not None:
                all_scored = False
            click.echo(prediction.as_json() if json else prediction.as_text(faces=not csv))
            if scores:
                scores.add(path, prediction)
    if scores:
        click.echo(scores.text(), err=True)
        all_scored = scores.complete  # with the files that an earlier run scored
    return all_scored


main = command_of(predict)

if __name__ == "__main__":
    main()
