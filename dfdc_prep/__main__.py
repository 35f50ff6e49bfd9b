"""`dfdc-prep` and `python -m dfdc_prep`.

The command line is entered here, not in `cli`, because a module of that name in the user's folder
could be found first.
"""

import os

from dfdc_prep import COMMAND_LINE


def main() -> None:
    """Run the command line."""
    os.environ[COMMAND_LINE] = "1"
    import cli

    cli.main()


if __name__ == "__main__":
    main()
