"""The rule for folders that are written whole and described by metadata.json.

A complete folder of the same metadata is kept, another one is replaced only if that is asked for,
and a folder with foreign files never.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfdc_prep import __version__
from dfdc_prep.errors import OptionsDiffer
from manifests.files import parse_json
from manifests.folders import ShardsFolder
from manifests.locks import clear_folder_lock

TOOL = f"dfdc-prep {__version__}"
METADATA = ShardsFolder.METADATA
#: The key of metadata.json that says what was found in the crops, and determines nothing.
PICTURES = "pictures"


@dataclass(frozen=True)
class OutputFolder:
    """A folder to write.

    Attributes:
        path: the folder.
        kind: what it contains, for messages: "shards".
        a_kind: the folder with its article: "a shards folder".
        is_known: whether a folder with this content of metadata.json is of this kind.
        check_replaceable: raises OutputError if the folder contains foreign files.
    """

    path: Path
    kind: str
    a_kind: str
    is_known: Callable[[Path, dict[str, Any]], bool]
    check_replaceable: Callable[[Path], None]

    def is_complete(self, metadata: dict[str, Any], overwrite: bool) -> bool:
        """Whether the folder already contains what is to be written.

        Args:
            metadata: the content of metadata.json but for `PICTURES`; equal metadata implies equal
                bytes of all files.

        Raises:
            OptionsDiffer: the folder contains something else and `overwrite` is not set, or is
                not of this kind.
            OutputError: `overwrite` is set, and the folder contains foreign files.
        """
        if not self._needs_check(metadata, overwrite):
            return False
        clear_folder_lock(self.path)  # left by a run that was killed just before it finished
        return True

    def check_again(self, metadata: dict[str, Any], overwrite: bool) -> None:
        """Check the folder once the run holds its lock: another run may have written it."""
        self._needs_check(metadata, overwrite)

    def _needs_check(self, metadata: dict[str, Any], overwrite: bool) -> bool:
        folder = self.path
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return False
        try:
            found = parse_json((folder / METADATA).read_bytes())
            known = str(found["tool"]).startswith("dfdc-prep") and self.is_known(folder, found)
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise OptionsDiffer(
                f"expected {folder} to be empty or {self.a_kind}, found something else; "
                "choose another folder"
            )
        found.pop(PICTURES, None)
        if found == metadata and not overwrite:
            return True
        if overwrite:
            self.check_replaceable(folder)
            return False
        keys = metadata.keys() | found.keys()
        differs = sorted(key for key in keys if found.get(key) != metadata.get(key))
        raise OptionsDiffer(
            f"expected {self.kind} of the same manifest and options in {folder}, found another "
            f"{' and '.join(differs)}; use --overwrite to replace it"
        )
