"""`python -m training.evaluate RUN [SHARDS]`: evaluate a trained model on any shards.

TensorFlow is imported after the options are parsed, so that --help and usage errors are fast.
"""

import click

from manifests.cli.error_handling import TrainingCommand
from manifests.cli.param_types import CountParam, FloatParam, LocationParam, TextParam
from manifests.cli.terminal import TextTable, echo_parts
from manifests.report_file import report_hint
from manifests.storage.urls import Location, as_location


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=LocationParam())
@click.argument("shards", type=LocationParam(), required=False)
@click.option(
    "--split", type=TextParam(), default="test", show_default=True, help="The split to evaluate."
)
@click.option(
    "--out", type=LocationParam(),
    help="Output folder. [default: RUN, for other shards RUN/evaluations/NAME]",
)  # fmt: skip
@click.option(
    "--cache-gb", type=FloatParam(0), default=50, show_default=True,
    help="Size of the local cache of SHARDS in a bucket.",
)  # fmt: skip
@click.option("--batch-size", type=CountParam(1), default=32, show_default=True)
@click.option(
    "--robustness", is_flag=True,
    help="Also evaluate under JPEG, blur, noise, low resolution, dark and bright: 19 passes.",
)  # fmt: skip
@click.option(
    "--export", "form", type=click.Choice(["savedmodel", "onnx"]),
    help="Also export the model, and check that the export gives the same scores.",
)  # fmt: skip
def main(
    run: Location,
    shards: Location | None,
    split: str,
    out: Location | None,
    cache_gb: float,
    batch_size: int,
    robustness: bool,
    form: str | None,
) -> None:
    """Evaluate the model of RUN on a split of SHARDS (default: its training shards).

    Scores every image once and writes report.txt, metrics.json, predictions.parquet and plots.

    \b
    Example:
      python -m training.evaluate runs/v1.3 --robustness
    """
    from contextlib import ExitStack

    from training.data.shard_cache import open_shards
    from training.evaluation import evaluator, export, text_report
    from training.evaluation.robustness import measure_robustness, robustness_table
    from training.runs.folder import Run
    from training.runs.remote import MODEL_FILES, open_run

    with ExitStack() as stack:
        place = stack.enter_context(open_run(run, names=MODEL_FILES, writes=True))
        trained = Run(place.folder)
        source = stack.enter_context(
            open_shards(shards or as_location(trained.config().shards), cache_gb)
        )
        if out is None:
            folder = evaluator.default_output(trained, source, split)
        else:
            folder = stack.enter_context(open_run(out, names=(), writes=True)).folder
        metrics = evaluator.evaluate(trained, source, split, folder, batch_size)
        echo_parts(text_report.report_text(metrics), text_report.report_parts(metrics))
        if robustness:
            rows = measure_robustness(trained, source, split, folder, batch_size)
            table = TextTable(list(rows[0]), [[*row.values()] for row in rows])
            echo_parts(robustness_table(rows), [table])
        if form:
            path, difference = export.export_model(trained, source, form)
            click.echo(f"{place.shown(path)}: scores within {difference:.1g} of model.keras")
    written = out or place.shown(folder)
    click.echo(f"results written to {written}")
    click.echo(report_hint(written), err=True)


if __name__ == "__main__":
    main()
