"""`python -m training.evaluate RUN [SHARDS]`: evaluate a trained model on any shards.

TensorFlow is imported after the options are parsed, so that --help and usage errors are fast.
"""

from pathlib import Path

import click

from manifests.cli.error_handling import TrainingCommand
from manifests.cli.param_types import CountParam, PathParam, TextParam
from manifests.cli.terminal import TextTable, echo_parts
from manifests.report_file import report_hint


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=PathParam())
@click.argument("shards", type=PathParam(), required=False)
@click.option(
    "--split", type=TextParam(), default="test", show_default=True, help="The split to evaluate."
)
@click.option(
    "--out", type=PathParam(),
    help="Output folder. [default: RUN, for other shards RUN/evaluations/NAME]",
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
    run: Path,
    shards: Path | None,
    split: str,
    out: Path | None,
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
    from training.evaluation import evaluator, export, text_report
    from training.evaluation.robustness import measure_robustness, robustness_table
    from training.runs.folder import Run

    trained = Run(run)
    source = shards or Path(trained.config().shards)
    folder = out or evaluator.default_output(trained, source, split)
    metrics = evaluator.evaluate(trained, source, split, folder, batch_size)
    echo_parts(text_report.report_text(metrics), text_report.report_parts(metrics))
    if robustness:
        rows = measure_robustness(trained, source, split, folder, batch_size)
        echo_parts(
            robustness_table(rows), [TextTable(list(rows[0]), [[*row.values()] for row in rows])]
        )
    if form:
        path, difference = export.export_model(trained, source, form)
        click.echo(f"{path}: scores within {difference:.1g} of model.keras")
    click.echo(f"results written to {folder}")
    click.echo(report_hint(folder), err=True)


if __name__ == "__main__":
    main()
