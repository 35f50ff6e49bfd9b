"""`dfdc-prep evaluate MODEL [SHARDS...]`: evaluate a trained model on any shards.

TensorFlow is imported after the options are parsed, so that --help and usage errors are fast.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfdc_prep.commands.declaration import TrainingCommand
from dfdc_prep.commands.options import CountParam, FloatParam, LocationParam, TextParam
from dfdc_prep.commands.terminal import echo_parts, report_hint
from dfdc_prep.storage.urls import Location, Url, as_location
from manifests.folders import RunFolder
from manifests.result import TextTable

if TYPE_CHECKING:
    from training.data.shards import Shards
    from training.evaluation.evaluator import TestedModel

#: The same as in `training.models.model_file`, which loads Keras; a test compares.
CHANNELS = ("rgb", "bgr")
SCALES = ("0..255", "0..1", "-1..1", "imagenet")
OUTPUTS = ("probability", "logit")
PRESETS = ("redeepfake",)
#: Suffixes of model files, to tell a missing one from a missing run.
FILE_SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx")
#: Options for a model file.
FILE_OPTIONS = ("channels", "scale", "size", "margin", "fake_is", "output")


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=LocationParam())
@click.argument("shards", type=LocationParam(), nargs=-1)
@click.option(
    "--split", type=TextParam(), default="test", show_default=True, help="The split to evaluate."
)
@click.option(
    "--out", type=LocationParam(writes=True),
    help="Output folder. [default: in the run's folder; for a model file evaluations/NAME]",
)  # fmt: skip
@click.option(
    "--cache-gb", type=FloatParam(0), default=50, show_default=True,
    help="Size of the local cache of SHARDS in a bucket.",
)  # fmt: skip
@click.option("--batch-size", type=CountParam(1), default=32, show_default=True)
@click.option(
    "--beside", type=LocationParam(), multiple=True,
    help="Run to evaluate on the same shards and put into the same table; repeatable.",
)  # fmt: skip
@click.option(
    "--robustness", is_flag=True,
    help="Also evaluate under JPEG, blur, noise, low resolution, dark and bright: 19 passes.",
)  # fmt: skip
@click.option(
    "--export", "form", type=click.Choice(["savedmodel", "onnx"]),
    help="Also export the model, and check that the export gives the same scores.",
)  # fmt: skip
@click.option(
    "--as", "preset", type=click.Choice(PRESETS),
    help="Settings of a published model file; the options below override them.",
)  # fmt: skip
@click.option(
    "--channels", type=click.Choice(CHANNELS),
    help="Model file: order of the color channels. [default: rgb]",
)  # fmt: skip
@click.option(
    "--scale", type=click.Choice(SCALES),
    help="Model file: range of the pixel values; imagenet is (0..1 - mean) / deviation. "
    "[default: 0..255]",
)  # fmt: skip
@click.option(
    "--size", type=CountParam(1),
    help="Model file: height and width of its input. [default: the model's, else 224]",
)  # fmt: skip
@click.option(
    "--margin", type=FloatParam(0),
    help="Model file: cut crops with a larger margin down to this one. [default: as they are]",
)  # fmt: skip
@click.option(
    "--fake-is", type=click.Choice(["0", "1"]),
    help="Model file: the class that is FAKE. [default: 1]",
)  # fmt: skip
@click.option(
    "--output", type=click.Choice(OUTPUTS),
    help="Model file: what its output is. [default: what the file or the values tell]",
)  # fmt: skip
def main(
    model: Location,
    shards: tuple[Location, ...],
    split: str,
    out: Location | None,
    cache_gb: float,
    batch_size: int,
    beside: tuple[Location, ...],
    robustness: bool,
    form: str | None,
    **file_options: Any,
) -> None:
    """Evaluate MODEL on a split of SHARDS.

    MODEL is the folder of a run, or a model file: Keras (.keras, .h5) or ONNX. SHARDS are any
    number of shards folders; for a run, the default is its training shards.

    Scores every image once and writes report.txt, metrics.json, predictions.parquet and plots for
    each of SHARDS, and cross.csv: every set and method of forgery, per image and per clip.

    \b
    Example:
      dfdc-prep evaluate runs/v1.3 --robustness
      dfdc-prep evaluate runs/v1.3 shards/ celeb_shards/ ffpp_shards/
      dfdc-prep evaluate model.h5 shards/ --as redeepfake --beside runs/v1.3
    """
    given = {**file_options, "robustness": robustness, "export": form}
    _check_usage(model, shards, beside, given)

    from dfdc_prep.run_files import RunFiles
    from training.data.shards import open_shards
    from training.evaluation import evaluator, text
    from training.evaluation.predictions import Source
    from training.runs.folder import open_run

    with ExitStack() as stack:
        run = stack.enter_context(open_run(model, names=RunFolder.MODEL_FILES, writes=True))
        others = [
            stack.enter_context(open_run(each, names=RunFolder.MODEL_FILES)) for each in beside
        ]
        places = shards or (as_location(run.config().shards),)
        sets = [stack.enter_context(open_shards(each, cache_gb)) for each in places]
        target = stack.enter_context(open_run(out, names=(), writes=True)).folder if out else None
        alone = _is_run(model) and len(sets) == 1 and not beside
        if _is_run(model):
            plan = evaluator.plan_for_run(run, sets, split, target)
            own = alone and plan.base == run.folder and evaluator.is_trained_on(run, sets[0])
            tested = evaluator.open_tested_run(run, sets[0] if own else None, batch_size)
        else:
            plan = evaluator.plan_for_file(run.folder, sets, split, target)
            tested = _open_file(run.folder, sets, batch_size, file_options)
        models = [tested, *map(evaluator.open_tested_run, others)]
        rows, notes = evaluator.evaluate_all(models, plan, split, batch_size)
        if alone:
            metrics = RunFiles(plan.base).metrics()
            echo_parts(text.report_text(metrics), text.report_parts(metrics))
        if rows:
            echo_parts(text.cross_text(rows, notes), text.cross_parts(rows, notes))
        if robustness:
            from training.evaluation.robustness import measure_robustness

            source = Source(sets[0], split, batch_size)
            measured = measure_robustness(tested.logits, source, plan.base)
            cells = [list(asdict(row).values()) for row in measured]
            table = TextTable(list(asdict(measured[0])), cells)
            echo_parts(text.robustness_table(measured), [table])
        if form:
            from training.runs.checkpoints import export_model

            path, difference = export_model(run, sets[0], form)
            click.echo(f"{run.space.shown(path)}: scores within {difference:.1g} of model.keras")
        written = out or run.space.shown(plan.base)
    click.echo(f"results written to {written}")
    click.echo(report_hint(written), err=True)


def _is_run(model: Location) -> bool:
    """Whether MODEL is meant as a run: a folder that is no SavedModel, or the name of none."""
    if isinstance(model, Path) and model.exists():
        return model.is_dir() and not (model / "saved_model.pb").is_file()
    return model.suffix.lower() not in FILE_SUFFIXES


def _check_usage(
    model: Location,
    shards: tuple[Location, ...],
    beside: tuple[Location, ...],
    options: dict[str, Any],
) -> None:
    """Refuse options that do not fit what MODEL is."""
    if isinstance(model, Url) and not _is_run(model):
        raise click.UsageError(f"expected a model file on this machine, found {model}; fetch it.")
    files = [str(each) for each in beside if not _is_run(each)]
    if files:
        raise click.UsageError(f"--beside takes the folder of a run; {files[0]} is a model file.")
    alone = _is_run(model) and len(shards) < 2 and not beside
    if not alone and (options["robustness"] or options["export"]):
        raise click.UsageError("--robustness and --export take one run and at most one SHARDS.")
    given = [name for name in ("preset", *FILE_OPTIONS) if options.get(name) is not None]
    if given and _is_run(model):
        name = "as" if given[0] == "preset" else given[0].replace("_", "-")
        raise click.UsageError(f"--{name} is for a model file; {model} is a folder of a run.")
    if not shards and not _is_run(model):
        raise click.UsageError(
            "Missing argument 'SHARDS...': a model file has no shards of its own."
        )


def _open_file(
    path: Path, shards: Sequence["Shards"], batch_size: int, options: dict[str, Any]
) -> "TestedModel":
    """The model file with the options given, or those of a preset."""
    from training.evaluation.evaluator import open_file
    from training.models.model_file import PRESETS, InputSettings, Preset

    preset = PRESETS[options["preset"]] if options["preset"] else Preset(InputSettings(), ())
    given = {name: options[name] for name in FILE_OPTIONS if options[name] is not None}
    if "fake_is" in given:
        given["fake_is"] = int(given["fake_is"])
    tested = open_file(path, replace(preset.settings, **given), shards, batch_size)
    return replace(tested, notes=[*tested.notes, *preset.notes])


if __name__ == "__main__":
    main()
