"""Hard links, and copies where there can be none."""

import os
import shutil
from pathlib import Path


def link_or_copy(file: Path | str, target: Path) -> None:
    """Link `target` to a file; copy it if it is on another file system, or one without links.

    Raises:
        OSError: the file cannot be copied either.
    """
    try:
        os.link(os.path.realpath(file), target)
    except OSError:
        shutil.copyfile(file, target)
