"""The command line of dfdc-prep: the group of all commands, each declared at its function.

Neither this module nor those that declare commands import heavy libraries, so that
`dfdc-prep --help` answers at once.
"""

import click

from dfdc_prep import __version__
from dfdc_prep.commands.checks import audit, report, verify
from dfdc_prep.commands.declaration import Group, command_of
from dfdc_prep.commands.extract import extract, gather, identify, import_crops, sample
from dfdc_prep.commands.recipe import make_recipe, rebuild
from dfdc_prep.commands.shard import (
    export_deepfakebench,
    export_huggingface,
    export_webdataset,
    shard,
)
from dfdc_prep.commands.tables import balance, split, summarize


@click.group(
    cls=Group,
    sections={
        "From clips to a trained model": ("extract", "balance", "shard", "fit"),
        "Data": ("sample", "import", "gather", "identify", "split", "export"),
        "To hand on": ("recipe", "rebuild"),
        "Checks and reports": ("summary", "audit", "probe", "verify", "report"),
        "With a model": ("evaluate", "compare", "predict", "app"),
    },
    lazy={
        "probe": ("training.probe", "Measure what plain classifiers get on the split of SHARDS."),
        "fit": ("training.fit", "Train a recipe on a shards folder and test it."),
        "evaluate": ("training.evaluate", "Evaluate a trained model on any shards folders."),
        "compare": ("training.compare", "Compare the results of models on a split, clip by clip."),
        "predict": ("training.predict", "Predict P(FAKE) of the faces in images and clips."),
        "app": ("training.app.__main__", "Show a trained model in a browser."),
    },
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__)
def main() -> None:
    """From Deepfake Detection Challenge clips to face crops, manifests, shards and a classifier.

    \b
    The four commands, run in one working folder:
      dfdc-prep extract              ./dfdc  -> ./faces
      dfdc-prep balance              ./faces -> ./faces/balanced.parquet
      dfdc-prep shard                ./faces -> ./shards
      dfdc-prep fit shards/                  -> ./runs/v1.3
    """


@click.group(cls=Group, sections={"Formats": ("deepfakebench", "webdataset", "huggingface")})
def export() -> None:
    """Write the split crops in the format of another tool.

    Crops and splits are chosen as by shard. The folder appears when it is complete, and the same
    crops and options give the same bytes.

    \b
    Example:
      dfdc-prep export webdataset faces webdataset
    """


for function in (export_deepfakebench, export_webdataset, export_huggingface):
    export.add_command(command_of(function))
for made in (sample, extract, gather, import_crops, identify, summarize, balance, split, shard):
    main.add_command(command_of(made))
for read in (audit, verify, report, make_recipe, rebuild):
    main.add_command(command_of(read))
main.add_command(export)

if __name__ == "__main__":
    main()
