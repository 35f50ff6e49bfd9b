"""`dfdc-prep evaluate MODEL [SHARDS...]`: evaluate a trained model on any shards.

TensorFlow is imported after the options are parsed, so that --help and usage errors are fast.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import click

from dfdc_prep.commands.declaration import Option, TrainingCommand, command, command_of
from dfdc_prep.commands.options import (
    LOCATION,
    TEXT,
    WRITABLE,
    CacheGb,
    CountParam,
    FloatParam,
    StrPath,
)
from dfdc_prep.commands.terminal import echo_parts, report_hint
from dfdc_prep.storage.urls import Location, Url, as_location
from manifests.folders import RunFolder
from manifests.result import TextTable
from training import without_startup_notes
from training.models.settings import CHANNELS, OUTPUTS, PRESETS, SCALES, InputSettings, Preset

#: Suffixes of model files, to tell a missing one from a missing run.
FILE_SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx")


@command(cls=TrainingCommand)
def evaluate(
    model: Annotated[StrPath, LOCATION],
    shards: Annotated[Iterable[StrPath], Option(LOCATION, nargs=-1)] = (),
    *,
    split: Annotated[str, TEXT] = "test",
    out: Annotated[StrPath | None, WRITABLE] = None,
    cache_gb: CacheGb = 50,
    batch_size: Annotated[int, CountParam(1)] = 32,
    beside: Annotated[Iterable[StrPath], Option(LOCATION, multiple=True)] = (),
    robustness: bool = False,
    export: Annotated[str | None, click.Choice(["savedmodel", "onnx"])] = None,
    as_: Annotated[str | None, click.Choice(list(PRESETS))] = None,
    channels: Annotated[str | None, click.Choice(CHANNELS)] = None,
    scale: Annotated[str | None, click.Choice(SCALES)] = None,
    size: Annotated[int | None, CountParam(1)] = None,
    margin: Annotated[float | None, FloatParam(0)] = None,
    fake_is: Annotated[int | None, Option(click.IntRange(0, 1), metavar="[0|1]")] = None,
    output: Annotated[str | None, click.Choice(OUTPUTS)] = None,
) -> None:
    """Evaluate MODEL on a split of SHARDS.

    MODEL is the folder of a run, or a model file: Keras (.keras, .h5) or ONNX. SHARDS are any
    number of shards folders; for a run, the default is its training shards.

    Scores every image once and writes report.txt, metrics.json, predictions.parquet, scores.csv
    (one row per clip) and plots for each of SHARDS, and cross.csv: every set and method of forgery,
    per image and per clip. Models given with --beside are compared as by dfdc-prep compare.

    \b
    Example:
      dfdc-prep evaluate runs/v1.3 --robustness
      dfdc-prep evaluate runs/v1.3 shards/ celeb_shards/ ffpp_shards/
      dfdc-prep evaluate model.h5 shards/ --as redeepfake --beside runs/v1.3

    Args:
        model: The folder of a run, or a model file.
        shards: Shards folders.
        split: The split to evaluate.
        out: Output folder. None: in the run's folder; for a model file evaluations/NAME.
        beside: Run to evaluate on the same shards and put into the same table; repeatable.
        robustness: Also evaluate under JPEG, blur, noise, low resolution, dark and bright: 19
            passes.
        export: Also export the model, and check that the export gives the same scores.
        as_: Settings of a published model file; the options below override them.
        channels: Model file: order of the color channels. None: rgb.
        scale: Model file: range of the pixel values; imagenet is (0..1 - mean) / deviation. None:
            0..255.
        size: Model file: height and width of its input. None: the model's, else 224.
        margin: Model file: cut crops with a larger margin down to this one. None: as they are.
        fake_is: Model file: the class that is FAKE. None: 1.
        output: Model file: what its output is. None: what the file or the values tell.
    """
    tested_model = as_location(model)
    sources, others = ([as_location(each) for each in given] for given in (shards, beside))
    replaced = {
        "channels": channels,
        "scale": scale,
        "size": size,
        "margin": margin,
        "fake_is": fake_is,
        "output": output,
    }
    settings: dict[str, Any] = {n: value for n, value in replaced.items() if value is not None}
    is_run = _is_run(tested_model)
    for_file = [*(["as"] if as_ else []), *settings]
    _check_usage(tested_model, others, bool(sources), for_file)
    if (robustness or export) and not (is_run and len(sources) < 2 and not others):
        raise click.UsageError("--robustness and --export take one run and at most one SHARDS.")

    from dfdc_prep.run_files import RunFiles
    from training.data.shards import open_shards
    from training.runs.folder import open_run

    with ExitStack() as stack:
        run = stack.enter_context(open_run(tested_model, names=RunFolder.MODEL_FILES, writes=True))
        runs = [stack.enter_context(open_run(each, names=RunFolder.MODEL_FILES)) for each in others]
        sources = sources or [as_location(run.config().shards)]
        sets = [stack.enter_context(open_shards(each, cache_gb)) for each in sources]
        target = None
        if out is not None:
            target = stack.enter_context(open_run(as_location(out), names=(), writes=True)).folder
        for each in [run, *runs] if is_run else runs:
            each.config()  # a folder that is no run is told before TensorFlow is imported
        with without_startup_notes():
            from training.evaluation import evaluator, text
            from training.measures.predictions import Source
        alone = is_run and len(sets) == 1 and not others
        if is_run:
            plan = evaluator.plan_for_run(run, sets, split, target)
            own = alone and plan.base == run.folder and evaluator.is_trained_on(run, sets[0])
            tested = evaluator.open_tested_run(run, sets[0] if own else None, batch_size)
        else:
            plan = evaluator.plan_for_file(run.folder, sets, split, target)
            preset = PRESETS[as_] if as_ else Preset(InputSettings(), ())
            chosen = replace(preset.settings, **settings)
            tested = evaluator.open_file(run.folder, chosen, sets, batch_size)
            tested = replace(tested, notes=[*tested.notes, *preset.notes])
        models = [tested, *map(evaluator.open_tested_run, runs)]
        rows, notes, compared = evaluator.evaluate_all(models, plan, split, batch_size)
        if alone:
            metrics = RunFiles(plan.base).metrics()
            echo_parts(text.report_text(metrics), text.report_parts(metrics))
        if rows:
            echo_parts(text.cross_text(rows, notes), text.cross_parts(rows, notes))
        if compared.measures:
            echo_parts(f"\n{compared.text()}", compared.parts())
        if robustness:
            from training.evaluation.robustness import measure_robustness

            source = Source(sets[0], split, batch_size)
            measured = measure_robustness(tested.logits, source, plan.base)
            cells = [list(asdict(row).values()) for row in measured]
            table = TextTable(list(asdict(measured[0])), cells)
            echo_parts(text.robustness_table(measured), [table])
        if export:
            from training.runs.checkpoints import export_model

            path, difference = export_model(run, sets[0], export)
            click.echo(f"{run.space.shown(path)}: scores within {difference:.1g} of model.keras")
        written = run.space.shown(plan.base) if out is None else as_location(out)
    click.echo(f"results written to {written}")
    click.echo(report_hint(written), err=True)


def _is_run(model: Location) -> bool:
    """Whether MODEL is meant as a run: a folder that is no SavedModel, or the name of none."""
    if isinstance(model, Path) and model.exists():
        return model.is_dir() and not (model / "saved_model.pb").is_file()
    return model.suffix.lower() not in FILE_SUFFIXES


def _check_usage(
    model: Location, beside: list[Location], has_shards: bool, for_file: list[str]
) -> None:
    """Refuse what does not fit what MODEL is; `for_file` names options for a model file."""
    is_run = _is_run(model)
    if isinstance(model, Url) and not is_run:
        raise click.UsageError(f"expected a model file on this machine, found {model}; fetch it.")
    files = [str(each) for each in beside if not _is_run(each)]
    if files:
        raise click.UsageError(f"--beside takes the folder of a run; {files[0]} is a model file.")
    if for_file and is_run:
        name = for_file[0].replace("_", "-")
        raise click.UsageError(f"--{name} is for a model file; {model} is a folder of a run.")
    if not has_shards and not is_run:
        raise click.UsageError(
            "Missing argument 'SHARDS...': a model file has no shards of its own."
        )


main = command_of(evaluate)

if __name__ == "__main__":
    main()
