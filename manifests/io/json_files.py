"""Text and JSON: read whatever they hold, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from manifests.io.atomic import whole_file


def parse_json(text: str | bytes) -> Any:
    """What JSON says; nesting too deep is a ValueError as any other fault in it."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep nesting") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole_file(path) as half:
        half.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all; keys stay in the order given."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
