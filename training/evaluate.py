"""`dfdc-prep evaluate MODEL [SHARDS...]`: evaluate a trained model on any shards.

TensorFlow is imported after the options are parsed, so that --help and usage errors are fast.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfdc_prep.commands.error_handling import TrainingCommand
from dfdc_prep.commands.param_types import CountParam, FloatParam, LocationParam, TextParam
from dfdc_prep.storage.urls import Location, Url, as_location
from dfdc_prep.terminal import echo_parts, report_hint
from manifests.result import TextTable

if TYPE_CHECKING:
    from training.evaluation.cross.outputs import OutputPlan
    from training.evaluation.tested_model import TestedModel
    from training.runs.folder import Run
    from training.runs.remote import RunPlace

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
    alone = _is_run(model) and len(shards) < 2 and not beside
    given = {**file_options, "robustness": robustness, "export": form}
    _check_usage(model, shards, beside, given)
    with ExitStack() as stack:
        places = _open_places(stack, (model, *beside), shards, out, cache_gb)
        plan = places.plan(split)
        _evaluate(places, plan, split, batch_size, alone, file_options)
        if places.run and robustness:
            _measure_robustness(places.run, plan.shards[0], split, plan.base, batch_size)
        if places.run and form:
            from training.evaluation.export import export_model

            path, difference = export_model(places.run, plan.shards[0], form)
            shown = places.model.shown(path)
            click.echo(f"{shown}: scores within {difference:.1g} of model.keras")
        written = out or places.model.shown(plan.base)
    click.echo(f"results written to {written}")
    click.echo(report_hint(written), err=True)


@dataclass(frozen=True)
class _Places:
    """What is evaluated and where, on this machine: in a bucket, copies.

    Attributes:
        model: the folder of a run, or a model file.
        beside: the folders of runs to compare it with.
        out: the output folder; None for the default one.
    """

    model: "RunPlace"
    beside: list[Path]
    shards: list[Path]
    out: Path | None

    @property
    def run(self) -> "Run | None":
        """The run; None for a model file."""
        from training.runs.folder import Run

        return Run(self.model.folder) if _is_run(self.model.folder) else None

    def plan(self, split: str) -> "OutputPlan":
        """Where the results go."""
        from training.evaluation.cross.outputs import plan_for_file, plan_for_run

        if self.run:
            return plan_for_run(self.run, self.shards, split, self.out)
        return plan_for_file(self.model.folder, self.shards, split, self.out)


def _open_places(
    stack: ExitStack,
    models: Sequence[Location],
    shards: Sequence[Location],
    out: Location | None,
    cache_gb: float,
) -> _Places:
    """Open all places until the stack ends.

    Args:
        models: MODEL, and the runs beside it.
    """
    from training.data.shard_cache import open_shards
    from training.runs.folder import Run
    from training.runs.remote import MODEL_FILES, open_run

    model = stack.enter_context(open_run(models[0], names=MODEL_FILES, writes=True))
    if not shards:
        shards = (as_location(Run(model.folder).config().shards),)
    return _Places(
        model,
        [stack.enter_context(open_run(each, names=MODEL_FILES)).folder for each in models[1:]],
        [stack.enter_context(open_shards(each, cache_gb)) for each in shards],
        stack.enter_context(open_run(out, names=(), writes=True)).folder if out else None,
    )


def _evaluate(
    places: _Places,
    plan: "OutputPlan",
    split: str,
    batch_size: int,
    alone: bool,
    file_options: dict[str, Any],
) -> None:
    """Evaluate the model, or compare it with others, and print the results.

    Args:
        alone: whether it is one run on one shards folder.
    """
    from training.evaluation import evaluator, text_report
    from training.evaluation.cross.compare import compare
    from training.evaluation.cross.text import cross_parts, cross_text
    from training.runs.folder import Run

    found = None
    if places.run and plan.base == places.run.folder and alone:
        evaluator.evaluate(places.run, plan.shards[0], split, plan.base, batch_size)
    else:
        models = [
            _open_model(each, plan.shards, batch_size, file_options)
            for each in (places.model.folder, *places.beside)
        ]
        found = compare(models, plan, split, batch_size)
    if alone:
        metrics = Run(plan.base).metrics()
        echo_parts(text_report.report_text(metrics), text_report.report_parts(metrics))
    if found:
        echo_parts(cross_text(found.rows, found.notes), cross_parts(found.rows, found.notes))


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


def _open_model(
    path: Path, shards: Sequence[Path], batch_size: int, options: dict[str, Any]
) -> "TestedModel":
    from training.evaluation.tested_model import open_file, open_run
    from training.runs.folder import Run

    if _is_run(path):
        return open_run(Run(path), batch_size)
    from training.models.model_file import PRESETS, InputSettings, Preset

    preset = PRESETS[options["preset"]] if options["preset"] else Preset(InputSettings(), ())
    given = {name: options[name] for name in FILE_OPTIONS if options[name] is not None}
    if "fake_is" in given:
        given["fake_is"] = int(given["fake_is"])
    tested = open_file(path, replace(preset.settings, **given), shards, batch_size)
    return replace(tested, notes=[*tested.notes, *preset.notes])


def _measure_robustness(
    run: "Run", shards: Path, split: str, folder: Path, batch_size: int
) -> None:
    from training.evaluation.robustness import measure_robustness, robustness_table

    rows = measure_robustness(run, shards, split, folder, batch_size)
    table = TextTable(list(rows[0]), [[*row.values()] for row in rows])
    echo_parts(robustness_table(rows), [table])


if __name__ == "__main__":
    main()
