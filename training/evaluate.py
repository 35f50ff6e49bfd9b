"""`python -m training.evaluate RUN [SHARDS]`: measure a trained model again, or elsewhere.

Nothing heavy is imported before the options are read.
"""

from pathlib import Path

import click

from manifests.cli.error_handling import TrainingCommand
from manifests.cli.param_types import CountParam, PathParam, TextParam


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=PathParam())
@click.argument("shards", type=PathParam(), required=False)
@click.option(
    "--split", type=TextParam(), default="test", show_default=True, help="The split to measure on."
)
@click.option(
    "--out", type=PathParam(),
    help="Where the figures go. [default: RUN, for other shards RUN/evaluations/NAME]",
)  # fmt: skip
@click.option("--batch-size", type=CountParam(1), default=32, show_default=True)
@click.option(
    "--robustness", is_flag=True,
    help="Also under JPEG, blur, noise, low resolution, dark and bright: 19 passes.",
)  # fmt: skip
@click.option(
    "--export", "form", type=click.Choice(["savedmodel", "onnx"]),
    help="Also write the model for use elsewhere, checked to give the same scores.",
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
    """Measure the model of RUN on a split of SHARDS (those it was trained on).

    Every image once, none dropped: report.txt, metrics.json, predictions.parquet and pictures.

    \b
    Example:
      python -m training.evaluate runs/v1.3 --robustness
    """
    from training.evaluation import evaluator, export, text_report
    from training.evaluation.robustness import measure, table_text
    from training.runs.folder import Run

    chosen = Run(run)
    with chosen.understood():
        source = shards or Path(chosen.config()["shards"])
    folder = out or evaluator.place(chosen, source, split)
    said = evaluator.evaluate(chosen, source, split, folder, batch_size)
    click.echo(text_report.text(said))
    if robustness:
        click.echo(table_text(measure(chosen, source, split, folder, batch_size)))
    if form:
        path, difference = export.export(chosen, source, form)
        click.echo(f"{path}: scores within {difference:.1g} of model.keras")
    click.echo(f"the figures lie in {folder}")


if __name__ == "__main__":
    main()
