"""The command line: options in, one library call, one sentence where it fails. No logic.

Libraries are imported inside the commands, so that `dfdc-prep --help` answers at once.
"""

import click

from dfdc_prep import __version__
from manifests.console import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
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


if __name__ == "__main__":
    main()
